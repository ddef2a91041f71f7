//! Weights: fetched from a hub, found where they lie, checked, made and reduced.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod fetching;
mod making;
mod server;
