//! Maps that last: saved, loaded, gone on with, and found one's way in.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

mod joining;
mod killing;
mod localizing;
mod odometry;
mod round_trip;
mod submaps;
mod support;
