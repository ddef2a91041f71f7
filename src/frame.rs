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

    /// Returns the frame without depths beyond `max_range_m`.
    pub fn clipped(mut self, max_range_m: f64) -> Self {
        let limit_m = max_range_m as f32;
        self.depth = self.depth.map(|depth| {
            let clip = |d: f32| if d <= limit_m { d } else { 0.0 };
            Arc::new(DepthImage(depth.raster().map(clip)))
        });
        self
    }

    /// Returns the frame with `offset_m` added to each depth that there is.
    pub fn with_depth_offset(mut self, offset_m: f64) -> Self {
        if offset_m != 0.0 {
            let shifted = |d: f32| if d > 0.0 { (d + offset_m as f32).max(0.0) } else { 0.0 };
            self.depth = self.depth.map(|depth| Arc::new(DepthImage(depth.raster().map(shifted))));
        }
        self
    }

    /// Returns the frame with images of which each pixel stands for `factor` × `factor`: colours
    /// averaged, depths averaged over the nearest surface of the block.
    pub fn reduced(&self, factor: u32) -> Self {
        if factor <= 1 {
            return self.clone();
        }
        Self {
            color: Arc::new(reduced_color(&self.color, factor as usize)),
            depth: self.depth.as_ref().map(|d| Arc::new(reduced_depth(d, factor as usize))),
            camera: self.camera.map(|c| c.reduced(factor)),
            ..self.clone()
        }
    }
}

fn reduced_color(color: &RgbImage, factor: usize) -> RgbImage {
    let (width, height) = (color.width() as usize / factor, color.height() as usize / factor);
    let stride = 3 * color.width() as usize;
    let area = (factor * factor) as u32;
    let mut reduced = Vec::with_capacity(3 * width * height);
    let mut sums = vec![[0u32; 3]; width];
    for rows in color.as_raw().chunks_exact(stride * factor).take(height) {
        sums.fill([0; 3]);
        for row in rows.chunks_exact(stride) {
            for (sum, block) in sums.iter_mut().zip(row.chunks_exact(3 * factor)) {
                for pixel in block.chunks_exact(3) {
                    (0..3).for_each(|channel| sum[channel] += u32::from(pixel[channel]));
                }
            }
        }
        reduced.extend(sums.iter().flatten().map(|sum| ((sum + area / 2) / area) as u8));
    }
    RgbImage::from_raw(width as u32, height as u32, reduced).unwrap_or_default()
}

fn reduced_depth(depth: &DepthImage, factor: usize) -> DepthImage {
    let raster = depth.raster();
    let (width, height) = (raster.width() / factor, raster.height() / factor);
    let mut block = Vec::with_capacity(factor * factor);
    let mut reduced = Vec::with_capacity(width * height);
    for rows in raster.values().chunks_exact(raster.width() * factor).take(height) {
        for x in 0..width {
            block.clear();
            for row in rows.chunks_exact(raster.width()) {
                block.extend_from_slice(&row[x * factor..(x + 1) * factor]);
            }
            reduced.push(mean_of_nearest_surface(&block));
        }
    }
    DepthImage(Raster::from_values(width, height, reduced))
}

/// Depths further apart than this share belong to different surfaces.
const SURFACE_STEP_FRAC: f32 = 0.05;

/// Returns the mean of those depths (metres, 0 = none) that lie on the nearest surface, 0 where
/// there is none: a mean across an edge would float between the surfaces.
#[inline]
pub fn mean_of_nearest_surface(depths_m: &[f32]) -> f32 {
    let nearest = depths_m.iter().fold(f32::INFINITY, |n, &d| if d > 0.0 { n.min(d) } else { n });
    let limit = nearest * (1.0 + SURFACE_STEP_FRAC);
    let (mut sum, mut count) = (0.0, 0.0f32);
    for &depth in depths_m {
        if depth > 0.0 && depth <= limit {
            sum += depth;
            count += 1.0;
        }
    }
    if count > 0.0 { sum / count } else { 0.0 }
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
