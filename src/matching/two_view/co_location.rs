//! Whether two pointmaps fit together by a pose: what one view measured, the other must see too,
//! unless something stands before it.

use nalgebra::{Point3, Vector2};

use super::VerifiedView;
use crate::geometry::Se3;

/// About how many points of a view are looked up in the other.
const SAMPLES: usize = 2000;
/// Depths agree that differ by this many standard deviations, …
const AGREEMENT_SIGMAS: f64 = 3.0;
/// … or by this share, which is what a pixel's error amounts to on a slanted surface.
const AGREEMENT_FRAC: f64 = 0.03;

/// How much two pointmaps have in common by a relative pose; of both directions the worse.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CoLocation {
    /// Share of one view's points that lie in front of the other camera.
    pub in_front_frac: f64,
    /// Share of one view's points that lie in the other's image.
    pub overlap_frac: f64,
    /// Share of points at the measured depth, among those in the image whose depth is known and
    /// that are not hidden: a point before the surface that was seen there contradicts the pose.
    pub agreeing_frac: f64,
}

/// Returns how two pointmaps fit together by a pose.
pub fn co_location(
    source: &VerifiedView<'_>,
    target: &VerifiedView<'_>,
    target_from_source: &Se3,
) -> CoLocation {
    let forward = one_way(source, target, target_from_source);
    let backward = one_way(target, source, &target_from_source.inverse());
    CoLocation {
        in_front_frac: forward.in_front_frac.min(backward.in_front_frac),
        overlap_frac: forward.overlap_frac.min(backward.overlap_frac),
        agreeing_frac: forward.agreeing_frac.min(backward.agreeing_frac),
    }
}

/// What became of the points of one view in the other.
#[derive(Default)]
struct Tally {
    points: usize,
    in_front: usize,
    in_image: usize,
    agreeing: usize,
    contradicting: usize,
}

fn one_way(from: &VerifiedView<'_>, to: &VerifiedView<'_>, to_from_from: &Se3) -> CoLocation {
    let pixels = from.pointmap.width() * from.pointmap.height();
    let stride = ((pixels as f64 / SAMPLES as f64).sqrt() as usize).max(1);
    let mut tally = Tally::default();
    for y in (stride / 2..from.pointmap.height()).step_by(stride) {
        for x in (stride / 2..from.pointmap.width()).step_by(stride) {
            let Some(point) = from.pointmap.point(x, y) else { continue };
            let variance_m2 = 1.0 / f64::from(from.pointmap.confidence(x, y));
            tally.add(to, &(to_from_from * Point3::from(point.cast())), variance_m2);
        }
    }
    let share = |part: usize, of: usize| part as f64 / of.max(1) as f64;
    CoLocation {
        in_front_frac: share(tally.in_front, tally.points),
        overlap_frac: share(tally.in_image, tally.points),
        agreeing_frac: share(tally.agreeing, tally.agreeing + tally.contradicting),
    }
}

impl Tally {
    fn add(&mut self, view: &VerifiedView<'_>, point_in_camera: &Point3<f64>, variance_m2: f64) {
        self.points += 1;
        self.in_front += usize::from(point_in_camera.z > 0.0);
        let Some((x, y)) = view.camera.project(point_in_camera).and_then(|p| pixel_in(view, &p))
        else {
            return;
        };
        self.in_image += 1;
        let Some(seen) = view.pointmap.point(x, y) else { return };
        let sigma_m = (variance_m2 + 1.0 / f64::from(view.pointmap.confidence(x, y))).sqrt();
        let tolerance_m = (AGREEMENT_SIGMAS * sigma_m).max(AGREEMENT_FRAC * point_in_camera.z);
        let behind_m = point_in_camera.z - f64::from(seen.z);
        self.agreeing += usize::from(behind_m.abs() <= tolerance_m);
        self.contradicting += usize::from(behind_m < -tolerance_m);
    }
}

fn pixel_in(view: &VerifiedView<'_>, pixel: &Vector2<f64>) -> Option<(usize, usize)> {
    let (x, y) = (pixel.x.round(), pixel.y.round());
    let inside = x >= 0.0
        && y >= 0.0
        && x < view.pointmap.width() as f64
        && y < view.pointmap.height() as f64;
    inside.then_some((x as usize, y as usize))
}
