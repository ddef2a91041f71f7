//! From the network's image size back to that of the frame.

use nalgebra::Vector3;

use super::outputs::ViewOutput;
use super::preprocess::Fitting;
use crate::error::Result;
use crate::geometry::{Camera, Intrinsics};
use crate::pointmap::Pointmap;
use crate::raster::Raster;

/// The loss that the network was trained with, `c·e - a·ln c` for an error e, is least where its
/// confidence c is a/e: this is a, and errors count relative to depth.
const CONFIDENCE_WEIGHT: f32 = 0.2;
/// Depths further apart than this share belong to different surfaces.
const SURFACE_STEP_FRAC: f32 = 0.05;

/// Returns the view's pointmap for `camera`, which is that of the frame before `fitting`. What was
/// cropped off has no points.
///
/// Confidence becomes the inverse variance of depth, 1/m², by `sigma = 0.2·z / c`. That follows
/// from the training loss, not from a measurement.
///
/// # Errors
/// None that a view of a model could cause.
pub fn pointmap(view: &ViewOutput, fitting: &Fitting, camera: &Camera) -> Result<Pointmap> {
    let (width, height) = (camera.width() as usize, camera.height() as usize);
    let to_model = ToModel::new(fitting);
    let samples = Raster::from_fn(width, height, |x, y| sample(view, to_model.at(x, y)));
    let rays = camera.rays();
    let points = samples.values().iter().zip(&rays).map(|(sample, ray)| ray * sample.depth_m);
    let points: Vec<Vector3<f32>> = points.collect();
    let points = Raster::new(width, height, points)?;
    Pointmap::new(points, samples.map(|sample| sample.confidence()))
}

/// Where the pixels of a frame lie in the image that the network saw.
struct ToModel {
    scale: (f64, f64),
    origin: (f64, f64),
}

impl ToModel {
    /// Cameras are resized and cropped as pixels are: a principal point at the first pixel shows
    /// where that goes, a focal length of one how far apart neighbours get.
    fn new(fitting: &Fitting) -> Self {
        let first = fitting.intrinsics(&Intrinsics { fx: 1.0, fy: 1.0, cx: 0.0, cy: 0.0 });
        Self { scale: (first.fx, first.fy), origin: (first.cx, first.cy) }
    }

    fn at(&self, x: usize, y: usize) -> (f64, f64) {
        (self.origin.0 + self.scale.0 * x as f64, self.origin.1 + self.scale.1 * y as f64)
    }
}

/// A depth and the network's confidence in it; both 0 where there is none.
#[derive(Clone, Copy, Default)]
struct Sample {
    depth_m: f32,
    network_confidence: f32,
}

impl Sample {
    /// Inverse variance of the depth, 1/m².
    fn confidence(self) -> f32 {
        if self.depth_m <= 0.0 {
            return 0.0;
        }
        let sigma_m = CONFIDENCE_WEIGHT * self.depth_m / self.network_confidence;
        1.0 / (sigma_m * sigma_m)
    }
}

/// The depth at a place between pixels: interpolated within a surface, that of the nearest pixel
/// at an edge.
fn sample(view: &ViewOutput, (x, y): (f64, f64)) -> Sample {
    let kept = |x: i64, y: i64| {
        let depth = view.depth_z.get(x, y).filter(|&depth| depth > 0.0)?;
        let is_kept = view.mask.as_ref().is_none_or(|m| m.get(x, y) == Some(true));
        is_kept.then_some(depth)
    };
    let (column, row) = (x.round() as i64, y.round() as i64);
    let Some(nearest) = kept(column, row) else { return Sample::default() };
    let network_confidence = view.confidence.get(column, row).unwrap_or(0.0);
    let (left, top) = (x.floor(), y.floor());
    let corners = [(0, 0), (1, 0), (0, 1), (1, 1)]
        .map(|(dx, dy)| kept(left as i64 + dx, top as i64 + dy).unwrap_or(0.0));
    let is_surface =
        corners.iter().all(|depth| (depth - nearest).abs() <= SURFACE_STEP_FRAC * nearest);
    let (u, v) = ((x - left) as f32, (y - top) as f32);
    let [a, b, c, d] = corners;
    let between = (1.0 - v) * ((1.0 - u) * a + u * b) + v * ((1.0 - u) * c + u * d);
    Sample { depth_m: if is_surface { between } else { nearest }, network_confidence }
}
