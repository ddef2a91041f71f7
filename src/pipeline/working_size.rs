//! A model's geometry, brought to the pixels that frames are worked with.

use nalgebra::{Point3, Vector2, Vector3};
use rayon::prelude::*;

use crate::error::Result;
use crate::geometry::Camera;
use crate::inference::ViewGeometry;
use crate::pointmap::Pointmap;
use crate::raster::Raster;

/// Depths further apart than this share belong to different surfaces: between them there is none.
const SURFACE_STEP_FRAC: f32 = 0.05;

/// Returns the geometry of a view as the pointmap of `camera`, which is where the frame is worked
/// with: the model may have seen the image in another size, and less of it.
///
/// Points lie on the rays of `camera`, since everything else believes in those; from the model
/// comes how far they are.
pub(super) fn at_working_size(geometry: ViewGeometry, camera: &Camera) -> Result<Pointmap> {
    if geometry.camera == *camera {
        return Ok(geometry.pointmap);
    }
    let pixel = |ray: Vector3<f32>| {
        let pixel = geometry.camera.project(&Point3::from(ray.cast()))?;
        let (depth_m, confidence) = surface_at(&geometry.pointmap, &pixel)?;
        Some((ray * depth_m, confidence))
    };
    let pixels: Vec<(Vector3<f32>, f32)> =
        camera.rays().into_par_iter().map(|ray| pixel(ray).unwrap_or_default()).collect();
    let (width, height) = (camera.width() as usize, camera.height() as usize);
    let points = Raster::new(width, height, pixels.iter().map(|p| p.0).collect())?;
    let confidence = Raster::new(width, height, pixels.iter().map(|p| p.1).collect())?;
    Pointmap::new(points, confidence)
}

/// Depth (metres) and confidence between pixels: of the surface that the nearest pixel is on.
/// Inverse depths are averaged, which puts planes exactly where they are.
fn surface_at(pointmap: &Pointmap, pixel: &Vector2<f64>) -> Option<(f32, f32)> {
    let depth_m = |x: f64, y: f64| {
        let inside = x >= 0.0 && y >= 0.0;
        let (x, y) = (x as usize, y as usize);
        let inside = inside && x < pointmap.width() && y < pointmap.height();
        inside.then(|| pointmap.point(x, y))?.map(|point| (point.z, pointmap.confidence(x, y)))
    };
    let (nearest_m, _) = depth_m(pixel.x.round(), pixel.y.round())?;
    let (left, top) = (pixel.x.floor(), pixel.y.floor());
    let (right_share, lower_share) = ((pixel.x - left) as f32, (pixel.y - top) as f32);
    let (mut weights, mut inverse_depths, mut confidences) = (0.0, 0.0, 0.0);
    for (dx, x_share) in [(0.0, 1.0 - right_share), (1.0, right_share)] {
        for (dy, y_share) in [(0.0, 1.0 - lower_share), (1.0, lower_share)] {
            let found = depth_m(left + dx, top + dy);
            let same = |z: f32| (z - nearest_m).abs() <= SURFACE_STEP_FRAC * nearest_m;
            let Some((z, confidence)) = found.filter(|&(z, _)| same(z)) else { continue };
            let weight = x_share * y_share;
            weights += weight;
            inverse_depths += weight / z;
            confidences += weight * confidence;
        }
    }
    (weights > 0.0).then(|| (weights / inverse_depths, confidences / weights))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Intrinsics;

    fn camera(width: u32, height: u32, focal: f64) -> Camera {
        let (cx, cy) = (f64::from(width - 1) / 2.0, f64::from(height - 1) / 2.0);
        Camera::pinhole(Intrinsics { fx: focal, fy: focal, cx, cy }, width, height).unwrap()
    }

    /// What a camera sees of surfaces at `depth_m(ray)`, with a confidence of four.
    fn seen(camera: Camera, depth_m: impl Fn(&Vector3<f32>) -> f32) -> ViewGeometry {
        let (width, height) = (camera.width() as usize, camera.height() as usize);
        let points = camera.rays().into_iter().map(|ray| ray * depth_m(&ray)).collect();
        let points = Raster::new(width, height, points).unwrap();
        let pointmap = Pointmap::new(points, Raster::filled(width, height, 4.0)).unwrap();
        ViewGeometry { pointmap, camera, window_from_camera: None, descriptor: None }
    }

    fn is_between_pixels(camera: &Camera, ray: &Vector3<f32>) -> bool {
        let pixel = camera.project(&Point3::from(ray.cast())).unwrap();
        let last = [camera.width() - 1, camera.height() - 1].map(f64::from);
        (0.0..=last[0]).contains(&pixel.x) && (0.0..=last[1]).contains(&pixel.y)
    }

    /// Larger, smaller, and with less of the height.
    const OTHER_SIZES: [(u32, u32, f64); 3] = [(140, 105, 140.0), (60, 45, 60.0), (140, 84, 140.0)];

    #[test]
    fn a_plane_stays_where_it_is_at_any_size() {
        let plane = |ray: &Vector3<f32>| 2.0 / (0.3 * ray.x - 0.2 * ray.y + 1.0);
        let working = camera(80, 60, 80.0);
        for (width, height, focal) in OTHER_SIZES {
            let other = camera(width, height, focal);
            let geometry = seen(other, plane);
            let pointmap = at_working_size(geometry, &working).unwrap();
            assert_eq!((pointmap.width(), pointmap.height()), (80, 60));
            let mut found = 0;
            for (i, ray) in working.rays().iter().enumerate() {
                let (x, y) = (i % 80, i / 80);
                let Some(point) = pointmap.point(x, y) else { continue };
                // Up to half a pixel beyond the last pixels' centres there is nothing to go by.
                let limit = if is_between_pixels(&other, ray) { 1e-4 } else { 0.01 };
                assert!((point - ray * plane(ray)).norm() < limit, "{width}: {point}");
                assert!((pointmap.confidence(x, y) - 4.0).abs() < 1e-4);
                found += 1;
            }
            // All but the border, or all but what the model has not seen.
            let seen_frac = f64::from(height) / f64::from(width) / 0.75;
            assert!(f64::from(found) > 0.93 * seen_frac * 4800.0, "{width}: {found}");
        }
    }

    #[test]
    fn nothing_floats_between_two_surfaces() {
        let step = |ray: &Vector3<f32>| if ray.x < 0.01 { 1.0 } else { 3.0 };
        for (width, height, focal) in OTHER_SIZES {
            let geometry = seen(camera(width, height, focal), step);
            let pointmap = at_working_size(geometry, &camera(80, 60, 80.0)).unwrap();
            let points = (0..4800).filter_map(|i| pointmap.point(i % 80, i / 80));
            for point in points {
                assert!((point.z - 1.0).abs() < 1e-5 || (point.z - 3.0).abs() < 1e-5, "{point}");
            }
        }
    }

    #[test]
    fn geometry_of_the_working_size_is_not_touched() {
        let working = camera(80, 60, 80.0);
        let geometry = seen(working, |ray| 2.0 + ray.x);
        let same = geometry.pointmap.clone();
        assert_eq!(at_working_size(geometry, &working).unwrap(), same);
    }

    #[test]
    fn holes_stay_holes() {
        let holed = |ray: &Vector3<f32>| if ray.x.abs() < 0.2 { f32::NAN } else { 2.0 };
        let geometry = seen(camera(140, 105, 140.0), holed);
        let pointmap = at_working_size(geometry, &camera(80, 60, 80.0)).unwrap();
        assert_eq!(pointmap.point(40, 30), None);
        assert!(pointmap.point(5, 30).is_some());
    }
}
