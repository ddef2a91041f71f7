//! Point clouds as binary PCD, which PCL's tools read.

use std::io::{self, Write};
use std::path::Path;

use super::write_atomically;
use crate::cloud::{PointCloud, SurfaceCloud};
use crate::error::Result;

/// Returns once `path` holds `cloud` as binary PCD 0.7: float x y z and, where the cloud has
/// colours, rgb as `0x00RRGGBB`.
///
/// # Errors
/// As [`PointCloud::check_colors`] where some points have no colour; else as
/// [`write_atomically`].
pub fn write_pcd(path: &Path, cloud: &PointCloud) -> Result<()> {
    cloud.check_colors()?;
    write_atomically(path, |file| {
        write_header(file, &columns(cloud), cloud.len())?;
        (0..cloud.len()).try_for_each(|i| write_point(file, cloud, i))
    })
}

/// Returns once `path` holds `surface` as binary PCD 0.7: as [`write_pcd`], and float normal_x
/// normal_y normal_z and confidence (1/m²).
///
/// # Errors
/// As [`write_pcd`].
pub fn write_surface_pcd(path: &Path, surface: &SurfaceCloud) -> Result<()> {
    surface.check()?;
    let mut columns = columns(&surface.cloud);
    for name in ["normal_x", "normal_y", "normal_z", "confidence"] {
        columns.push((name, 'F'));
    }
    write_atomically(path, |file| {
        write_header(file, &columns, surface.cloud.len())?;
        let beside = surface.normals.iter().zip(&surface.confidence).enumerate();
        for (index, (normal, confidence)) in beside {
            write_point(file, &surface.cloud, index)?;
            for value in normal.iter().chain([confidence]) {
                file.write_all(&value.to_le_bytes())?;
            }
        }
        Ok(())
    })
}

/// Names and types of what is known of each point, all of four bytes.
fn columns(cloud: &PointCloud) -> Vec<(&'static str, char)> {
    let mut columns = vec![("x", 'F'), ("y", 'F'), ("z", 'F')];
    if !cloud.colors.is_empty() {
        columns.push(("rgb", 'U'));
    }
    columns
}

fn write_header(file: &mut dyn Write, columns: &[(&str, char)], count: usize) -> io::Result<()> {
    let joined = |word: &dyn Fn(&(&str, char)) -> String| -> String {
        columns.iter().map(|column| format!(" {}", word(column))).collect()
    };
    writeln!(file, "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7")?;
    writeln!(file, "FIELDS{}", joined(&|c| c.0.to_owned()))?;
    writeln!(file, "SIZE{}", joined(&|_| "4".to_owned()))?;
    writeln!(file, "TYPE{}", joined(&|c| c.1.to_string()))?;
    writeln!(file, "COUNT{}", joined(&|_| "1".to_owned()))?;
    writeln!(file, "WIDTH {count}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {count}\nDATA binary")
}

fn write_point(file: &mut dyn Write, cloud: &PointCloud, index: usize) -> io::Result<()> {
    for coordinate in cloud.points[index].iter() {
        file.write_all(&coordinate.to_le_bytes())?;
    }
    let Some([red, green, blue]) = cloud.colors.get(index) else { return Ok(()) };
    file.write_all(&[*blue, *green, *red, 0])
}

#[cfg(test)]
mod tests {
    use nalgebra::Point3;

    use super::*;

    fn written(cloud: &PointCloud) -> (String, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map.pcd");
        write_pcd(&path, cloud).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let end = bytes.windows(12).position(|w| w == b"DATA binary\n").unwrap() + 12;
        (String::from_utf8(bytes[..end].to_vec()).unwrap(), bytes[end..].to_vec())
    }

    #[test]
    fn points_and_colours_are_laid_out_as_the_header_says() {
        let cloud = PointCloud {
            points: vec![Point3::new(1.0, -2.0, 0.5), Point3::new(0.0, 0.25, 3.0)],
            colors: vec![[0x12, 0x34, 0x56], [255, 0, 1]],
        };
        let (header, data) = written(&cloud);
        assert!(header.contains("FIELDS x y z rgb\n") && header.contains("POINTS 2\n"), "{header}");
        assert_eq!(data.len(), 2 * 16);
        let word = |at: usize| u32::from_le_bytes(data[at..at + 4].try_into().unwrap());
        assert_eq!((f32::from_bits(word(4)), word(12)), (-2.0, 0x0012_3456));
        assert_eq!((f32::from_bits(word(24)), word(28)), (3.0, 0x00ff_0001));
    }

    #[test]
    fn a_cloud_without_colours_has_none_in_the_file() {
        let cloud = PointCloud { points: vec![Point3::new(1.0, 2.0, 3.0)], colors: vec![] };
        let (header, data) = written(&cloud);
        assert!(header.contains("FIELDS x y z\n") && data.len() == 12);
        let (header, data) = written(&PointCloud::default());
        assert!(header.contains("POINTS 0\n") && data.is_empty());
    }

    #[test]
    fn colours_of_some_points_only_are_refused() {
        let cloud = PointCloud { points: vec![Point3::origin(); 2], colors: vec![[0; 3]] };
        assert!(write_pcd(Path::new("never.pcd"), &cloud).is_err());
    }
}
