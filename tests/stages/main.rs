//! What each stage promises, by its laws and by the inputs that it refuses.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]
#![allow(clippy::float_cmp, reason = "what is compared for equality is promised exactly")]

mod alignment;
mod carving;
mod consensus;
mod dense_residual;
mod feed_forward;
mod frame;
#[path = "../shared/in_pairs.rs"]
mod in_pairs;
mod late;
mod map;
mod model_geometry;
mod pipeline;
mod pointmap;
mod pose_graph;
mod pyramid;
mod rays;
mod recognition;
mod recovery;
mod reference;
mod refinement;
mod relocalization;
mod runtime;
mod sensor_depth;
mod support;
mod tracking;
mod verdicts;
mod window;
