//! How good a trajectory and a map are, against a reference.
//!
//! The definitions are those of the field's usual tools: trajectories as `evo` compares them, maps
//! as Open3D's users do, so that the figures can stand beside published ones.
//! `scripts/compare_evaluation` runs both on the same input.

mod association;
mod icp;
mod map;
mod neighbors;
mod trajectory;
mod voxel;

pub use association::{DEFAULT_MAX_DIFFERENCE_SECS, PosePair, associate, tracked_frac};
pub use map::{IcpModel, MapMetrics, MapOptions, MapScore, SurfaceDistances, evaluate_map};
pub use trajectory::{TrajectoryEvaluation, TrajectoryMetrics, evaluate_trajectory};
