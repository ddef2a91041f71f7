//! A moving camera in, metric poses and a dense map out.
//!
//! One data flow, one direction; ARCHITECTURE.md draws it, [`pipeline`] reads like it, and
//! `tests/architecture.rs` holds the table of who may know whom.

// Layer 0: mathematics.
pub mod geometry;

// Layer 1: data and sockets.
pub mod block_system;
pub mod cloud;
pub mod constraint;
pub mod decode;
pub mod dense_residual;
pub mod error;
pub mod features;
pub mod frame;
pub mod inference;
pub mod keyframe;
pub mod messages;
pub mod patches;
pub mod pointmap;
pub mod pyramid;
pub mod raster;
pub mod reference;
pub mod sensor;
pub mod source;
pub mod stamp;
pub mod trajectory;

// Layer 2: stages that do not know each other.
pub mod alignment;
pub mod evaluation;
pub mod map;
pub mod matching;
pub mod pose_graph;
pub mod tracking;
pub mod window;

// Layer 3: composition.
pub mod config;
pub mod observer;
pub mod pipeline;
pub mod recognition;
pub mod relocalization;
pub mod runtime;

// Layer 4: edges.
pub mod dataset;
pub mod export;
pub mod model;
pub mod ros;
pub mod simulator;
pub mod store;
pub mod viz;
