//! DUSt3R, MASt3R and Fast3R against recorded runs of the reference implementation: tiny networks
//! with the released names, and what was computed with them.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests fail like tests")]

mod backends;
mod checkpoints;
mod features;
mod fine;
mod fixture;
mod geometry;
mod networks;
mod program;
mod retrieval;
mod scenes;
mod support;
mod tensors;
