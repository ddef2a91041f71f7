//! The node's own logic, without ROS: what comes in, what goes out, and what is said of it.
//!
//! Messages come as the bytes that a subscription delivers and leave as plain values. The program
//! `recon_node` (feature `ros`) carries them from and to the middleware and decides nothing, so
//! that all here is tested without one.

pub mod clouds;
pub mod config;
pub mod covariance;
pub mod diagnosis;
pub mod files;
pub mod frames;
pub mod graph;
pub mod grid;
pub mod inputs;
pub mod lifecycle;
pub mod map_cloud;
pub mod mode;
pub mod names;
pub mod parameters;
pub mod rates;
pub mod refinement;
pub mod report;
pub mod session;
pub mod sync;
