//! Nearest neighbours of many points at once, in the order of the points.

use kiddo::{ImmutableKdTree, SquaredEuclidean};
use nalgebra::Point3;
use rayon::prelude::*;

use crate::error::{Error, Result};

/// A set of points that finds its nearest member.
pub(super) struct Neighbors<'a> {
    points: &'a [Point3<f64>],
    tree: ImmutableKdTree<f64, 3>,
}

/// The nearest member of a set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Neighbor {
    /// The member.
    pub(super) point: Point3<f64>,
    /// Its distance in metres.
    pub(super) distance_m: f64,
}

impl<'a> Neighbors<'a> {
    /// Returns the search structure over `points`, which must be finite.
    ///
    /// # Errors
    /// [`Error::TooFewCorrespondences`] without any point, and [`Error::ShapeMismatch`] for more
    /// points than can be numbered.
    pub(super) fn of(points: &'a [Point3<f64>]) -> Result<Self> {
        if points.is_empty() {
            return Err(Error::TooFewCorrespondences {
                what: "points of a cloud",
                got: 0,
                need: 1,
            });
        }
        let coordinates: Vec<[f64; 3]> = points.iter().map(|p| [p.x, p.y, p.z]).collect();
        let tree =
            ImmutableKdTree::new_from_slice(&coordinates).map_err(|e| too_many(points, &e))?;
        Ok(Self { points, tree })
    }

    /// Returns the nearest member for each of `queries`, in their order.
    pub(super) fn nearest(&self, queries: &[Point3<f64>]) -> Vec<Neighbor> {
        queries.par_iter().map(|query| self.nearest_one(query)).collect()
    }

    fn nearest_one(&self, query: &Point3<f64>) -> Neighbor {
        let query = [query.x, query.y, query.z];
        let found = self.tree.query(&query).nearest_one::<SquaredEuclidean<f64>>().execute();
        Neighbor { point: self.points[found.item as usize], distance_m: found.distance.sqrt() }
    }
}

fn too_many(points: &[Point3<f64>], reason: &dyn std::fmt::Display) -> Error {
    Error::ShapeMismatch {
        what: "points of a cloud",
        expected: format!("a set that can be indexed ({reason})"),
        found: format!("{} points", points.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::SmallRng};

    fn assert_as_brute_force(points: &[Point3<f64>], queries: &[Point3<f64>]) {
        let neighbors = Neighbors::of(points).unwrap();
        for (query, found) in queries.iter().zip(neighbors.nearest(queries)) {
            let distance = |p: &Point3<f64>| (p - query).norm();
            let least = points.iter().map(distance).fold(f64::INFINITY, f64::min);
            assert!((found.distance_m - least).abs() < 1e-12, "{query} {found:?} {least}");
            assert!((distance(&found.point) - least).abs() < 1e-12);
        }
    }

    #[test]
    fn it_finds_what_brute_force_finds_in_random_and_in_regular_sets() {
        let mut random = SmallRng::seed_from_u64(1);
        let mut scattered = |n: usize| -> Vec<Point3<f64>> {
            (0..n).map(|_| Point3::from(random.random::<[f64; 3]>())).collect()
        };
        let plane = (0..900).map(|i| Point3::new(f64::from(i % 30), f64::from(i / 30), 0.5));
        let line = (0..200).map(|i| Point3::new(0.0, f64::from(i), 0.0));
        let sets = [
            scattered(1),
            scattered(500),
            plane.collect(),
            line.collect(),
            vec![Point3::new(1.0, 2.0, 3.0); 100],
        ];
        let queries = scattered(100);
        for set in &sets {
            assert_as_brute_force(set, &queries);
        }
    }

    #[test]
    fn an_empty_set_has_no_neighbours() {
        assert!(matches!(Neighbors::of(&[]), Err(Error::TooFewCorrespondences { got: 0, .. })));
    }
}
