//! Normals of a pointmap.

use nalgebra::{Point3, Vector3};
use rayon::prelude::*;

use crate::raster::Raster;

/// Keeps the division by a length finite.
const EPSILON: f32 = 1e-12;

/// A unit vector for each pixel; zero where `valid` is false.
#[derive(Debug, Clone, PartialEq)]
pub struct Normals {
    /// The normals.
    pub vectors: Raster<Vector3<f32>>,
    /// Where there is one: the pixel and two neighbours side by side are in the mask.
    pub valid: Raster<bool>,
}

/// Returns the normal of each pixel in `mask`: the mean of the up to four that it has with
/// neighbours next to one another. Both grids have the same size.
pub fn normals(points: &Raster<Point3<f32>>, mask: &Raster<bool>) -> Normals {
    let (width, height) = (points.width(), points.height());
    let pixels: Vec<Option<Vector3<f32>>> = (0..width * height)
        .into_par_iter()
        .map(|i| normal_at(points, mask, (i % width, i / width)))
        .collect();
    let vectors = pixels.iter().map(|normal| normal.unwrap_or_default()).collect();
    let valid = pixels.iter().map(Option::is_some).collect();
    Normals {
        vectors: Raster::from_values(width, height, vectors),
        valid: Raster::from_values(width, height, valid),
    }
}

fn normal_at(
    points: &Raster<Point3<f32>>,
    mask: &Raster<bool>,
    (x, y): (usize, usize),
) -> Option<Vector3<f32>> {
    if !mask.at(x, y) {
        return None;
    }
    let center = points.at(x, y);
    let arm = |dx: i64, dy: i64| {
        let (x, y) = (x as i64 + dx, y as i64 + dy);
        mask.get(x, y)?.then(|| points.at(x as usize, y as usize) - center)
    };
    let (up, left, down, right) = (arm(0, -1), arm(-1, 0), arm(0, 1), arm(1, 0));
    let mut sum = None;
    for (a, b) in [(up, left), (left, down), (down, right), (right, up)] {
        if let (Some(a), Some(b)) = (a, b) {
            *sum.get_or_insert_with(Vector3::zeros) += unit(a.cross(&b));
        }
    }
    sum.map(unit)
}

/// The vector with length one, or with nearly zero if it is that short.
pub(super) fn unit(vector: Vector3<f32>) -> Vector3<f32> {
    vector / (vector.norm() + EPSILON)
}
