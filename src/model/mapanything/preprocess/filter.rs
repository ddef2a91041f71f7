//! Resizing of 8-bit colour to the last bit as Pillow does it: a separable filter whose weights
//! are rounded to fixed point, with a rounding to 8 bits between the two passes.

use std::f64::consts::PI;

use image::RgbImage;
use rayon::prelude::*;

use super::Size;

/// Bits behind the point of the weights.
const PRECISION: u32 = 22;

/// The shape of the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Windowed sinc over three lobes, for making images smaller.
    Lanczos,
    /// Cubic with a = -0.5, for making images larger.
    Bicubic,
}

impl Filter {
    /// Returns the filter for a change of size by `scale`.
    pub fn for_scale(scale: f64) -> Self {
        if scale < 1.0 { Self::Lanczos } else { Self::Bicubic }
    }

    fn support(self) -> f64 {
        match self {
            Self::Lanczos => 3.0,
            Self::Bicubic => 2.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        match self {
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
            Self::Bicubic => cubic(x.abs()),
        }
    }
}

fn sinc(x: f64) -> f64 {
    let angle = x * PI;
    if angle.abs() > 0.0 { angle.sin() / angle } else { 1.0 }
}

fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// Returns `image` at another size: columns first, then rows; a side that keeps its length is
/// copied.
pub fn resize(image: &RgbImage, (width, height): Size, filter: Filter) -> RgbImage {
    let wide = if image.width() as usize == width {
        image.clone()
    } else {
        resize_columns(image, &Taps::all(image.width() as usize, width, filter))
    };
    if wide.height() as usize == height {
        return wide;
    }
    resize_rows(&wide, &Taps::all(wide.height() as usize, height, filter))
}

/// What one pixel of the result takes: weights of the source pixels from `start` on.
struct Taps {
    start: usize,
    weights: Vec<i32>,
}

impl Taps {
    fn all(from: usize, to: usize, filter: Filter) -> Vec<Self> {
        (0..to).map(|index| Self::new(index, from, to, filter)).collect()
    }

    fn new(index: usize, from: usize, to: usize, filter: Filter) -> Self {
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let support = filter.support() * stretch;
        let center = (index as f64 + 0.5) * scale;
        // Casts cut towards zero, and negative numbers to zero.
        let start = (center - support + 0.5) as usize;
        let end = ((center + support + 0.5) as usize).min(from);
        let inverse = 1.0 / stretch;
        let weight = |i: usize| filter.weight((i as f64 - center + 0.5) * inverse);
        let weights: Vec<f64> = (start..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        Self { start, weights: weights.iter().map(|w| fixed_point(w / sum)).collect() }
    }

    /// The weighted sum of every `stride`-th value from `values[offset]` on, as 8 bits.
    fn apply(&self, values: &[u8], offset: usize, stride: usize) -> u8 {
        let first = offset + self.start * stride;
        let mut sum = 1_i32 << (PRECISION - 1);
        for (tap, &weight) in self.weights.iter().enumerate() {
            sum += weight * i32::from(values[first + tap * stride]);
        }
        (sum >> PRECISION).clamp(0, 255) as u8
    }
}

fn fixed_point(weight: f64) -> i32 {
    (weight * f64::from(1 << PRECISION) + 0.5_f64.copysign(weight)) as i32
}

fn resize_columns(image: &RgbImage, taps: &[Taps]) -> RgbImage {
    let row_len = image.width() as usize * 3;
    resized(taps.len(), image.height() as usize, |y, row| {
        let source = &image.as_raw()[y * row_len..][..row_len];
        for (pixel, taps) in row.chunks_exact_mut(3).zip(taps) {
            (0..3).for_each(|c| pixel[c] = taps.apply(source, c, 3));
        }
    })
}

fn resize_rows(image: &RgbImage, taps: &[Taps]) -> RgbImage {
    let row_len = image.width() as usize * 3;
    resized(image.width() as usize, taps.len(), |y, row| {
        for (i, value) in row.iter_mut().enumerate() {
            *value = taps[y].apply(image.as_raw(), i, row_len);
        }
    })
}

/// The image whose row `y` is what `fill(y, row)` writes.
fn resized(width: usize, height: usize, fill: impl Fn(usize, &mut [u8]) + Sync) -> RgbImage {
    let mut image = RgbImage::new(width as u32, height as u32);
    image.par_chunks_exact_mut(width * 3).enumerate().for_each(|(y, row)| fill(y, row));
    image
}
