//! What is known of the camera as a measuring device, and what it measures.

use nalgebra::Vector3;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::frame::DepthImage;
use crate::pointmap::Pointmap;
use crate::raster::Raster;

/// The depth sensor, and the size at which frames are worked with.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SensorConfig {
    /// Images wider than this are reduced by a whole factor before anything else.
    #[schemars(range(min = 64, max = 4096))]
    pub max_width_px: u32,
    /// Depths beyond this are not used, metres.
    #[schemars(range(min = 0.1, max = 1000.0))]
    pub max_range_m: f64,
    /// Added to every depth, metres: what the sensor measures too little. Structured light and
    /// time of flight are often off by centimetres.
    #[schemars(range(min = -0.5, max = 0.5))]
    pub depth_offset_m: f64,
    /// Whether such an offset is looked for while a map is made by sensor-depth, and when a whole map
    /// is refined.
    pub estimate_depth_offset: bool,
    /// Standard deviation of depth close to the camera, metres.
    #[schemars(range(min = 0.000_01, max = 1.0))]
    pub depth_noise_floor_m: f64,
    /// Growth of the standard deviation of depth with its square, 1/m.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub depth_noise_per_m2: f64,
    /// Pixels whose depth differs from a neighbour's by more than this share fly between surfaces
    /// and are left out.
    #[schemars(range(min = 0.001, max = 1.0))]
    pub edge_step_frac: f64,
    /// Surfaces seen more obliquely than this, from their normal in degrees, are left out.
    #[schemars(range(min = 10.0, max = 90.0))]
    pub max_incidence_deg: f64,
}

impl Default for SensorConfig {
    fn default() -> Self {
        Self {
            max_width_px: 426,
            max_range_m: 6.0,
            depth_offset_m: 0.0,
            estimate_depth_offset: true,
            depth_noise_floor_m: 0.002,
            depth_noise_per_m2: 0.0025,
            edge_step_frac: 0.04,
            max_incidence_deg: 80.0,
        }
    }
}

impl SensorConfig {
    /// Returns how uncertain the sensor's depth is.
    pub fn noise(&self) -> DepthNoise {
        DepthNoise { floor_m: self.depth_noise_floor_m, per_m2: self.depth_noise_per_m2 }
    }
}

/// How uncertain a depth is: structured light and stereo lose precision with its square.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DepthNoise {
    /// Standard deviation close to the camera, metres.
    pub floor_m: f64,
    /// Growth of the standard deviation with the squared depth, 1/m.
    pub per_m2: f64,
}

impl DepthNoise {
    /// Returns the standard deviation of a depth, metres.
    #[inline]
    pub fn sigma_m(&self, depth_m: f64) -> f64 {
        self.floor_m + self.per_m2 * depth_m * depth_m
    }
}

/// Returns the pointmap of a depth image on its camera's rays (of depth one); confidence is the inverse
/// variance of the depth, less where the surface is oblique, and none where a pixel flies between two
/// surfaces, stands alone or is out of range.
///
/// # Errors
/// [`crate::error::Error::ShapeMismatch`] for rays of another size.
pub fn unproject(
    depth: &DepthImage,
    rays: &Raster<Vector3<f32>>,
    config: &SensorConfig,
) -> Result<Pointmap> {
    let depth = depth.raster();
    let (width, height) = (depth.width(), depth.height());
    if (rays.width(), rays.height()) != (width, height) {
        return Err(Error::ShapeMismatch {
            what: "rays of a depth image",
            expected: format!("{width}x{height}"),
            found: format!("{}x{}", rays.width(), rays.height()),
        });
    }
    let pixel = |i: usize| {
        let (x, y) = (i % width, i / width);
        let confidence = confidence(depth, rays, (x, y), config);
        (rays.at(x, y) * depth.at(x, y), confidence)
    };
    let pixels: Vec<_> = (0..width * height).into_par_iter().map(pixel).collect();
    let points = Raster::new(width, height, pixels.iter().map(|p| p.0).collect())?;
    let confidence = Raster::new(width, height, pixels.iter().map(|p| p.1).collect())?;
    Pointmap::new(points, confidence)
}

fn confidence(
    depth: &Raster<f32>,
    rays: &Raster<Vector3<f32>>,
    (x, y): (usize, usize),
    config: &SensorConfig,
) -> f32 {
    let z = depth.at(x, y);
    if z <= 0.0 || f64::from(z) > config.max_range_m {
        return 0.0;
    }
    let Some(cosine) = incidence_cosine(depth, rays, (x, y), config.edge_step_frac as f32) else {
        return 0.0;
    };
    if f64::from(cosine) < config.max_incidence_deg.to_radians().cos() {
        return 0.0;
    }
    let sigma_m = config.noise().sigma_m(f64::from(z)) as f32;
    cosine / (sigma_m * sigma_m)
}

/// Cosine between ray and surface normal, or `None` for a pixel that flies between two surfaces
/// or stands alone.
fn incidence_cosine(
    depth: &Raster<f32>,
    rays: &Raster<Vector3<f32>>,
    (x, y): (usize, usize),
    edge_step_frac: f32,
) -> Option<f32> {
    let z = depth.at(x, y);
    let point = |x: i64, y: i64| -> Option<Vector3<f32>> {
        let neighbour = depth.get(x, y).filter(|&d| d > 0.0)?;
        let ray = rays.at(x as usize, y as usize);
        ((neighbour - z).abs() <= edge_step_frac * z).then(|| ray * neighbour)
    };
    let (x, y) = (x as i64, y as i64);
    let centre = point(x, y)?;
    let (left, right) = (point(x - 1, y), point(x + 1, y));
    let (up, down) = (point(x, y - 1), point(x, y + 1));
    let horizontal = right.or(Some(centre))? - left.or(Some(centre))?;
    let vertical = down.or(Some(centre))? - up.or(Some(centre))?;
    // Two neighbours of four on the same surface: less is speckle or the fringe of an edge.
    let neighbours = [left, right, up, down].iter().flatten().count();
    if neighbours < 3 {
        return None;
    }
    let normal = vertical.cross(&horizontal).try_normalize(1e-12)?;
    Some((normal.dot(&centre) / centre.norm()).abs())
}
