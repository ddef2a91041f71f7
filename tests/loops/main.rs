//! Loops, recovery and growth on simulated worlds, driven as a user drives them: frames go into
//! [`recon_node::pipeline::Pipeline`], and what it says is held against the truth.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]
#![expect(clippy::print_stderr, reason = "figures are for people")]

mod alike;
mod closing;
mod depth_offset;
mod growth;
#[path = "../shared/in_pairs.rs"]
mod in_pairs;
mod kidnapping;
mod refining;
mod support;
