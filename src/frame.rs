//! What a camera delivers at one moment.

use std::sync::Arc;

use image::RgbImage;
use nalgebra::Matrix6;

use crate::error::{Error, Result};
use crate::geometry::{Camera, Se3};
use crate::raster::Raster;
use crate::stamp::Stamp;

/// Depth along the optical axis in metres, registered to the colour image; 0 where there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct DepthImage(Raster<f32>);

impl DepthImage {
    /// Returns a depth image in which everything that is not a positive finite number is "none"
    /// (REP-117 sends NaN and infinities for that).
    pub fn new(mut metres: Raster<f32>) -> Self {
        for depth in metres.values_mut() {
            if !(depth.is_finite() && *depth > 0.0) {
                *depth = 0.0;
            }
        }
        Self(metres)
    }

    /// Returns the depths in metres, 0 where there is none.
    pub fn raster(&self) -> &Raster<f32> {
        &self.0
    }

    /// Returns the share of pixels that have a depth.
    pub fn valid_frac(&self) -> f64 {
        let valid = self.0.values().iter().filter(|&&d| d > 0.0).count();
        valid as f64 / self.0.values().len().max(1) as f64
    }
}

/// Where another sensor says that the camera is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OdometryPrior {
    /// Pose of the camera's optical frame in the odometry frame.
    pub odom_from_camera: Se3,
    /// Covariance of the pose as a left perturbation `[omega, nu]`, rad² and m², where known.
    pub covariance: Option<Matrix6<f64>>,
}

/// One moment of one camera.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Index of the frame in its source, counted from zero, without gaps.
    pub id: u64,
    /// Time of acquisition of the colour image.
    pub stamp: Stamp,
    /// Colour, or grey three times.
    pub color: Arc<RgbImage>,
    /// Depth of the same size as the colour image.
    pub depth: Option<Arc<DepthImage>>,
    /// Calibration of the colour image, where known.
    pub camera: Option<Camera>,
    /// Pose by another sensor, where there is one.
    pub odometry: Option<OdometryPrior>,
}

impl Frame {
    /// Returns the frame if its parts fit together.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where depth or calibration are for another image size.
    pub fn checked(self) -> Result<Self> {
        let (width, height) = self.color.dimensions();
        if let Some(depth) = &self.depth {
            let found = (depth.raster().width() as u32, depth.raster().height() as u32);
            same_size("size of the depth image", (width, height), found)?;
        }
        if let Some(camera) = &self.camera {
            let found = (camera.width(), camera.height());
            same_size("image size of the calibration", (width, height), found)?;
        }
        Ok(self)
    }
}

fn same_size(what: &'static str, expected: (u32, u32), found: (u32, u32)) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::ShapeMismatch {
        what,
        expected: format!("{}x{}", expected.0, expected.1),
        found: format!("{}x{}", found.0, found.1),
    })
}
