//! The pose graph on whole worlds: bad starts, wrong loops, changes that stay local, covariances.

#[path = "../../examples/bench_pose_graph/worlds.rs"]
mod worlds;

mod block_system;
mod groups;
mod local;
mod loops;
mod marginals;
mod whole;
