//! What each of two views saw of one point.

use nalgebra::{Matrix3, Point3, Vector2, Vector3};

use crate::geometry::Camera;
use crate::pointmap::Pointmap;

/// What one view saw of a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// Where in the image, in pixels.
    pub pixel: Vector2<f64>,
    /// The pixel's ray in the camera's frame, scaled to z = 1.
    pub ray: Vector3<f64>,
    /// Depth along the optical axis in metres and its standard deviation, where known.
    pub depth: Option<(f64, f64)>,
}

/// One point as the two views saw it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Correspondence {
    /// In the view whose pose is sought.
    pub source: Observation,
    /// In the view in whose frame the pose is sought.
    pub target: Observation,
}

impl Observation {
    /// Returns what a camera saw at a pixel without knowing how far away it is, or `None` where
    /// the lens model has no ray.
    pub fn of_pixel(camera: &Camera, pixel: Vector2<f64>) -> Option<Self> {
        Some(Self { pixel, ray: camera.ray(&pixel)?, depth: None })
    }

    /// Returns what a camera saw at a pixel, with the depth of its pointmap (of the same size) at
    /// the nearest pixel, if there is one.
    pub fn of_pointmap(camera: &Camera, map: &Pointmap, pixel: Vector2<f64>) -> Option<Self> {
        let observation = Self::of_pixel(camera, pixel)?;
        let (x, y) = (pixel.x.round().max(0.0) as usize, pixel.y.round().max(0.0) as usize);
        let inside = x < map.width() && y < map.height();
        let point = if inside { map.point(x, y) } else { None };
        let depth =
            point.map(|point| (f64::from(point.z), 1.0 / f64::from(map.confidence(x, y)).sqrt()));
        Some(Self { depth, ..observation })
    }

    /// Returns the point in the camera's frame, where its depth is known.
    pub fn point(&self) -> Option<Point3<f64>> {
        self.depth.map(|(depth_m, _)| Point3::from(self.ray * depth_m))
    }

    /// Covariance of the point in the camera's frame: along the ray by the depth's spread, across
    /// it by the pixel's.
    pub(super) fn covariance(&self, camera: &Camera, pixel_sigma_px: f64) -> Option<Matrix3<f64>> {
        let (depth_m, sigma_m) = self.depth?;
        let across = depth_m * pixel_sigma_px / camera.intrinsics().fx;
        let lateral = Matrix3::from_diagonal_element(across * across);
        Some(lateral + self.ray * self.ray.transpose() * (sigma_m * sigma_m))
    }
}
