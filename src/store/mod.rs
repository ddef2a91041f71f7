//! Maps as files: one SQLite database, so that any tool can look into it, a crash cannot leave half
//! a change, and a long session is saved as it grows.
//!
//! One row for each keyframe, constraint, pair that sees the same, and placed frame, each with a
//! checksum. What is quantised, and how finely:
//!
//! | what | how it is kept | largest error |
//! |---|---|---|
//! | colour | PNG, or JPEG if asked | none, or JPEG's at quality 95 |
//! | depth of frames and points | logarithm, steps of 2e-4 | 1e-4 of the depth |
//! | confidence | logarithm, steps of 2e-3 | 1e-3 of the confidence |
//! | descriptors | 8 bits, scaled by each one's largest number | 0.8 % of that number |
//! | signatures | half precision | 5e-4 of each number |
//! | poses, constraints, cameras | double precision | none |

mod bytes;
mod checksum;
mod features;
mod graph;
mod image;
mod keyframe;
mod raster;
mod reader;
mod schema;
mod writer;

use std::path::Path;

use crate::error::Result;
use crate::pipeline::MapSnapshot;

pub use image::ImageQuality;
pub use raster::{CONFIDENCE_ERROR_FRAC, DEPTH_ERROR_FRAC};
pub use writer::MapWriter;

/// Returns the map that a file holds.
///
/// # Errors
/// [`Error::Input`](crate::error::Error::Input) for a file that is missing, no map, of a newer
/// version, or damaged; the message says which, where, and what to do.
pub fn load(path: &Path) -> Result<MapSnapshot> {
    reader::read(path, false)
}

/// Returns what can be trusted of a damaged map; its notes say what was left out.
///
/// # Errors
/// As [`load`], where nothing of it is a map.
pub fn recover(path: &Path) -> Result<MapSnapshot> {
    reader::read(path, true)
}

/// Returns once `path` holds the map; until then a file that was there stays as it was.
///
/// # Errors
/// [`Error::Input`](crate::error::Error::Input) naming `path`, where it cannot be written.
pub fn save(path: &Path, map: &MapSnapshot, quality: ImageQuality) -> Result<()> {
    writer::save(path, map, quality)
}
