//! Points of dense depths, each with where it is seen.

use nalgebra::Point3;

use super::{ReconstructedView, Track};

/// How far the depth of another view may be from a point's, relative to it, to be the same surface.
const MAX_DIFFERENCE_FRAC: f64 = 0.02;

/// Returns about `count` points of the views' depths of at least this confidence, evenly chosen:
/// each with its own pixel, and with the places in other views that are as deep there.
pub fn dense_tracks(views: &[ReconstructedView], count: usize, min_confidence: f32) -> Vec<Track> {
    let total: usize = views.iter().map(|view| view.depth.values().len()).sum();
    if count == 0 {
        return Vec::new();
    }
    let step = total.div_ceil(count).max(1);
    let all = views.iter().enumerate();
    let all = all.flat_map(|(i, view)| (0..view.depth.values().len()).map(move |p| (i, p)));
    let track = |(own, pixel): (usize, usize)| {
        let view = &views[own];
        let at = [pixel % view.depth.width(), pixel / view.depth.width()];
        let point_in_world = view.point(at[0], at[1], min_confidence)?;
        let mut observations = vec![(own, at.map(|v| v as f64))];
        let others = views.iter().enumerate().filter(|(i, _)| *i != own);
        observations
            .extend(others.filter_map(|(i, other)| Some((i, place_in(other, &point_in_world)?))));
        Some(Track { point_in_world, observations })
    };
    all.step_by(step).filter_map(track).collect()
}

/// Where a view has the point, if it is as deep there.
fn place_in(view: &ReconstructedView, point_in_world: &Point3<f64>) -> Option<[f64; 2]> {
    let point = view.world_from_camera.inverse() * point_in_world;
    let k = &view.intrinsics;
    let at = [k.fx * point.x / point.z + k.cx, k.fy * point.y / point.z + k.cy];
    let depth = view.depth.get(at[0].round() as i64, at[1].round() as i64)?;
    let difference = (f64::from(depth) - point.z).abs();
    (depth > 0.0 && point.z > 0.0 && difference <= MAX_DIFFERENCE_FRAC * point.z).then_some(at)
}

impl ReconstructedView {
    /// Returns the point of a pixel in the world, if its confidence is at least this and it is in
    /// front of the camera.
    pub fn point(&self, x: usize, y: usize, min_confidence: f32) -> Option<Point3<f64>> {
        let depth = self.depth.at(x, y);
        if !(depth > 0.0 && depth.is_finite() && self.confidence.at(x, y) >= min_confidence) {
            return None;
        }
        let (k, z) = (&self.intrinsics, f64::from(depth));
        let point = Point3::new((x as f64 - k.cx) / k.fx * z, (y as f64 - k.cy) / k.fy * z, z);
        Some(self.world_from_camera * point)
    }
}
