//! From images of any size to what the network takes: one size, whole patches, normalised colour;
//! depth and camera go along. Every step is that of the reference implementation, to the bit.

mod filter;
mod target;

use image::{RgbImage, imageops};

use crate::error::{Error, Result};
use crate::geometry::Intrinsics;
use crate::raster::Raster;

pub use filter::{Filter, resize};
pub use target::{PATCH_SIZE, Size, TargetSize, reduced};

/// Mean of each colour by which images are normalised.
pub(super) const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Standard deviation of each colour by which images are normalised.
pub(super) const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// How one view gets from its own size to that of the network: resized, then cropped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fitting {
    original: Size,
    scale: f64,
    resized: Size,
    target: Size,
    left: usize,
    top: usize,
}

impl Fitting {
    /// Returns the way from `original` to `target`, both positive. Where the intrinsics of the view
    /// are known, an odd margin is cut as the reference cuts it then: one pixel further for every
    /// margin of 4n + 3 pixels.
    pub fn new(original: Size, target: Size, with_intrinsics: bool) -> Self {
        let ratio = |to: usize, from: usize| to as f64 / from as f64;
        let scale = ratio(target.0, original.0).max(ratio(target.1, original.1)) + 1e-8;
        let resized = (scaled(original.0, scale), scaled(original.1, scale));
        let cut = |margin: usize| match with_intrinsics {
            true => (margin as f64 / 2.0).round_ties_even() as usize,
            false => margin / 2,
        };
        let (left, top) = (cut(resized.0 - target.0), cut(resized.1 - target.1));
        Self { original, scale, resized, target, left, top }
    }

    /// Returns the size of what comes out, in pixels.
    pub fn target(&self) -> Size {
        self.target
    }

    /// Returns `image` resized and cropped.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for an image of another size than the one that this was made for.
    pub fn image(&self, image: &RgbImage) -> Result<RgbImage> {
        let size = (image.width() as usize, image.height() as usize);
        same("size of an image", self.original, size)?;
        let resized = resize(image, self.resized, Filter::for_scale(self.scale));
        let [left, top, width, height] =
            [self.left, self.top, self.target.0, self.target.1].map(|side| side as u32);
        Ok(imageops::crop_imm(&resized, left, top, width, height).to_image())
    }

    /// Returns `depth` resized by nearest neighbour (as OpenCV picks it) and cropped.
    ///
    /// # Errors
    /// As [`Fitting::image`].
    pub fn depth(&self, depth: &Raster<f32>) -> Result<Raster<f32>> {
        same("size of a depth image", self.original, (depth.width(), depth.height()))?;
        let columns = nearest(self.original.0, self.resized.0);
        let rows = nearest(self.original.1, self.resized.1);
        Ok(Raster::from_fn(self.target.0, self.target.1, |x, y| {
            depth.at(columns(x + self.left), rows(y + self.top))
        }))
    }

    /// Returns the intrinsics of the resized and cropped view, with the reference's rounding to
    /// single precision after each step.
    pub fn intrinsics(&self, k: &Intrinsics) -> Intrinsics {
        let center = |c: f64, side: usize, resized: usize, cut: usize| {
            let exact = side as f64 * self.scale;
            let corner = single(single(single(c) + 0.5) * self.scale);
            let centered = single(single(corner - 0.5 * (exact - resized as f64)) - 0.5);
            single(centered - cut as f64)
        };
        Intrinsics {
            fx: single(single(k.fx) * self.scale),
            fy: single(single(k.fy) * self.scale),
            cx: center(k.cx, self.original.0, self.resized.0, self.left),
            cy: center(k.cy, self.original.1, self.resized.1, self.top),
        }
    }

    /// Returns the intrinsics of the original view from those of the resized and cropped one: the
    /// inverse of [`Fitting::intrinsics`], without its rounding.
    pub fn original_intrinsics(&self, k: &Intrinsics) -> Intrinsics {
        let [cx, cy] = self.original_pixel([k.cx, k.cy]);
        Intrinsics { fx: k.fx / self.scale, fy: k.fy / self.scale, cx, cy }
    }

    /// Returns the place in the original image of a place in the resized and cropped one.
    pub fn original_pixel(&self, pixel: [f64; 2]) -> [f64; 2] {
        let [x, y] = self.shifts();
        [(pixel[0] + x) / self.scale - 0.5, (pixel[1] + y) / self.scale - 0.5]
    }

    /// Returns `values` at the size of the original image, each pixel with the value of the nearest;
    /// the default value where the original was cropped.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for values that are not of the size of what comes out.
    pub fn original_values<T: Copy + Default>(&self, values: &Raster<T>) -> Result<Raster<T>> {
        same("size of a result", self.target, (values.width(), values.height()))?;
        let [across, down] = self.shifts();
        let nearest =
            |pixel: usize, shift: f64| ((pixel as f64 + 0.5) * self.scale - shift).round() as i64;
        let columns: Vec<i64> = (0..self.original.0).map(|x| nearest(x, across)).collect();
        Ok(Raster::from_fn(self.original.0, self.original.1, |x, y| {
            values.get(columns[x], nearest(y, down)).unwrap_or_default()
        }))
    }

    /// What is added to a pixel of the result to get its distance from the corner of the enlarged
    /// original, for columns and rows.
    fn shifts(&self) -> [f64; 2] {
        let shift = |side: usize, resized: usize, cut: usize| {
            cut as f64 + 0.5 + 0.5 * (side as f64 * self.scale - resized as f64)
        };
        [
            shift(self.original.0, self.resized.0, self.left),
            shift(self.original.1, self.resized.1, self.top),
        ]
    }
}

/// Returns the colours as the network takes them, three planes (red, green, blue) in row order.
pub fn normalize(image: &RgbImage) -> Vec<f32> {
    let plane = |c: usize| {
        image.pixels().map(move |pixel| (f32::from(pixel.0[c]) / 255.0 - MEAN[c]) / STD[c])
    };
    (0..3).flat_map(plane).collect()
}

fn scaled(side: usize, scale: f64) -> usize {
    (side as f64 * scale) as usize
}

/// The source index for each index of the result. The reciprocal of the reciprocal is not always
/// the ratio, and decides where a source coordinate is a whole number.
fn nearest(from: usize, to: usize) -> impl Fn(usize) -> usize {
    let step = 1.0 / (to as f64 / from as f64);
    move |index| ((index as f64 * step) as usize).min(from - 1)
}

fn single(value: f64) -> f64 {
    f64::from(value as f32)
}

fn same(what: &'static str, expected: Size, found: Size) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let text = |(width, height): Size| format!("{width}x{height}");
    Err(Error::ShapeMismatch { what, expected: text(expected), found: text(found) })
}
