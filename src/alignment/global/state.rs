//! The unknowns, and the loss.

use nalgebra::{Point3, Vector3};
use rayon::prelude::*;

use super::{MEAN_SCALE, PairwiseMaps};
use crate::geometry::{Se3, Sim3};
use crate::raster::Raster;

/// A view's unknowns.
#[derive(Debug, Clone, PartialEq)]
pub struct GlobalView {
    /// Pose of the camera.
    pub world_from_camera: Se3,
    /// Focal length; the principal point is the middle of the image.
    pub focal_px: f64,
    /// Depth of each pixel.
    pub depth: Raster<f64>,
}

impl GlobalView {
    /// The direction of a pixel, one deep.
    pub(super) fn ray(&self, x: usize, y: usize) -> Vector3<f64> {
        let (width, height) = (self.depth.width() as f64, self.depth.height() as f64);
        let at = [x as f64 - width / 2.0, y as f64 - height / 2.0];
        Vector3::new(at[0] / self.focal_px, at[1] / self.focal_px, 1.0)
    }

    /// The point of a pixel.
    pub(super) fn point(&self, x: usize, y: usize) -> Point3<f64> {
        self.world_from_camera * Point3::from(self.ray(x, y) * self.depth.at(x, y))
    }
}

/// All unknowns.
#[derive(Debug, Clone)]
pub(super) struct GlobalState {
    pub(super) views: Vec<GlobalView>,
    pub(super) world_from_pairs: Vec<Sim3>,
}

impl GlobalState {
    /// Scales the world so that the geometric mean of the pairs' scales is what it should be.
    pub(super) fn normalize(&mut self) {
        let logs = self.world_from_pairs.iter().map(|pair| pair.scale.ln());
        let mean = logs.sum::<f64>() / self.world_from_pairs.len().max(1) as f64;
        let factor = MEAN_SCALE / mean.exp();
        for pair in &mut self.world_from_pairs {
            pair.scale *= factor;
            pair.translation *= factor;
        }
        for view in &mut self.views {
            view.world_from_camera.translation.vector *= factor;
            view.depth.values_mut().iter_mut().for_each(|depth| *depth *= factor);
        }
    }
}

/// What a point of a pair weighs.
pub(super) fn weight(confidence: f32) -> f64 {
    f64::from(confidence).ln().max(0.0)
}

/// Returns the loss that the reference minimises: mean distance over all points of all pairs,
/// weighed by the logarithm of their confidence; first and second views have a mean each.
pub fn global_loss(
    views: &[GlobalView],
    pairs: &[PairwiseMaps<'_>],
    world_from_pairs: &[Sim3],
) -> f64 {
    let of_side = |side: usize| {
        let of_pair = |(pair, world_from_pair): (&PairwiseMaps<'_>, &Sim3)| {
            let view = &views[pair.views[side]];
            let (points, confidence) = (pair.points[side], pair.confidence[side]);
            let row = |y: usize| -> f64 {
                let pixel = |x: usize| {
                    let said = Point3::from(points.at(x, y).cast::<f64>());
                    let off = view.point(x, y) - world_from_pair.transform_point(&said);
                    weight(confidence.at(x, y)) * off.norm()
                };
                (0..points.width()).map(pixel).sum()
            };
            (0..points.height()).map(row).sum::<f64>()
        };
        let sums: Vec<f64> =
            pairs.par_iter().zip(world_from_pairs.par_iter()).map(of_pair).collect();
        let pixels: usize = pairs.iter().map(|pair| pair.points[side].values().len()).sum();
        sums.iter().sum::<f64>() / pixels.max(1) as f64
    };
    of_side(0) + of_side(1)
}
