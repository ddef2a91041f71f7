//! A moving camera in, metric poses and a dense map out.
//!
//! One data flow, one direction; ARCHITECTURE.md draws it, [`pipeline`](crate) reads like it, and
//! `tests/architecture.rs` holds the table of who may know whom.

// Layer 0: mathematics.
pub mod geometry;

// Layer 1: data and sockets.
pub mod cloud;
pub mod decode;
pub mod error;
pub mod frame;
pub mod raster;
pub mod source;
pub mod stamp;
pub mod trajectory;

// Layer 2: stages that do not know each other.
pub mod evaluation;

// Layer 4: edges.
pub mod dataset;
pub mod export;
pub mod simulator;
pub mod viz;
