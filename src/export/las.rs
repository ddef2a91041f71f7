//! Point clouds as LAS 1.2, which survey and GIS programs read.

use std::io::Cursor;
use std::path::Path;

use las::point::Format;
use las::{Builder, Color, Point, Transform, Vector, Vlr, Writer};

use super::write_atomically;
use crate::cloud::PointCloud;
use crate::error::{Error, Result};
use crate::geometry::UtmPlace;
use crate::pipeline::GeoReference;

/// Coordinates are whole numbers of these, metres.
const STEP_M: f64 = 0.0001;
/// From 8 to 16 bits: full stays full.
const COLOR_STEP: u16 = 257;
/// Number of the record that says what coordinates are, in keys of GeoTIFF.
const GEO_KEYS: u16 = 34_735;

/// Returns once `path` holds `cloud` as LAS, coordinates to a tenth of a millimetre. Where the place
/// of its origin on Earth is known, whose z must point up, coordinates are those of its UTM zone and
/// metres above the ellipsoid, and the file says so.
///
/// # Errors
/// As [`PointCloud::check_colors`] where some points have no colour; [`Error::Input`] where the
/// format cannot hold a point, or the place is in no UTM zone; else as [`write_atomically`].
pub fn write_las(path: &Path, cloud: &PointCloud, origin: Option<&GeoReference>) -> Result<()> {
    cloud.check_colors()?;
    let on_earth = origin.map(|origin| OnEarth::of(path, origin)).transpose()?;
    let bytes = encoded(cloud, on_earth.as_ref()).map_err(|error| {
        let problem = format!("the cloud does not fit the format ({error})");
        Error::input(path, problem, "write PLY instead")
    })?;
    write_atomically(path, |file| file.write_all(&bytes))
}

/// Where a cloud's origin is on Earth, and how its axes point.
struct OnEarth {
    place: UtmPlace,
    altitude_m: f64,
    heading_deg: f64,
}

impl OnEarth {
    fn of(path: &Path, origin: &GeoReference) -> Result<Self> {
        let place = UtmPlace::of(origin.latitude_deg, origin.longitude_deg).ok_or_else(|| {
            let problem = "the map's place on Earth is in no UTM zone (80° S to 84° N)";
            Error::input(path, problem, "write PLY, which stays in the map's own frame")
        })?;
        Ok(Self { place, altitude_m: origin.altitude_m, heading_deg: origin.heading_deg })
    }

    fn coordinates(&self, [x, y, z]: [f64; 3]) -> [f64; 3] {
        let [easting_m, northing_m] = self.place.offset_by(self.heading_deg, x, y);
        [easting_m, northing_m, self.altitude_m + z]
    }

    /// Whole metres near all coordinates, which would not fit the format without.
    fn offsets(&self) -> [f64; 3] {
        self.coordinates([0.0; 3]).map(f64::round)
    }

    /// Says which zone it is: a projected system, points (not cells), its number at EPSG, metres.
    fn record(&self) -> Vlr {
        let keys = [[1024, 1], [1025, 2], [3072, self.place.epsg()], [3076, 9001], [4099, 9001]];
        let header = [1, 1, 0, keys.len() as u16];
        let entries = keys.iter().flat_map(|&[key, value]| [key, 0, 1, value]);
        Vlr {
            user_id: "LASF_Projection".to_owned(),
            record_id: GEO_KEYS,
            description: "UTM zone of WGS 84".to_owned(),
            data: header.into_iter().chain(entries).flat_map(u16::to_le_bytes).collect(),
        }
    }
}

fn encoded(cloud: &PointCloud, on_earth: Option<&OnEarth>) -> las::Result<Vec<u8>> {
    let [x, y, z] = on_earth.map_or([0.0; 3], OnEarth::offsets);
    let axis = |offset: f64| Transform { scale: STEP_M, offset };
    let mut builder = Builder::from((1, 2));
    builder.point_format = Format::new(if cloud.colors.is_empty() { 0 } else { 2 })?;
    builder.transforms = Vector { x: axis(x), y: axis(y), z: axis(z) };
    builder.generating_software = "recon_node".to_owned();
    builder.vlrs.extend(on_earth.map(OnEarth::record));
    // Today's date would make two exports of one map differ.
    builder.date = None;
    let mut writer = Writer::new(Cursor::new(Vec::new()), builder.into_header()?)?;
    for (index, point) in cloud.points.iter().enumerate() {
        let in_map = [point.x, point.y, point.z].map(f64::from);
        let [x, y, z] = on_earth.map_or(in_map, |on_earth| on_earth.coordinates(in_map));
        let color = cloud.colors.get(index).map(|rgb| rgb.map(|c| u16::from(c) * COLOR_STEP));
        let color = color.map(|[red, green, blue]| Color::new(red, green, blue));
        writer.write_point(Point { x, y, z, color, ..Default::default() })?;
    }
    Ok(writer.into_inner()?.into_inner())
}
