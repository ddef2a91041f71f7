//! DUSt3R (Wang et al., 2024, arXiv:2312.14132), MASt3R (Leroy et al., 2024, arXiv:2406.09756) and
//! Fast3R (Yang et al., 2025, arXiv:2501.13928): images in, pointmaps in a common frame out.
//!
//! The three share encoder, heads and meaning of numbers. [`PairNetwork`] is DUSt3R's and MASt3R's,
//! two views at a time; [`Fast3rNetwork`] is Fast3R's, all views at once.

mod backend;
mod block;
mod checkpoint;
mod config;
mod decoder;
mod encoder;
mod fast3r;
mod heads;
mod literal;
mod maps;
mod network;
mod pair;
pub mod pair_cache;
mod pair_features;
pub mod parity;
pub mod preprocess;
pub mod reconstruct;
mod resample;
pub mod retrieval;
pub mod tensors;

pub use backend::{BackendOptions, FamilyBackend};
pub use checkpoint::{Checkpoint, Family};
pub use config::{ExpMode, FamilyConfig};
pub use encoder::{Encoded, ImagePlanes};
pub use fast3r::{Fast3rNetwork, Fast3rView, ImageIds};
pub use heads::HeadKind;
pub use maps::{DescriptorGrid, ViewMaps};
pub use network::Network;
pub use pair::{PairMaps, PairNetwork, SymmetricMaps};
pub use pair_features::PairFeatures;

use crate::error::Error;

/// What a fault of the device, or a tensor that does not fit, is for the user.
pub(crate) fn failed(model: &'static str) -> impl Fn(candle_core::Error) -> Error {
    move |error| Error::Inference {
        model,
        problem: error.to_string(),
        remedy: "use the files of one release, smaller images if memory is short, or another device",
    }
}
