//! Which pixels of a prediction are kept.

use nalgebra::Point3;

use super::{depth_edge, normal_edge, normals, quantile};
use crate::error::{Error, Result};
use crate::raster::Raster;

/// When a pixel is taken for one that hangs between a near and a far surface: both limits must be
/// passed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EdgeThresholds {
    /// Angle between normals, in degrees.
    pub normal_deg: f64,
    /// Span of depth within a window, relative to the depth.
    pub depth_frac: f32,
}

impl Default for EdgeThresholds {
    fn default() -> Self {
        Self { normal_deg: 5.0, depth_frac: 0.03 }
    }
}

/// Which pixels are masked out beside the ambiguous ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaskOptions {
    /// Pixels between surfaces, by these limits.
    pub edges: Option<EdgeThresholds>,
    /// Pixels whose confidence is not above this percentile of their view.
    pub confidence_percentile: Option<f32>,
}

impl Default for MaskOptions {
    fn default() -> Self {
        Self { edges: Some(EdgeThresholds::default()), confidence_percentile: None }
    }
}

/// The unmasked prediction of one view; all grids have the same size.
#[derive(Debug, Clone, Copy)]
pub struct MaskInput<'a> {
    /// Where the network says that the scene is not ambiguous.
    pub unambiguous: &'a Raster<bool>,
    /// Confidence of each pixel.
    pub confidence: &'a Raster<f32>,
    /// Metric points in the world.
    pub points_in_world: &'a Raster<Point3<f32>>,
    /// Metric depth along the optical axis.
    pub depth_z_m: &'a Raster<f32>,
}

/// Returns which pixels are kept. Edges are found among the pixels that the other masks leave, so
/// that a stricter confidence can also bring pixels back.
///
/// # Errors
/// [`Error::ShapeMismatch`] for grids of different sizes, [`Error::Usage`] for a percentile outside
/// 0 to 100.
pub fn final_mask(view: &MaskInput<'_>, options: &MaskOptions) -> Result<Raster<bool>> {
    view.check()?;
    let mut mask = view.unambiguous.clone();
    if let Some(percentile) = options.confidence_percentile {
        let least = quantile(view.confidence.values(), percentile / 100.0)?;
        let confident = view.confidence.values().iter().map(|&value| value > least);
        mask.values_mut().iter_mut().zip(confident).for_each(|(kept, good)| *kept &= good);
    }
    if let Some(thresholds) = &options.edges {
        let edges = edge_mask(view.points_in_world, view.depth_z_m, &mask, thresholds);
        mask.values_mut().iter_mut().zip(edges.values()).for_each(|(kept, edge)| *kept &= !edge);
    }
    Ok(mask)
}

/// Returns where pixels of `mask` hang between surfaces: at an edge of depth and of normals. All
/// grids have the same size.
pub fn edge_mask(
    points: &Raster<Point3<f32>>,
    depth_z: &Raster<f32>,
    mask: &Raster<bool>,
    thresholds: &EdgeThresholds,
) -> Raster<bool> {
    let mut edges = depth_edge(depth_z, mask, thresholds.depth_frac);
    let bends = normal_edge(&normals(points, mask), thresholds.normal_deg);
    edges.values_mut().iter_mut().zip(bends.values()).for_each(|(edge, bend)| *edge &= bend);
    edges
}

/// Sets to zero what is outside the mask, a grid of the same size.
pub fn apply_mask<T: Copy + Default>(values: &mut Raster<T>, mask: &Raster<bool>) {
    let outside = values.values_mut().iter_mut().zip(mask.values()).filter(|(_, kept)| !**kept);
    outside.for_each(|(value, _)| *value = T::default());
}

impl MaskInput<'_> {
    fn check(&self) -> Result<()> {
        let size = (self.unambiguous.width(), self.unambiguous.height());
        let others = [
            (self.confidence.width(), self.confidence.height()),
            (self.points_in_world.width(), self.points_in_world.height()),
            (self.depth_z_m.width(), self.depth_z_m.height()),
        ];
        match others.iter().find(|other| **other != size) {
            None => Ok(()),
            Some((width, height)) => Err(Error::ShapeMismatch {
                what: "grids of one prediction",
                expected: format!("{}x{}", size.0, size.1),
                found: format!("{width}x{height}"),
            }),
        }
    }
}
