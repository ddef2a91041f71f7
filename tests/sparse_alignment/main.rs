//! Sparse alignment in two stages: against the reference's results on its own inputs, against the
//! truth of made-up scenes, and against numerical derivatives.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod accuracy;
mod factors;
#[path = "../../examples/align_fixture/fixture.rs"]
mod fixture;
mod priors;
mod refusals;
mod synthetic;
mod whole_scenes;
