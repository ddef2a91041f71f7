//! ROS messages without ROS: what recordings and live topics have in common.
//!
//! A bag's message and the bytes that a subscription delivers are the same CDR text, so both are
//! read, paired and placed by the functions here.

pub mod camera;
pub mod cdr;
pub mod decoding;
pub mod odometry;
pub mod pairing;
pub mod tf;
