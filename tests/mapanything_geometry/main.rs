//! What surrounds the MapAnything network, against the reference implementation: preprocessing,
//! priors, cameras from rays, masks.
//!
//! `tests/data/mapanything_unit` holds a part of the fixtures; where the shared folder is there
//! (`RECON_SHARED`, or `../shared`), all of them are used.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]
#![allow(clippy::float_cmp, reason = "what is compared for equality is promised exactly")]
#![allow(clippy::print_stdout, reason = "tests say what they skip")]

mod fixture;
mod laws;
mod postprocess;
mod preprocess;
mod priors;
