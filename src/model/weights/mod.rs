//! Weights of feed-forward models: which there are, where they lie, how they get there, and whether
//! they are whole.

mod cache;
mod config_json;
mod fetch;
mod hub;
mod locate;
mod partial;
mod quantize;
mod random;
mod registry;
mod types;
mod verify;

pub use cache::Cache;
pub use fetch::{FetchProgress, fetch};
pub use hub::Hub;
pub use locate::{environment, locate};
pub use quantize::{Quantization, Quantized, quantize};
pub use random::{NamedArchitecture, Precision, write_random};
pub use registry::{CONFIG_FILE, GGUF_FILE, KNOWN_MODELS, KnownModel, License, SAFETENSORS_FILE};
pub use verify::{Verification, is_weights_folder, verify};
