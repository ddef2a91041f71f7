//! The embedded default: geometry straight from a depth camera.

use nalgebra::Vector3;

use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::geometry::Camera;
use crate::inference::{Prediction, ReconstructionModel, SENSOR_DEPTH, View, ViewGeometry};
use crate::raster::Raster;
use crate::sensor::{SensorConfig, unproject};

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
