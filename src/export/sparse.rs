//! A reconstruction as others keep it: views with cameras and poses, points with where they are
//! seen.

use nalgebra::{Point3, Vector2};

use crate::error::{Error, Result};
use crate::geometry::{Distortion, Intrinsics, Se3};

/// A view: an image file, the camera that took it and where.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseView {
    /// Path of the image file, relative to the folder of all images.
    pub name: String,
    /// Width of the image file in pixels.
    pub width: u32,
    /// Height of the image file in pixels.
    pub height: u32,
    /// The pinhole of an image of that size; the centre of the first pixel is at (0, 0).
    pub intrinsics: Intrinsics,
    /// How the lens bends what the pinhole sees.
    pub distortion: Distortion,
    /// Where it was taken.
    pub world_from_camera: Se3,
}

/// Where a point is seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// Index of the view.
    pub view: usize,
    /// Place in its image; the centre of the first pixel is at (0, 0).
    pub pixel: Vector2<f64>,
}

/// A point with its colour.
#[derive(Debug, Clone, PartialEq)]
pub struct SparsePoint {
    /// Position in metres.
    pub point_in_world: Point3<f64>,
    /// Red, green and blue.
    pub color: [u8; 3],
    /// Where it is seen.
    pub observations: Vec<Observation>,
}

/// Views and points of one world.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SparseModel {
    /// The views.
    pub views: Vec<SparseView>,
    /// The points.
    pub points: Vec<SparsePoint>,
}

/// What one image file shows: a place and the number of the point there.
pub(super) type Keypoints = Vec<(Vector2<f64>, usize)>;

impl SparseModel {
    /// Returns the mean distance in pixels between where a point is seen and where the cameras put
    /// it; 0 without observations.
    pub fn reprojection_error_px(&self, point: &SparsePoint) -> f64 {
        let distance = |seen: &Observation| {
            let (view, point) = (&self.views[seen.view], point.point_in_world);
            let at = view.world_from_camera.inverse() * point;
            let k = &view.intrinsics;
            let bent = view.distortion.distort(&Vector2::new(at.x / at.z, at.y / at.z));
            let pixel = Vector2::new(k.fx * bent.x + k.cx, k.fy * bent.y + k.cy);
            (pixel - seen.pixel).norm()
        };
        let sum: f64 = point.observations.iter().map(distance).sum();
        sum / point.observations.len().max(1) as f64
    }

    /// Returns what each view shows, and for each observation of each point its index there.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for an observation in a view that there is not.
    pub(super) fn keypoints(&self) -> Result<(Vec<Keypoints>, Vec<Vec<usize>>)> {
        let mut by_view = vec![Keypoints::new(); self.views.len()];
        let mut place = |seen: &Observation, point: usize| {
            let keypoints = by_view.get_mut(seen.view).ok_or_else(|| Error::ShapeMismatch {
                what: "view of an observation",
                expected: format!("below {}", self.views.len()),
                found: seen.view.to_string(),
            })?;
            keypoints.push((seen.pixel, point));
            Ok(keypoints.len() - 1)
        };
        let places = self.points.iter().enumerate().map(|(index, point)| {
            point.observations.iter().map(|seen| place(seen, index)).collect::<Result<Vec<_>>>()
        });
        let places = places.collect::<Result<Vec<_>>>()?;
        Ok((by_view, places))
    }
}
