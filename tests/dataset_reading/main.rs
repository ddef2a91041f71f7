//! Reading recordings: one program, because each would be linked for itself.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where its input fails")]

mod bad_bags;
mod bag;
mod info;
mod odometry;
mod support;
mod tum;
