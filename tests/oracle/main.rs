//! The model that errs as real ones do: each statistic of its errors, measured over many draws; and
//! a real network with random weights in the same pipeline.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]
#![allow(clippy::float_cmp, reason = "what is compared for equality is promised exactly")]

mod joining;
mod loops;
mod moving;
mod priors;
mod random_weights;
mod revisits;
mod scale_drift;
mod statistics;
mod support;
