//! How much two views have in common.

use crate::geometry::Se3;
use crate::pyramid::{Level, Pyramid};
use nalgebra::{Point3, Vector2};

/// About how many points of a view are looked up in the other.
const SAMPLES: usize = 300;
/// Depths that differ by less than this share, or by [`AGREEMENT_M`], are of one surface.
const AGREEMENT_FRAC: f64 = 0.05;
/// See [`AGREEMENT_FRAC`].
const AGREEMENT_M: f64 = 0.05;

/// Returns which share of what `source` sees is seen by `target` as well: points inside its image
/// times those whose depth agrees among those whose depth is known. Zero where `source` sees
/// nothing.
pub fn overlap_frac(source: &Pyramid, target: &Pyramid, target_from_source: &Se3) -> f64 {
    let index = source.levels().len().min(target.levels().len()).saturating_sub(1).min(2);
    let (source, target) = (&source.levels()[index], &target.levels()[index]);
    let stride = ((source.width() * source.height()) as f64 / SAMPLES as f64).sqrt().max(1.0);
    let (mut points, mut inside, mut agreeing, mut compared) = (0, 0, 0, 0);
    for point_in_source in sampled_points(source, stride as usize) {
        points += 1;
        let point = target_from_source * point_in_source;
        let Some(depth_m) = seen_depth_m(target, &point) else { continue };
        inside += 1;
        if depth_m > 0.0 {
            compared += 1;
            agreeing += usize::from((depth_m - point.z).abs() <= agreement_m(point.z));
        }
    }
    let share = |part: usize, of: usize| part as f64 / of.max(1) as f64;
    share(inside, points) * share(agreeing, compared)
}

/// Returns which share of what `source` sees lies inside the image of `target`, whatever may stand
/// between: for targets without depth. Zero where `source` sees nothing.
pub fn seen_frac(source: &Pyramid, target: &Pyramid, target_from_source: &Se3) -> f64 {
    let index = source.levels().len().min(target.levels().len()).saturating_sub(1).min(2);
    let (source, target) = (&source.levels()[index], &target.levels()[index]);
    let stride = ((source.width() * source.height()) as f64 / SAMPLES as f64).sqrt().max(1.0);
    let points: Vec<Point3<f64>> = sampled_points(source, stride as usize).collect();
    let is_seen = |p: &&Point3<f64>| seen_depth_m(target, &(target_from_source * **p)).is_some();
    points.iter().filter(is_seen).count() as f64 / points.len().max(1) as f64
}

fn agreement_m(depth_m: f64) -> f64 {
    AGREEMENT_FRAC.mul_add(depth_m, AGREEMENT_M)
}

fn sampled_points(level: &Level, stride: usize) -> impl Iterator<Item = Point3<f64>> {
    let rows = (stride / 2..level.height()).step_by(stride);
    rows.flat_map(move |y| (stride / 2..level.width()).step_by(stride).map(move |x| (x, y)))
        .filter(|&(x, y)| level.depth_m(x, y) > 0.0)
        .filter_map(|(x, y)| {
            let ray = level.camera.ray(&Vector2::new(x as f64, y as f64))?;
            Some(Point3::from(ray * f64::from(level.depth_m(x, y))))
        })
}

/// The target's depth at the pixel of a point (0 where it has none), or `None` outside its image.
fn seen_depth_m(target: &Level, point: &Point3<f64>) -> Option<f64> {
    let pixel = target.camera.project(point)?;
    let (x, y) = (pixel.x.round(), pixel.y.round());
    let inside = x >= 0.0 && y >= 0.0 && x < target.width() as f64 && y < target.height() as f64;
    inside.then(|| f64::from(target.depth_m(x as usize, y as usize)))
}
