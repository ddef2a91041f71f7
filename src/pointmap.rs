//! Pointmaps: what a model says about the geometry of one view, pixel by pixel.

use std::sync::Arc;

use nalgebra::Vector3;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::raster::Raster;

/// A point and a confidence for each pixel of a view. Clones share their memory until one of them
/// is changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Pointmap {
    points_in_camera: Arc<Raster<Vector3<f32>>>,
    confidence: Arc<Raster<f32>>,
}

impl Pointmap {
    /// Returns the pointmap of `points_in_camera` (metres, optical frame) where `confidence` is
    /// positive; a point that is not finite, or not in front of the camera, has confidence 0.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where the two differ in size.
    pub fn new(
        points_in_camera: Raster<Vector3<f32>>,
        mut confidence: Raster<f32>,
    ) -> Result<Self> {
        let size = |w: usize, h: usize| format!("{w}x{h}");
        if (points_in_camera.width(), points_in_camera.height())
            != (confidence.width(), confidence.height())
        {
            return Err(Error::ShapeMismatch {
                what: "confidence of a pointmap",
                expected: size(points_in_camera.width(), points_in_camera.height()),
                found: size(confidence.width(), confidence.height()),
            });
        }
        for (c, p) in confidence.values_mut().iter_mut().zip(points_in_camera.values()) {
            let usable = p.iter().all(|v| v.is_finite()) && p.z > 0.0 && c.is_finite() && *c > 0.0;
            if !usable {
                *c = 0.0;
            }
        }
        Ok(Self::of(points_in_camera, confidence))
    }

    fn of(points_in_camera: Raster<Vector3<f32>>, confidence: Raster<f32>) -> Self {
        Self { points_in_camera: Arc::new(points_in_camera), confidence: Arc::new(confidence) }
    }

    /// Returns the number of columns.
    pub fn width(&self) -> usize {
        self.confidence.width()
    }

    /// Returns the number of rows.
    pub fn height(&self) -> usize {
        self.confidence.height()
    }

    /// Returns the point of a pixel in the optical frame (metres), where there is one.
    #[inline]
    pub fn point(&self, x: usize, y: usize) -> Option<Vector3<f32>> {
        (self.confidence.at(x, y) > 0.0).then(|| self.points_in_camera.at(x, y))
    }

    /// Returns the confidence of a pixel: inverse variance of its depth (1/m²), 0 for no point.
    #[inline]
    pub fn confidence(&self, x: usize, y: usize) -> f32 {
        self.confidence.at(x, y)
    }

    /// Returns the pointmap with `offset_m` added to each depth, along the pixels' rays.
    pub fn with_depth_offset(&self, offset_m: f64) -> Self {
        let offset_m = offset_m as f32;
        let shift = |p: Vector3<f32>| if p.z > 0.0 { p * ((p.z + offset_m) / p.z) } else { p };
        let in_front = |p: &Vector3<f32>| p.z + offset_m > 0.0;
        let mut confidence = Raster::clone(&self.confidence);
        for (c, p) in confidence.values_mut().iter_mut().zip(self.points_in_camera.values()) {
            *c = if in_front(p) { *c } else { 0.0 };
        }
        Self::of(self.points_in_camera.map(shift), confidence)
    }

    /// Returns the depths along the optical axis, 0 where there is no point.
    pub fn depths(&self) -> Raster<f32> {
        Raster::from_fn(self.width(), self.height(), |x, y| self.point(x, y).map_or(0.0, |p| p.z))
    }

    /// Returns the mean depth of all points, or `None` without one.
    pub fn mean_depth_m(&self) -> Option<f64> {
        let depths = self.depths();
        let known = depths.values().iter().filter(|&&z| z > 0.0);
        let (count, sum) = known.fold((0_usize, 0.0), |(n, s), &z| (n + 1, s + f64::from(z)));
        (count > 0).then(|| sum / count as f64)
    }

    /// Returns the pointmap with all lengths multiplied by `factor`; confidence is the inverse
    /// variance of the new depths.
    pub fn scaled(&self, factor: f64) -> Self {
        let factor = factor as f32;
        let confidence = self.confidence.map(|c| c / (factor * factor));
        Self::of(self.points_in_camera.map(|p| p * factor), confidence)
    }

    /// Returns the same depths on other rays (of depth one, one for each pixel in row order).
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for another number of rays.
    pub fn on_rays(&self, rays: &[Vector3<f32>]) -> Result<Self> {
        let rays = Raster::new(self.width(), self.height(), rays.to_vec())?;
        let points = Raster::from_fn(self.width(), self.height(), |x, y| {
            rays.at(x, y) * self.points_in_camera.at(x, y).z
        });
        Self::new(points, Raster::clone(&self.confidence))
    }

