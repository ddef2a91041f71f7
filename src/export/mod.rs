//! What leaves the program as files. Every file appears whole or not at all.

mod atomic;
mod ply_header;
mod ply_read;
#[cfg(test)]
mod ply_tests;
mod ply_write;
mod trajectory;

pub use atomic::{create_folder, write_atomically};
pub use ply_read::read_ply;
pub use ply_write::write_ply;
pub use trajectory::write_trajectory;
