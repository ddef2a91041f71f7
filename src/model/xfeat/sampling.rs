//! Values of maps between their pixels, as PyTorch's `grid_sample` with zeros beyond the border.

use super::conv::FeatureMap;

/// Where a pixel of the resized image lies in a map, along one side: the network was trained with
/// grids that put the first pixel on the map's outer edge, and the last on the other.
pub(super) fn place(pixel: f32, image_side: usize, map_side: usize) -> f32 {
    let grid = 2.0 * (pixel / (image_side as f32 - 1.0)) - 1.0;
    ((grid + 1.0) * map_side as f32 - 1.0) / 2.0
}

/// Adds to `out` the values of `map` at column `x`, row `y`, times `weight`.
fn add(map: &FeatureMap, x: i64, y: i64, weight: f32, out: &mut [f32]) {
    let inside = x >= 0 && y >= 0 && x < map.width as i64 && y < map.height as i64;
    if inside {
        let values = &map.row(y as usize)[x as usize * map.channels..][..map.channels];
        out.iter_mut().zip(values).for_each(|(out, v)| *out += weight * v);
    }
}

/// Adds to `out` the values of `map` at a place between pixels, with these weights of the pixels
/// from `first` pixels away on along each axis.
fn add_weighted<const N: usize>(
    map: &FeatureMap,
    place: [f32; 2],
    first: i64,
    weights: impl Fn(f32) -> [f32; N],
    out: &mut [f32],
) {
    let [x, y] = place.map(f32::floor);
    let (along_x, along_y) = (weights(place[0] - x), weights(place[1] - y));
    for (j, wy) in (first..).zip(along_y) {
        for (i, wx) in (first..).zip(along_x) {
            add(map, x as i64 + i, y as i64 + j, wx * wy, out);
        }
    }
}

/// Returns the value of a map of one channel at a place, bilinearly.
pub(super) fn bilinear(map: &FeatureMap, place: [f32; 2]) -> f32 {
    let mut out = [0.0];
    add_weighted(map, place, 0, |t| [1.0 - t, t], &mut out);
    out[0]
}

/// Writes the values of a map at a place, by cubic convolution.
pub(super) fn bicubic(map: &FeatureMap, place: [f32; 2], out: &mut [f32]) {
    out.fill(0.0);
    add_weighted(map, place, -1, cubic_weights, out);
}

/// Weights of the four pixels around a place `t` beyond the second (Keys, "Cubic convolution
/// interpolation for digital image processing", 1981, with a = -0.75).
fn cubic_weights(t: f32) -> [f32; 4] {
    const A: f32 = -0.75;
    let near = |d: f32| ((A + 2.0) * d - (A + 3.0)) * d * d + 1.0;
    let far = |d: f32| ((A * d - 5.0 * A) * d + 8.0 * A) * d - 4.0 * A;
    [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]
}

/// Divides by the Euclidean length, if there is one.
pub(super) fn normalize(values: &mut [f32]) {
    let length = values.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-12);
    values.iter_mut().for_each(|v| *v /= length);
}
