//! The pose graph on whole worlds: bad starts, wrong loops, changes that stay local, covariances.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

#[path = "../../examples/bench_pose_graph/worlds.rs"]
mod worlds;

mod block_system;
mod groups;
mod local;
mod loops;
mod marginals;
mod whole;