    /// Returns the same points with other confidences, or `None` for another number of pixels.
    pub fn with_confidence(&self, confidence: Raster<f32>) -> Option<Self> {
        let is_of_size = (confidence.width(), confidence.height()) == (self.width(), self.height());
        is_of_size.then(|| Self::of(Raster::clone(&self.points_in_camera), confidence))
    }

    /// Returns the pointmap with no confidence above `measurements` times that of another of the
    /// same view.
    pub fn limited(&self, single: &Self, measurements: f32) -> Self {
        let confidence = Raster::from_fn(self.width(), self.height(), |x, y| {
            self.confidence(x, y).min(measurements * single.confidence(x, y))
        });
        Self::of(Raster::clone(&self.points_in_camera), confidence)
    }

    /// Replaces points and confidences of pixels (column, row) that have them.
    pub fn replace<'a>(
        &mut self,
        fused: impl IntoIterator<Item = &'a (usize, usize, Vector3<f32>, f32)>,
    ) {
        let width = self.width();
        let points = Arc::make_mut(&mut self.points_in_camera).values_mut();
        let confidences = Arc::make_mut(&mut self.confidence).values_mut();
        for &(x, y, point_in_camera, confidence) in fused {
            points[y * width + x] = point_in_camera;
            confidences[y * width + x] = confidence;
        }
    }

    /// Returns the pointmap without the points, each given with its confidence, that are not to be
    /// kept.
    pub fn retained(mut self, keep: impl Fn(&Vector3<f32>, f32) -> bool + Sync) -> Self {
        let points = self.points_in_camera.values();
        let confidence = Arc::make_mut(&mut self.confidence);
        confidence.values_mut().par_iter_mut().zip(points).for_each(|(confidence, point)| {
            if *confidence > 0.0 && !keep(point, *confidence) {
                *confidence = 0.0;
            }
        });
        self
    }

    /// Returns the share of pixels that have a point.
    pub fn valid_frac(&self) -> f64 {
        let valid = self.confidence.values().iter().filter(|&&c| c > 0.0).count();
        valid as f64 / self.confidence.values().len().max(1) as f64
    }

    /// Returns the pointmap at half the size; each point is the mean of those of its four pixels
    /// that lie on the nearest surface, so that none floats between two.
    pub fn halved(&self) -> Self {
        let (width, height) = (self.width() / 2, self.height() / 2);
        let merged = Raster::from_fn(width, height, |x, y| self.merged_block(2 * x, 2 * y));
        Self::of(merged.map(|(point, _)| point), merged.map(|(_, confidence)| confidence))
    }

    /// Mean of the points of the 2×2 block at `(x, y)` that lie within 5 % of the nearest.
    fn merged_block(&self, x: usize, y: usize) -> (Vector3<f32>, f32) {
        let block = [(x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1)];
        let points =
            || block.iter().filter_map(|&(x, y)| Some((self.point(x, y)?, self.confidence(x, y))));
        let limit = 1.05 * points().map(|(p, _)| p.z).fold(f32::INFINITY, f32::min);
        let (mut sum, mut confidence, mut count) = (Vector3::zeros(), 0.0f32, 0.0f32);
        for (point, c) in points().filter(|(p, _)| p.z <= limit) {
            sum += point;
            confidence += c;
            count += 1.0;
        }
        if count == 0.0 { (sum, 0.0) } else { (sum / count, confidence / count) }
    }

    /// Returns the unit normal of the surface at a pixel, facing the camera, from neighbours
    /// `reach` pixels away; `None` at the border, at holes and across edges.
    pub fn normal(&self, x: usize, y: usize, reach: usize) -> Option<Vector3<f32>> {
        let inside =
            x >= reach && y >= reach && x + reach < self.width() && y + reach < self.height();
        if !inside {
            return None;
        }
        let centre = self.point(x, y)?;
        let horizontal = self.point(x + reach, y)? - self.point(x - reach, y)?;
        let vertical = self.point(x, y + reach)? - self.point(x, y - reach)?;
        // A surface seen at 80 degrees recedes along the ray by some 6 times its width across it;
        // beyond that it is an edge.
        let ray = centre.try_normalize(1e-12)?;
        let along = [horizontal.dot(&ray), vertical.dot(&ray)];
        let across = (horizontal - ray * along[0]).norm() + (vertical - ray * along[1]).norm();
        if along[0].abs() + along[1].abs() > 6.0 * across.max(1e-6) {
            return None;
        }
        let normal = vertical.cross(&horizontal).try_normalize(1e-12)?;
        Some(if normal.dot(&centre) > 0.0 { -normal } else { normal })
    }
}
