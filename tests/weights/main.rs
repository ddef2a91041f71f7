//! Weights: fetched from a hub, found where they lie, checked, made and reduced.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]
#![allow(clippy::float_cmp, reason = "what is compared for equality is promised exactly")]

mod fetching;
mod making;
mod server;
