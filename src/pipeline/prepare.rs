//! What is done to a frame before it meets the map; a function of the frame alone.

use std::sync::Arc;

use image::RgbImage;

use super::calibrating::ordinary_camera;
use crate::config::Config;
use crate::error::Result;
use crate::frame::Frame;
use crate::geometry::Camera;
use crate::pyramid::Pyramid;

/// A frame at working size, with its pyramid.
#[derive(Debug, Clone)]
pub struct PreparedFrame {
    /// The frame at working size.
    pub frame: Frame,
    /// Its camera; an ordinary one where there is no calibration.
    pub camera: Camera,
    /// Its pyramid.
    pub pyramid: Pyramid,
    /// The image as it came.
    pub full_color: Arc<RgbImage>,
    /// Mean depth of what it sees, metres; `None` where next to nothing of it has depth.
    pub mean_depth_m: Option<f64>,
    /// What has been added to each of its depths, metres.
    pub depth_offset_m: f64,
}

impl PreparedFrame {
    /// The frame with a further offset added to each depth.
    pub(super) fn with_depth_offset(&self, offset_m: f64) -> Self {
        let frame = self.frame.clone().with_depth_offset(offset_m);
        Self {
            mean_depth_m: mean_depth_m(&frame),
            pyramid: self.pyramid.with_depth_of(&frame),
            frame,
            depth_offset_m: self.depth_offset_m + offset_m,
            ..self.clone()
        }
    }
}

/// Frames with depth in a smaller share of their pixels carry no map.
const MIN_DEPTH_FRAC: f64 = 0.02;

/// Returns the frame at working size with its pyramid.
///
/// # Errors
/// For an image without pixels.
pub fn prepare(frame: &Frame, config: &Config) -> Result<PreparedFrame> {
    let width = frame.color.width();
    let reduced = frame.reduced(width.div_ceil(config.sensor.max_width_px));
    let depth_offset_m = config.sensor.depth_offset_m;
    let clipped = reduced.with_depth_offset(depth_offset_m).clipped(config.sensor.max_range_m);
    let camera = clipped.camera.map_or_else(|| ordinary_camera(&clipped), Ok)?;
    let pyramid = Pyramid::new(&clipped, &camera, config.tracking.pyramid_levels);
    let mean_depth_m = mean_depth_m(&clipped);
    let full_color = Arc::clone(&frame.color);
    Ok(PreparedFrame { frame: clipped, camera, pyramid, full_color, mean_depth_m, depth_offset_m })
}

/// Mean depth of what a frame sees, metres; `None` where next to nothing of it has depth.
pub(super) fn mean_depth_m(frame: &Frame) -> Option<f64> {
    let depths = frame.depth.as_ref()?.raster().values();
    let (mut sum, mut count) = (0.0, 0usize);
    for &depth in depths.iter().filter(|&&d| d > 0.0) {
        sum += f64::from(depth);
        count += 1;
    }
    (count as f64 > MIN_DEPTH_FRAC * depths.len() as f64).then(|| sum / count as f64)
}
