//! From the network's image size back to that of the frame.

use nalgebra::Vector3;

use super::preprocess::FamilyFitting;
use super::reconstruct::ReconstructedView;
use crate::error::Result;
use crate::geometry::Camera;
use crate::pointmap::Pointmap;
use crate::raster::Raster;

/// The networks were trained with the loss `c·e - a·ln c`, least where the confidence c is a/e; this
/// is a, and errors count relative to depth.
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
pub(super) fn pointmap(
    view: &ReconstructedView,
    fitting: &FamilyFitting,
    camera: &Camera,
) -> Result<Pointmap> {
    let (width, height) = (camera.width() as usize, camera.height() as usize);
    let samples = Raster::from_fn(width, height, |x, y| {
        sample(view, fitting.network_pixel([x as f64, y as f64]))
    });
    let rays = camera.rays();
    let points = samples.values().iter().zip(&rays).map(|((depth, _), ray)| ray * *depth);
    let points: Vec<Vector3<f32>> = points.collect();
    let confidence = samples.map(|(depth, confidence)| {
        let sigma = CONFIDENCE_WEIGHT * depth / confidence;
        if depth > 0.0 && confidence > 0.0 { 1.0 / (sigma * sigma) } else { 0.0 }
    });
    Pointmap::new(Raster::new(width, height, points)?, confidence)
}

/// Depth and confidence at a place between pixels: interpolated within a surface, that of the
/// nearest pixel at an edge; zero where there is none.
fn sample(view: &ReconstructedView, [x, y]: [f64; 2]) -> (f32, f32) {
    let kept = |x: i64, y: i64| view.depth.get(x, y).filter(|depth| *depth > 0.0);
    let (column, row) = (x.round() as i64, y.round() as i64);
    let Some(nearest) = kept(column, row) else { return (0.0, 0.0) };
    let confidence = view.confidence.get(column, row).unwrap_or(0.0);
    let (left, top) = (x.floor(), y.floor());
    let [a, b, c, d] = [(0, 0), (1, 0), (0, 1), (1, 1)]
        .map(|(dx, dy)| kept(left as i64 + dx, top as i64 + dy).unwrap_or(0.0));
    let is_surface =
        [a, b, c, d].iter().all(|depth| (depth - nearest).abs() <= SURFACE_STEP_FRAC * nearest);
    let (u, v) = ((x - left) as f32, (y - top) as f32);
    let between = (1.0 - v) * ((1.0 - u) * a + u * b) + v * ((1.0 - u) * c + u * d);
    (if is_surface { between } else { nearest }, confidence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Intrinsics, Se3};

    #[test]
    fn a_plane_keeps_its_depth_at_the_size_of_the_frame() {
        let fitting = FamilyFitting::new(320, 240, 64).expect("it fits");
        let (width, height) = fitting.target();
        let k = Intrinsics { fx: 60.0, fy: 60.0, cx: 32.0, cy: 24.0 };
        let view = ReconstructedView {
            depth: Raster::filled(width, height, 2.0),
            confidence: Raster::filled(width, height, 4.0),
            intrinsics: k,
            world_from_camera: Se3::identity(),
        };
        let camera = Camera::pinhole(fitting.original_intrinsics(&k), 320, 240).expect("a camera");
        let map = pointmap(&view, &fitting, &camera).expect("it fits");
        let centre = map.point(160, 120).expect("inside");
        assert!((centre.z - 2.0).abs() < 1e-6 && centre.xy().norm() < 0.02, "{centre}");
        assert!((map.confidence(160, 120) - 100.0).abs() < 1e-3);
        assert!(map.valid_frac() > 0.95);
    }
}
