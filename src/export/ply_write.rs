//! Point clouds as binary PLY.

use std::io::{self, Write};
use std::path::Path;

use super::write_atomically;
use crate::cloud::PointCloud;
use crate::error::Result;

/// Returns once `path` holds `cloud` as little-endian PLY: float x y z and, where the cloud has
/// colours, uchar red green blue.
///
/// # Errors
/// As [`PointCloud::check_colors`] where some points have no colour; else as
/// [`write_atomically`].
pub fn write_ply(path: &Path, cloud: &PointCloud) -> Result<()> {
    cloud.check_colors()?;
    write_atomically(path, |file| {
        write_header(file, cloud)?;
        (0..cloud.len()).try_for_each(|i| write_point(file, cloud, i))
    })
}

fn write_header(file: &mut dyn Write, cloud: &PointCloud) -> io::Result<()> {
    let count = cloud.len();
    write!(file, "ply\nformat binary_little_endian 1.0\nelement vertex {count}\n")?;
    write!(file, "property float x\nproperty float y\nproperty float z\n")?;
    if !cloud.colors.is_empty() {
        write!(file, "property uchar red\nproperty uchar green\nproperty uchar blue\n")?;
    }
    writeln!(file, "end_header")
}

fn write_point(file: &mut dyn Write, cloud: &PointCloud, index: usize) -> io::Result<()> {
    for coordinate in cloud.points[index].iter() {
        file.write_all(&coordinate.to_le_bytes())?;
    }
    cloud.colors.get(index).map_or(Ok(()), |color| file.write_all(color))
}
