//! The layers of feed-forward models and their kernels, against plain sums in f64.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod filtering;
mod kernels;
mod layers;
mod reference;
