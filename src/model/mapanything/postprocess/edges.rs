//! Where a pointmap bends or jumps, as the reference sees it, with what looks like slips of its
//! own: the masks that users know come from it.

use nalgebra::Vector3;
use rayon::prelude::*;

use super::normals::{Normals, unit};
use crate::raster::Raster;

/// Offsets of a pixel and its eight neighbours.
const WINDOW: [(i64, i64); 9] =
    [(-1, -1), (0, -1), (1, -1), (-1, 0), (0, 0), (1, 0), (-1, 1), (0, 1), (1, 1)];

/// Returns where the depth in a window of 3 × 3 pixels of `mask` spans more than `fraction` of the
/// pixel's own depth.
pub fn depth_edge(depth: &Raster<f32>, mask: &Raster<bool>, fraction: f32) -> Raster<bool> {
    by_pixel(depth.width(), depth.height(), |x, y| {
        let around = WINDOW.iter().map(|(dx, dy)| (x as i64 + dx, y as i64 + dy));
        let known = around.filter(|&(x, y)| mask.get(x, y) == Some(true));
        let mut span = (f32::INFINITY, f32::NEG_INFINITY);
        for (x, y) in known {
            let depth = depth.at(x as usize, y as usize);
            span = (span.0.min(depth), span.1.max(depth));
        }
        (span.1 - span.0) / depth.at(x, y) > fraction
    })
}

/// Returns where the normals turn by more than `degrees` within two pixels.
///
/// Three traits of the reference are kept. The window of what is valid is transposed. A pixel with
/// a valid neighbour, or itself, whose product with its normal rounds to above one counts as flat,
/// because the angle is not a number. A pixel without a normal is an edge beside one that has it.
pub fn normal_edge(normals: &Normals, degrees: f64) -> Raster<bool> {
    let vectors = normals.vectors.map(unit);
    let least_cosine = degrees.to_radians().cos();
    let (width, height) = (vectors.width(), vectors.height());
    let bent =
        by_pixel(width, height, |x, y| bends(&vectors, &normals.valid, (x, y), least_cosine));
    by_pixel(width, height, |x, y| {
        WINDOW.iter().any(|(dx, dy)| bent.get(x as i64 + dx, y as i64 + dy) == Some(true))
    })
}

/// Whether a pixel's normal is further from that of a neighbour than the angle of this cosine.
fn bends(
    vectors: &Raster<Vector3<f32>>,
    valid: &Raster<bool>,
    (x, y): (usize, usize),
    least_cosine: f64,
) -> bool {
    let clamped = |at: usize, step: i64, end: usize| (at as i64 + step).clamp(0, end as i64 - 1);
    let (width, height) = (vectors.width(), vectors.height());
    let center = vectors.at(x, y);
    let mut smallest = 1.0_f32;
    for (dx, dy) in WINDOW {
        // The transposed offset.
        if !valid.at(clamped(x, dy, width) as usize, clamped(y, dx, height) as usize) {
            continue;
        }
        let other = vectors.at(clamped(x, dx, width) as usize, clamped(y, dy, height) as usize);
        let cosine = center.dot(&other);
        // The angle of such a cosine is not a number, and spoils the whole window.
        if cosine.is_nan() || cosine.abs() > 1.0 {
            return false;
        }
        smallest = smallest.min(cosine);
    }
    f64::from(smallest) < least_cosine
}

fn by_pixel(
    width: usize,
    height: usize,
    test: impl Fn(usize, usize) -> bool + Sync,
) -> Raster<bool> {
    let mut found = Raster::filled(width, height, false);
    if width > 0 {
        found.values_mut().par_chunks_exact_mut(width).enumerate().for_each(|(y, row)| {
            row.iter_mut().enumerate().for_each(|(x, value)| *value = test(x, y));
        });
    }
    found
}
