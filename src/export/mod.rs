//! What leaves the program as files. Every file appears whole or not at all.

mod atomic;
mod colmap;
mod depth_png;
mod glb;
mod pcd;
mod ply_header;
mod ply_read;
#[cfg(test)]
mod ply_tests;
mod ply_write;
mod recording;
mod sparse;
mod trajectory;

pub use atomic::{create_folder, write_atomically};
pub use colmap::{ColmapFormat, write_colmap};
pub use depth_png::{depth_scale, write_depth_png};
pub use glb::{PlacedCamera, ViewPoints, write_glb};
pub use pcd::write_pcd;
pub use ply_read::read_ply;
pub use ply_write::write_ply;
pub use recording::RecordingWriter;
pub use sparse::{Observation, SparseModel, SparsePoint, SparseView};
pub use trajectory::write_trajectory;
