//! One point per cube of space, so that dense parts of a map do not count more than thin ones.

use nalgebra::Point3;
use rayon::prelude::*;

/// Returns the mean of the points in each cube of side `voxel_m`, ordered by cube; the grid starts
/// half a cube below the smallest coordinates. Points that are not finite are left out.
pub(super) fn voxel_means(points: &[Point3<f64>], voxel_m: f64) -> Vec<Point3<f64>> {
    let finite: Vec<Point3<f64>> =
        points.iter().filter(|p| p.iter().all(|c| c.is_finite())).copied().collect();
    let Some((low, _)) = bounds(&finite) else { return Vec::new() };
    let origin = low - nalgebra::Vector3::repeat(0.5 * voxel_m);
    let cube = |p: &Point3<f64>| -> [i64; 3] {
        std::array::from_fn(|axis| ((p[axis] - origin[axis]) / voxel_m).floor() as i64)
    };
    let mut cubes: Vec<([i64; 3], usize)> =
        finite.par_iter().enumerate().map(|(i, p)| (cube(p), i)).collect();
    cubes.par_sort_unstable();
    cubes.chunk_by(|a, b| a.0 == b.0).map(|members| mean(&finite, members)).collect()
}

/// Returns the smallest and largest coordinates, or `None` without points.
pub(super) fn bounds(points: &[Point3<f64>]) -> Option<(Point3<f64>, Point3<f64>)> {
    let first = *points.first()?;
    Some(points.iter().fold((first, first), |(low, high), p| (low.inf(p), high.sup(p))))
}

fn mean(points: &[Point3<f64>], members: &[([i64; 3], usize)]) -> Point3<f64> {
    let sum: nalgebra::Vector3<f64> = members.iter().map(|&(_, i)| points[i].coords).sum();
    Point3::from(sum / members.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cube_gives_the_mean_of_its_points() {
        let point = |x: f64| Point3::new(x, 1.0, -2.0);
        // The grid starts at -0.5: cubes [-0.5, 0.5), [0.5, 1.5), [1.5, 2.5).
        let points = [point(0.0), point(0.4), point(0.6), point(1.6), point(f64::NAN)];
        let means = voxel_means(&points, 1.0);
        let expected: Vec<_> = [0.2, 0.6, 1.6].map(point).to_vec();
        assert_eq!(means, expected);
        assert!(voxel_means(&[], 1.0).is_empty());
        assert!(voxel_means(&[point(f64::INFINITY)], 1.0).is_empty());
    }

    #[test]
    fn coordinates_beyond_any_grid_neither_panic_nor_vanish() {
        let points = [Point3::new(-1e300, 0.0, 0.0), Point3::new(1e300, 0.0, 0.0)];
        assert_eq!(voxel_means(&points, 0.01).len(), 2);
    }
}
