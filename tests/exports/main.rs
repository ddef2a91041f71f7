//! Files for other programs, read back byte by byte.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]
#![allow(clippy::float_cmp, reason = "what is compared for equality is promised exactly")]

mod bytes;
mod colmap;
mod depth;
mod glb;
mod map;
mod recording;
