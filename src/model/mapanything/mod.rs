//! MapAnything: images with any of rays, depths and poses in, metric geometry out.
//!
//! Each file is one block of the network, its fields named as in the checkpoint.

pub mod architecture;
mod block;
pub mod checkpoint;
pub mod config;
mod dense_encoder;
pub mod dense_head;
pub mod encoder;
pub mod fusion;
mod global_encoder;
mod info_sharing;
pub mod network;
mod pose_head;
mod position;
mod scale_head;
pub mod taps;
pub mod tensors;

pub use architecture::Architecture;
pub use checkpoint::Checkpoint;
