//! Point clouds as LAS 1.2, which survey and GIS programs read.

use std::io::Cursor;
use std::path::Path;

use las::point::Format;
use las::{Builder, Color, Point, Transform, Vector, Writer};

use super::write_atomically;
use crate::cloud::PointCloud;
use crate::error::{Error, Result};

/// Coordinates are whole numbers of these, metres.
const STEP_M: f64 = 0.0001;
/// From 8 to 16 bits: full stays full.
const COLOR_STEP: u16 = 257;

/// Returns once `path` holds `cloud` as LAS, coordinates to a tenth of a millimetre.
///
/// # Errors
/// As [`PointCloud::check_colors`] where some points have no colour; [`Error::Input`] where the
/// format cannot hold a point; else as [`write_atomically`].
pub fn write_las(path: &Path, cloud: &PointCloud) -> Result<()> {
    cloud.check_colors()?;
    let bytes = encoded(cloud).map_err(|error| {
        let problem = format!("the cloud does not fit the format ({error})");
        Error::input(path, problem, "write PLY instead")
    })?;
    write_atomically(path, |file| file.write_all(&bytes))
}

fn encoded(cloud: &PointCloud) -> las::Result<Vec<u8>> {
    let axis = Transform { scale: STEP_M, offset: 0.0 };
    let mut builder = Builder::from((1, 2));
    builder.point_format = Format::new(if cloud.colors.is_empty() { 0 } else { 2 })?;
    builder.transforms = Vector { x: axis, y: axis, z: axis };
    builder.generating_software = "recon_node".to_owned();
    // Today's date would make two exports of one map differ.
    builder.date = None;
    let mut writer = Writer::new(Cursor::new(Vec::new()), builder.into_header()?)?;
    for (index, point) in cloud.points.iter().enumerate() {
        let [x, y, z] = [point.x, point.y, point.z].map(f64::from);
        let color = cloud.colors.get(index).map(|rgb| rgb.map(|c| u16::from(c) * COLOR_STEP));
        let color = color.map(|[red, green, blue]| Color::new(red, green, blue));
        writer.write_point(Point { x, y, z, color, ..Default::default() })?;
    }
    Ok(writer.into_inner()?.into_inner())
}
