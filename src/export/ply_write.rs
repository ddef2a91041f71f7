//! Point clouds as binary PLY.

use std::io::{self, Write};
use std::path::Path;

use super::write_atomically;
use crate::cloud::{PointCloud, SurfaceCloud};
use crate::error::Result;
use crate::map::TriangleMesh;

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

/// Returns once `path` holds `surface` as little-endian PLY: as [`write_ply`], and float nx ny nz and
/// confidence (1/m²) after the colours.
///
/// # Errors
/// As [`write_ply`].
pub fn write_surface_ply(path: &Path, surface: &SurfaceCloud) -> Result<()> {
    surface.check()?;
    write_atomically(path, |file| {
        write_vertex_properties(file, &surface.cloud)?;
        write!(file, "property float nx\nproperty float ny\nproperty float nz\n")?;
        write!(file, "property float confidence\nend_header\n")?;
        let beside = surface.normals.iter().zip(&surface.confidence).enumerate();
        for (index, (normal, confidence)) in beside {
            write_point(file, &surface.cloud, index)?;
            write_floats(file, &[normal.x, normal.y, normal.z, *confidence])?;
        }
        Ok(())
    })
}

/// Returns once `path` holds `mesh` as little-endian PLY: vertices as [`write_ply`] with float nx ny
/// nz, and faces as `vertex_indices`.
///
/// # Errors
/// As [`write_ply`].
pub fn write_mesh_ply(path: &Path, mesh: &TriangleMesh) -> Result<()> {
    mesh.vertices.check_colors()?;
    write_atomically(path, |file| {
        write_vertex_properties(file, &mesh.vertices)?;
        write!(file, "property float nx\nproperty float ny\nproperty float nz\n")?;
        let faces = mesh.triangles.len();
        writeln!(file, "element face {faces}\nproperty list uchar int vertex_indices\nend_header")?;
        for (index, normal) in mesh.normals.iter().enumerate() {
            write_point(file, &mesh.vertices, index)?;
            write_floats(file, &[normal.x, normal.y, normal.z])?;
        }
        for triangle in &mesh.triangles {
            file.write_all(&[3])?;
            triangle.iter().try_for_each(|corner| file.write_all(&corner.to_le_bytes()))?;
        }
        Ok(())
    })
}

fn write_header(file: &mut dyn Write, cloud: &PointCloud) -> io::Result<()> {
    write_vertex_properties(file, cloud)?;
    writeln!(file, "end_header")
}

fn write_vertex_properties(file: &mut dyn Write, cloud: &PointCloud) -> io::Result<()> {
    let count = cloud.len();
    write!(file, "ply\nformat binary_little_endian 1.0\nelement vertex {count}\n")?;
    write!(file, "property float x\nproperty float y\nproperty float z\n")?;
    if !cloud.colors.is_empty() {
        write!(file, "property uchar red\nproperty uchar green\nproperty uchar blue\n")?;
    }
    Ok(())
}

fn write_floats(file: &mut dyn Write, values: &[f32]) -> io::Result<()> {
    values.iter().try_for_each(|value| file.write_all(&value.to_le_bytes()))
}

fn write_point(file: &mut dyn Write, cloud: &PointCloud, index: usize) -> io::Result<()> {
    write_floats(file, cloud.points[index].coords.as_slice())?;
    cloud.colors.get(index).map_or(Ok(()), |color| file.write_all(color))
}
