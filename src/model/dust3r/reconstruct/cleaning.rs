//! Points that cannot be, since another view sees past them.

use nalgebra::Point3;

use super::ReconstructedView;

/// A point is in front of a surface if it is nearer by more than this share.
const TOLERANCE_FRAC: f64 = 1e-3;

/// Takes the confidence of points that are in front of what a more confident view sees there. Views
/// are gone through in order, and what has lost its confidence hides nothing more.
pub fn hide_behind(views: &mut [ReconstructedView]) {
    let count = views.len();
    let orders = (0..count).flat_map(|i| (0..count).map(move |j| (i, j)));
    for (i, j) in orders.filter(|(i, j)| i != j) {
        let hidden = hidden(&views[i], &views[j]);
        let confidences = views[i].confidence.values_mut().iter_mut().zip(hidden);
        confidences.filter(|(_, hidden)| *hidden).for_each(|(confidence, _)| *confidence = 0.0);
    }
}

fn hidden(view: &ReconstructedView, other: &ReconstructedView) -> Vec<bool> {
    let other_from_view = other.world_from_camera.inverse() * view.world_from_camera;
    let (k, l) = (&view.intrinsics, &other.intrinsics);
    let width = view.depth.width();
    let is_hidden = |(i, &depth): (usize, &f32)| {
        let (x, y, z) = ((i % width) as f64, (i / width) as f64, f64::from(depth));
        let p = Point3::new((x - k.cx) / k.fx * z, (y - k.cy) / k.fy * z, z);
        let p = other_from_view * p;
        if p.z <= 0.0 {
            return false;
        }
        let at = (l.fx * p.x / p.z + l.cx, l.fy * p.y / p.z + l.cy);
        let (column, row) = (at.0.round_ties_even() as i64, at.1.round_ties_even() as i64);
        let Some(seen) = other.depth.get(column, row) else { return false };
        let Some(surer) = other.confidence.get(column, row) else { return false };
        p.z < (1.0 - TOLERANCE_FRAC) * f64::from(seen) && view.confidence.values()[i] < surer
    };
    view.depth.values().iter().enumerate().map(is_hidden).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Intrinsics, Se3};
    use crate::raster::Raster;

    fn view(depth: f32, confidence: f32) -> ReconstructedView {
        ReconstructedView {
            depth: Raster::filled(8, 6, depth),
            confidence: Raster::filled(8, 6, confidence),
            intrinsics: Intrinsics { fx: 8.0, fy: 8.0, cx: 4.0, cy: 3.0 },
            world_from_camera: Se3::identity(),
        }
    }

    #[test]
    fn a_surer_view_that_sees_further_wins() {
        let mut views = [view(1.0, 2.0), view(2.0, 3.0)];
        hide_behind(&mut views);
        assert!(views[0].confidence.values().iter().all(|c| *c <= 0.0));
        assert!(views[1].confidence.values().iter().all(|c| *c > 2.0));
    }

    #[test]
    fn agreement_and_surer_points_stay() {
        for (first, second) in [(view(2.0, 2.0), view(2.0, 3.0)), (view(1.0, 4.0), view(2.0, 3.0))]
        {
            let mut views = [first.clone(), second.clone()];
            hide_behind(&mut views);
            assert_eq!(views, [first, second]);
        }
    }
}
