//! Matching: against the lists of the reference implementation where the shared folder is there,
//! and against laws everywhere.

#![allow(clippy::print_stderr, reason = "tests say what they skip")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod coarse_to_fine;
mod fixture;
mod reciprocal;
mod retrieval;
mod two_view;
