//! MapAnything: the network, its checkpoints and its back end.
//!
//! `tests/data/mapanything` holds a small model of each architecture and recorded runs of the
//! reference, thinned out by `scripts/slim_mapanything_cases`; where the shared folder is there
//! (`RECON_SHARED`, or `../shared`), the whole records are used, too.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]
#![allow(clippy::print_stdout, reason = "what is skipped is said")]

mod backend;
mod cases;
mod checkpoint;
mod laws;
mod support;
mod tensors;
