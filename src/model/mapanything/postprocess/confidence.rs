//! Confidence by agreement between views, and its percentiles.

use nalgebra::Point3;
use rayon::prelude::*;

use super::Frustum;
use crate::error::{Error, Result};
use crate::geometry::{Intrinsics, Se3};
use crate::raster::Raster;

/// Points nearer to a camera are not compared, in metres.
const MIN_DEPTH_M: f64 = 0.04;

/// Returns the `fraction` quantile (0 to 1) with linear interpolation.
///
/// # Errors
/// [`Error::Usage`] for a fraction outside 0 to 1 or no values.
pub fn quantile(values: &[f32], fraction: f32) -> Result<f32> {
    if values.is_empty() || !(0.0..=1.0).contains(&fraction) {
        let reason = format!("a percentile of {} is not between 0 and 100", fraction * 100.0);
        let empty = "there is no value to take a percentile of".to_owned();
        return Err(Error::Usage(if values.is_empty() { empty } else { reason }));
    }
    let mut values = values.to_vec();
    let rank = f64::from(fraction) * (values.len() - 1) as f64;
    let below = rank as usize;
    let (_, &mut low, above) = values.select_nth_unstable_by(below, f32::total_cmp);
    let high = above.iter().copied().min_by(f32::total_cmp).unwrap_or(low);
    let weight = (rank - below as f64) as f32;
    Ok(match weight < 0.5 {
        true => low + weight * (high - low),
        false => high - (high - low) * (1.0 - weight),
    })
}

/// How near two depths of one point must be to agree: `absolute_m + relative * depth`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AgreementThresholds {
    /// In metres.
    pub absolute_m: f64,
    /// Relative to the depth.
    pub relative: f64,
}

impl Default for AgreementThresholds {
    fn default() -> Self {
        Self { absolute_m: 0.02, relative: 0.02 }
    }
}

/// The predicted depth of one view with its predicted camera.
#[derive(Debug, Clone, Copy)]
pub struct PlacedDepth<'a> {
    /// Depth along the optical axis in metres.
    pub depth_z_m: &'a Raster<f32>,
    /// Where the network says that the scene is not ambiguous, of the same size.
    pub unambiguous: &'a Raster<bool>,
    /// The camera.
    pub intrinsics: Intrinsics,
    /// Where it is.
    pub world_from_camera: Se3,
}

/// Returns for each view and pixel the share of those other views in which the point is in sight
/// that see it at the same depth; zero where it is in no sight, and one everywhere for a view whose
/// frustum meets no other.
pub fn multi_view_confidence(
    views: &[PlacedDepth<'_>],
    thresholds: &AgreementThresholds,
) -> Vec<Raster<f32>> {
    let frusta: Vec<_> = views.iter().map(PlacedDepth::frustum).collect();
    let meets = |a: usize, b: usize| match (&frusta[a], &frusta[b]) {
        (Some(first), Some(second)) => first.meets(second),
        _ => false,
    };
    let confidence = |source: usize| {
        let others = (0..views.len()).filter(|&other| other != source && meets(source, other));
        let targets: Vec<_> = others.map(|other| &views[other]).collect();
        agreement(&views[source], &targets, thresholds)
    };
    (0..views.len()).map(confidence).collect()
}

fn agreement(
    source: &PlacedDepth<'_>,
    targets: &[&PlacedDepth<'_>],
    thresholds: &AgreementThresholds,
) -> Raster<f32> {
    let (width, height) = (source.depth_z_m.width(), source.depth_z_m.height());
    if targets.is_empty() {
        return Raster::filled(width, height, 1.0);
    }
    let transforms: Vec<Se3> = targets
        .iter()
        .map(|target| target.world_from_camera.inverse() * source.world_from_camera)
        .collect();
    let share = |i: usize| {
        let Some(point) = source.point(i % width, i / width) else { return 0.0 };
        let (mut agreeing, mut seen) = (0.0_f32, 0.0_f32);
        for (target, target_from_source) in targets.iter().zip(&transforms) {
            let agrees = target.agrees(&(target_from_source * point), thresholds);
            seen += f32::from(u8::from(agrees.is_some()));
            agreeing += f32::from(u8::from(agrees == Some(true)));
        }
        agreeing / (seen + 1e-10)
    };
    Raster::from_values(width, height, (0..width * height).into_par_iter().map(share).collect())
}

impl PlacedDepth<'_> {
    /// The space that the view looks at, or `None` where it has no depth.
    fn frustum(&self) -> Option<Frustum> {
        let depths = self.depth_z_m.values().iter().filter(|&&depth| depth > 0.0);
        let span = depths.fold(None, |span: Option<(f32, f32)>, &d| {
            Some(span.map_or((d, d), |(near, far)| (near.min(d), far.max(d))))
        });
        let (near, far) = span?;
        let range = (f64::from(near), f64::from(far));
        Some(Frustum::new(&self.intrinsics, &self.world_from_camera, range))
    }

    /// The point of a pixel in the camera, where it has one that counts.
    fn point(&self, x: usize, y: usize) -> Option<Point3<f64>> {
        let (z, k) = (f64::from(self.depth_z_m.at(x, y)), &self.intrinsics);
        let point = Point3::new((x as f64 - k.cx) / k.fx * z, (y as f64 - k.cy) / k.fy * z, z);
        (z > 0.0 && self.unambiguous.at(x, y)).then_some(point)
    }

    /// Whether this view has the point at the same depth, or `None` where it is out of sight.
    fn agrees(&self, point: &Point3<f64>, thresholds: &AgreementThresholds) -> Option<bool> {
        let k = &self.intrinsics;
        let (x, y) = (k.fx * point.x / point.z + k.cx, k.fy * point.y / point.z + k.cy);
        let (width, height) = (self.depth_z_m.width() as f64, self.depth_z_m.height() as f64);
        let inside = (0.0..width).contains(&x) && (0.0..height).contains(&y);
        if !inside || point.z <= MIN_DEPTH_M {
            return None;
        }
        let pixel = |at: f64, side: f64| at.min(side - 1.0).round_ties_even() as usize;
        let depth = f64::from(self.depth_z_m.at(pixel(x, width), pixel(y, height)));
        let tolerance = thresholds.absolute_m + thresholds.relative * point.z;
        Some((point.z - depth).abs() < tolerance)
    }
}
