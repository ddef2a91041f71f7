//! MapAnything: images with any of rays, depths and poses in, metric geometry out.
//!
//! The network of Keetha et al., 2025 (arXiv:2509.13414). Each file is one block of the network, its fields named as in the
//! checkpoint; `network.rs` puts them together, `model.rs` gives numbers their meaning.

pub mod architecture;
mod backend;
mod block;
pub mod checkpoint;
pub mod config;
mod dense_encoder;
pub mod dense_head;
mod descriptor;
pub mod encoder;
pub mod fusion;
mod global_encoder;
mod info_sharing;
pub mod inputs;
mod model;
pub mod network;
pub mod outputs;
pub mod parity;
mod pose_head;
mod position;
pub mod postprocess;
pub mod preprocess;
pub mod priors;
mod resample;
mod scale_head;
pub mod taps;
pub mod tensors;

pub use architecture::Architecture;
pub use backend::{BackendOptions, MapAnythingBackend};
pub use checkpoint::Checkpoint;
pub use inputs::{Calibration, Ignored, SourceView, ViewInput, fit_views};
pub use model::{InferOptions, LoadOptions, MapAnything, NAME};
pub use outputs::ViewOutput;
