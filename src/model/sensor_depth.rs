//! The embedded default: geometry straight from a depth camera.

use nalgebra::Vector3;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::frame::{DepthImage, Frame};
use crate::geometry::Camera;
use crate::inference::{Prediction, ReconstructionModel, SENSOR_DEPTH, View, ViewGeometry};
use crate::pointmap::Pointmap;
use crate::raster::Raster;
use crate::sensor::SensorConfig;

/// Unprojects depth images through calibrated rays.
#[derive(Debug)]
pub struct SensorDepth {
    config: SensorConfig,
    /// Rays of the last camera; one camera is the rule, and its rays are costly.
    rays: Option<(Camera, Raster<Vector3<f32>>)>,
}

impl SensorDepth {
    /// Returns the model with this configuration.
    pub fn new(config: SensorConfig) -> Self {
        Self { config, rays: None }
    }

    fn rays(&mut self, camera: &Camera) -> Result<&Raster<Vector3<f32>>> {
        let rays = match self.rays.take() {
            Some((known, rays)) if known == *camera => rays,
            _ => Raster::new(camera.width() as usize, camera.height() as usize, camera.rays())?,
        };
        Ok(&self.rays.insert((*camera, rays)).1)
    }

    fn view_geometry(&mut self, frame: &Frame) -> Result<ViewGeometry> {
        let camera = frame.camera.ok_or_else(|| {
            missing("a calibrated camera", "give one with --calibration, or publish camera_info")
        })?;
        let depth = frame.depth.as_deref().ok_or_else(|| {
            missing(
                "depth images",
                "give depth beside the images, or choose a model that needs none (model.name)",
            )
        })?;
        let config = self.config.clone();
        let pointmap = unproject(depth, self.rays(&camera)?, &config)?;
        Ok(ViewGeometry { pointmap, camera, window_from_camera: None, descriptor: None })
    }
}

impl ReconstructionModel for SensorDepth {
    fn name(&self) -> &'static str {
        SENSOR_DEPTH
    }

    fn max_views(&self) -> usize {
        1
    }

    fn infer(&mut self, views: &[View<'_>]) -> Result<Prediction> {
        let views =
            views.iter().map(|view| self.view_geometry(view.frame)).collect::<Result<_>>()?;
        Ok(Prediction { views, is_metric: true })
    }
}

fn missing(missing: &'static str, remedy: &'static str) -> Error {
    Error::MissingInput { model: SENSOR_DEPTH, missing, remedy }
}

/// The pointmap of a depth image; confidence is the inverse variance of the depth, less where the
/// surface is oblique.
fn unproject(
    depth: &DepthImage,
    rays: &Raster<Vector3<f32>>,
    config: &SensorConfig,
) -> Result<Pointmap> {
    let depth = depth.raster();
    let (width, height) = (depth.width(), depth.height());
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
