//! Which pairs of windows to match finely, given coarse matches of two whole images.

use nalgebra::Vector2;

use super::windows::{ImageSize, Window, fit_window, fitted, window_grid};

/// Coarse matches that make a window worth looking into.
const MIN_MATCHES: usize = 10;
/// The spread of matches is taken to be at least this, in pixels.
const MIN_SPREAD_PX: f64 = 20.0;
/// Share of all weight that the chosen pairs of windows cover.
const COVERED_FRAC: f64 = 0.9;

/// A window of each image that show the same things.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowPair {
    /// Window of the first image.
    pub a: Window,
    /// Window of the second image.
    pub b: Window,
    /// How well each coarse match lies in both, 0..1.
    pub weights: Vec<f64>,
}

/// One image of a pair, its coarse matches' pixels, and what the network takes.
#[derive(Debug, Clone, Copy)]
pub struct CoarseView<'a> {
    /// Size of the full image.
    pub size: ImageSize,
    /// Size that the network is given for this image.
    pub resolution: ImageSize,
    /// Pixels of the coarse matches in the full image.
    pub pixels: &'a [Vector2<f64>],
}

/// Returns the pairs of windows that together cover nine tenths of what the coarse matches of two
/// images hold, the best first. Windows of either image lead, the other's follow the matches.
pub fn select_window_pairs(a: &CoarseView<'_>, b: &CoarseView<'_>) -> Vec<WindowPair> {
    let swapped = window_pairs(b, a).into_iter();
    let mut pairs = window_pairs(a, b);
    pairs.extend(swapped.map(|pair| WindowPair { a: pair.b, b: pair.a, ..pair }));
    let order = greedy_cover(&pairs);
    order.into_iter().map(|i| pairs[i].clone()).collect()
}

/// Returns, for each window of the leading image with ten matches or more, the window of the
/// other image about the same matches: its centre their mean, its size in proportion to their
/// spread (from the first to the ninth decile), then fitted to the network's resolution.
pub fn window_pairs(leading: &CoarseView<'_>, other: &CoarseView<'_>) -> Vec<WindowPair> {
    let long_side = leading.resolution.width.max(leading.resolution.height);
    let windows = window_grid(leading.size, long_side).into_iter();
    windows
        .map(|window| fit_window(&window, leading.resolution, leading.size))
        .filter_map(|window| window_pair(window, leading, other))
        .collect()
}

fn window_pair(
    window: Window,
    leading: &CoarseView<'_>,
    other: &CoarseView<'_>,
) -> Option<WindowPair> {
    let matches = || leading.pixels.iter().zip(other.pixels);
    let inside: Vec<_> = matches().filter(|(p, _)| window.contains(p)).collect();
    if inside.len() < MIN_MATCHES {
        return None;
    }
    let here: Vec<_> = inside.iter().map(|(p, _)| **p).collect();
    let there: Vec<_> = inside.iter().map(|(_, q)| **q).collect();
    let size = window.size().component_mul(&spread(&there)).component_div(&spread(&here));
    let mean = there.iter().sum::<Vector2<f64>>() / there.len() as f64;
    let companion = fitted(&mean, &size, other.resolution, other.size);
    let weight = |p: &Vector2<f64>, q: &Vector2<f64>| {
        if window.contains(p) { window.weight(p) * companion.weight(q) } else { 0.0 }
    };
    let weights = matches().map(|(p, q)| weight(p, q)).collect();
    Some(WindowPair { a: window, b: companion, weights })
}

/// Distance of the first and ninth decile along each axis.
fn spread(pixels: &[Vector2<f64>]) -> Vector2<f64> {
    let along = |axis: usize| {
        let mut values: Vec<f64> = pixels.iter().map(|p| p[axis]).collect();
        values.sort_by(f64::total_cmp);
        (quantile(&values, 0.9) - quantile(&values, 0.1)).max(MIN_SPREAD_PX)
    };
    Vector2::new(along(0), along(1))
}

/// The quantile of sorted values, linear between neighbours.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}

/// Returns the pairs, by index, that are taken one after the other, each the one that adds most,
/// until nine tenths of the sum of every match's largest weight are covered.
pub fn greedy_cover(pairs: &[WindowPair]) -> Vec<usize> {
    let mut remaining: Vec<Vec<f64>> = pairs.iter().map(|pair| pair.weights.clone()).collect();
    let matches = remaining.first().map_or(0, Vec::len);
    let largest = |m: usize| remaining.iter().map(|w| w[m]).fold(0.0, f64::max);
    let total: f64 = (0..matches).map(largest).sum();
    let (mut covered, mut order) = (0.0, Vec::new());
    while covered < COVERED_FRAC * total {
        let Some((best, gain)) = largest_sum(&remaining) else { break };
        order.push(best);
        covered += gain;
        let taken = remaining[best].clone();
        for weights in &mut remaining {
            weights.iter_mut().zip(&taken).for_each(|(w, t)| *w = (*w - t).max(0.0));
        }
    }
    order
}

/// The row with the largest positive sum, the first of equals, and that sum.
fn largest_sum(rows: &[Vec<f64>]) -> Option<(usize, f64)> {
    let mut best = None;
    for (index, row) in rows.iter().enumerate() {
        let sum: f64 = row.iter().sum();
        if sum > best.map_or(0.0, |(_, sum)| sum) {
            best = Some((index, sum));
        }
    }
    best
}
