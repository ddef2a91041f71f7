//! What leaves the program as files. Every file appears whole or not at all.

mod atomic;
mod colmap;
mod depth_png;
mod g2o;
mod glb;
mod las;
mod map_model;
mod npz;
mod occupancy;
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
pub use g2o::{g2o_information, write_g2o};
pub use glb::{PlacedCamera, ViewPoints, write_glb, write_mesh_glb};
pub use las::write_las;
pub use map_model::{image_name, sparse_model};
pub use npz::{Array, Values, write_npz};
pub use occupancy::write_occupancy;
pub use pcd::{write_pcd, write_surface_pcd};
pub use ply_read::read_ply;
pub use ply_write::{write_mesh_ply, write_ply, write_surface_ply};
pub use recording::RecordingWriter;
pub use sparse::{Observation, SparseModel, SparsePoint, SparseView};
pub use trajectory::{write_kitti, write_trajectory};
