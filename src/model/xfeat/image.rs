//! What happens to images before and between the convolutions.

use image::RgbImage;

use super::conv::FeatureMap;
use crate::raster::Raster;

/// Images are resized to multiples of this, so that every level halves evenly.
pub(super) const MULTIPLE: usize = 32;
/// Keeps the normalisation of a uniform image finite.
const VARIANCE_FLOOR: f64 = 1e-5;

/// Returns the mean of the three colours, 0..1.
pub fn grey(image: &RgbImage) -> Raster<f32> {
    Raster::from_fn(image.width() as usize, image.height() as usize, |x, y| {
        let sum: u32 = image.get_pixel(x as u32, y as u32).0.iter().map(|&v| u32::from(v)).sum();
        sum as f32 / 765.0
    })
}

/// Bilinear resizing along one axis: for each result the two sources and the second's weight.
/// `step` is the distance of results in sources; borders are repeated (PyTorch's
/// `align_corners=False`).
pub(super) fn taps(results: usize, sources: usize, step: f32) -> Vec<(usize, usize, f32)> {
    (0..results)
        .map(|i| {
            let place = (step * (i as f32 + 0.5) - 0.5).max(0.0);
            let first = (place as usize).min(sources - 1);
            let second = (first + 1).min(sources - 1);
            (first, second, (place - first as f32).clamp(0.0, 1.0))
        })
        .collect()
}

/// Returns the image at another size, whose pixels are `step` source pixels apart.
pub(super) fn resized(
    image: &Raster<f32>,
    (width, height): (usize, usize),
    step: (f32, f32),
) -> Raster<f32> {
    if (width, height) == (image.width(), image.height()) {
        return image.clone();
    }
    let columns = taps(width, image.width(), step.0);
    let rows = taps(height, image.height(), step.1);
    Raster::from_fn(width, height, |x, y| {
        let ((left, right, u), (top, bottom, v)) = (columns[x], rows[y]);
        let along = |row: usize| (1.0 - u) * image.at(left, row) + u * image.at(right, row);
        (1.0 - v) * along(top) + v * along(bottom)
    })
}

/// Returns the image with sides that are multiples of [`MULTIPLE`], zero mean and unit variance.
pub(super) fn normalized(image: &Raster<f32>) -> FeatureMap {
    let size = |pixels: usize| (pixels / MULTIPLE * MULTIPLE).max(MULTIPLE);
    let (width, height) = (size(image.width()), size(image.height()));
    let step = (image.width() as f32 / width as f32, image.height() as f32 / height as f32);
    let image = resized(image, (width, height), step);
    let count = image.values().len() as f64;
    let mean = image.values().iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let variance = image.values().iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>();
    let scale = 1.0 / (variance / count + VARIANCE_FLOOR).sqrt();
    let mut map = FeatureMap::zeros(width, height, 1);
    for (out, row) in map.rows_mut().zip(image.values().chunks_exact(width)) {
        for (out, &v) in out.iter_mut().zip(row) {
            *out = ((f64::from(v) - mean) * scale) as f32;
        }
    }
    map
}

/// Returns the means of 4×4 pixels of a map of one channel.
pub(super) fn mean_of_fours(map: &FeatureMap) -> FeatureMap {
    let mut out = FeatureMap::zeros(map.width / 4, map.height / 4, 1);
    for (y, row) in out.rows_mut().enumerate() {
        for dy in 0..4 {
            for (mean, four) in row.iter_mut().zip(map.row(4 * y + dy).chunks_exact(4)) {
                *mean += four.iter().sum::<f32>() / 16.0;
            }
        }
    }
    out
}

/// Returns a map of one channel with each 8×8 pixels as the 64 channels of one, in row order.
pub(super) fn space_to_depth(map: &FeatureMap) -> FeatureMap {
    let mut out = FeatureMap::zeros(map.width / 8, map.height / 8, 64);
    for (y, row) in out.rows_mut().enumerate() {
        for (x, cell) in row.chunks_exact_mut(64).enumerate() {
            for (dy, part) in cell.chunks_exact_mut(8).enumerate() {
                part.copy_from_slice(&map.row(8 * y + dy)[8 * x..8 * x + 8]);
            }
        }
    }
    out
}

/// Adds `other` to `map`, bilinearly enlarged to its size.
pub(super) fn add_resized(map: &mut FeatureMap, other: &FeatureMap) {
    let step = |from: usize, to: usize| from as f32 / to as f32;
    let columns = taps(map.width, other.width, step(other.width, map.width));
    let rows = taps(map.height, other.height, step(other.height, map.height));
    let channels = map.channels;
    for ((top, bottom, v), out) in rows.into_iter().zip(map.rows_mut()) {
        let (top, bottom) = (other.row(top), other.row(bottom));
        for (&(left, right, u), pixel) in columns.iter().zip(out.chunks_exact_mut(channels)) {
            let corner = |row: &'_ [f32], x: usize, c: usize| row[x * channels + c];
            for (c, out) in pixel.iter_mut().enumerate() {
                let above = (1.0 - u) * corner(top, left, c) + u * corner(top, right, c);
                let below = (1.0 - u) * corner(bottom, left, c) + u * corner(bottom, right, c);
                *out += (1.0 - v) * above + v * below;
            }
        }
    }
}
