//! From images of any size to what the family takes: the longer side at 512 pixels, whole patches,
//! colours in -1..1; and the way back.

use image::{RgbImage, imageops};

use super::encoder::{ImagePlanes, PATCH_PX};
use crate::error::{Error, Result};
use crate::geometry::Intrinsics;
use crate::model::mapanything::preprocess::{Filter, resize};

/// How an image gets from its own size to that of the network: resized, then cropped around its
/// centre.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FamilyFitting {
    original: [usize; 2],
    resized: [usize; 2],
    target: [usize; 2],
    corner: [usize; 2],
}

impl FamilyFitting {
    /// Returns the way of an image of `width` × `height` to `long_side_px` on its longer side.
    /// Square images lose a quarter of their height, as in training.
    ///
    /// # Errors
    /// [`Error::Usage`] for images of which no whole patch would be left.
    pub fn new(width: usize, height: usize, long_side_px: usize) -> Result<Self> {
        let longest = width.max(height).max(1);
        let side = |side: usize| {
            (side as f64 * long_side_px as f64 / longest as f64).round_ties_even() as usize
        };
        let resized = [side(width), side(height)];
        let half = |side: usize| (side / 2 * 2) / PATCH_PX * PATCH_PX / 2;
        let mut halves = resized.map(half);
        if resized[0] == resized[1] {
            halves[1] = halves[0] * 3 / 4 / (PATCH_PX / 2) * (PATCH_PX / 2);
        }
        if halves.contains(&0) {
            return Err(Error::Usage(format!(
                "an image of {width}x{height} pixels leaves no patch of 16 pixels at a longer side \
                 of {long_side_px}; give a larger resolution or another shape"
            )));
        }
        let corner = [0, 1].map(|axis| resized[axis] / 2 - halves[axis]);
        Ok(Self { original: [width, height], resized, target: halves.map(|h| 2 * h), corner })
    }

    /// Returns the number of columns and rows that the network sees.
    pub fn target(&self) -> (usize, usize) {
        (self.target[0], self.target[1])
    }

    /// Returns `image` resized and cropped.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for an image of another size than the one that this was made for.
    pub fn image(&self, image: &RgbImage) -> Result<RgbImage> {
        let size = [image.width() as usize, image.height() as usize];
        if size != self.original {
            let text = |[width, height]: [usize; 2]| format!("{width}x{height}");
            return Err(Error::ShapeMismatch {
                what: "size of an image",
                expected: text(self.original),
                found: text(size),
            });
        }
        let shrinks = self.resized[0].max(self.resized[1]) < size[0].max(size[1]);
        let filter = if shrinks { Filter::Lanczos } else { Filter::Bicubic };
        let resized = resize(image, (self.resized[0], self.resized[1]), filter);
        let [left, top] = self.corner.map(|side| side as u32);
        let [width, height] = self.target.map(|side| side as u32);
        Ok(imageops::crop_imm(&resized, left, top, width, height).to_image())
    }

    /// Returns the place that the network sees of a place in the original image.
    pub fn network_pixel(&self, pixel: [f64; 2]) -> [f64; 2] {
        [0, 1].map(|axis| (pixel[axis] + 0.5) * self.scale(axis) - 0.5 - self.corner[axis] as f64)
    }

    /// Returns the place in the original image of a place that the network sees.
    pub fn original_pixel(&self, pixel: [f64; 2]) -> [f64; 2] {
        [0, 1].map(|axis| (pixel[axis] + self.corner[axis] as f64 + 0.5) / self.scale(axis) - 0.5)
    }

    /// Returns the camera of the original image from that of what the network sees.
    pub fn original_intrinsics(&self, k: &Intrinsics) -> Intrinsics {
        let [cx, cy] = self.original_pixel([k.cx, k.cy]);
        Intrinsics { fx: k.fx / self.scale(0), fy: k.fy / self.scale(1), cx, cy }
    }

    fn scale(&self, axis: usize) -> f64 {
        self.resized[axis] as f64 / self.original[axis] as f64
    }
}

/// Returns an image that fits the network as it takes it.
///
/// # Errors
/// As [`ImagePlanes::new`].
pub fn planes(image: &RgbImage) -> Result<ImagePlanes> {
    let plane = |c: usize| image.pixels().map(move |p| (f32::from(p.0[c]) / 255.0 - 0.5) / 0.5);
    let values = (0..3).flat_map(plane).collect();
    ImagePlanes::new(image.width() as usize, image.height() as usize, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_reference() {
        for (original, target) in [
            ((640, 480), (512, 384)),
            ((752, 480), (512, 320)),
            ((1920, 1080), (512, 288)),
            ((480, 640), (384, 512)),
            ((512, 512), (512, 384)),
            ((100, 75), (512, 384)),
        ] {
            let fitting = FamilyFitting::new(original.0, original.1, 512).expect("it fits");
            assert_eq!(fitting.target(), target, "{original:?}");
        }
        assert!(FamilyFitting::new(5000, 100, 512).is_err());
    }

    #[test]
    fn places_go_there_and_back() {
        let fitting = FamilyFitting::new(752, 480, 512).expect("it fits");
        for pixel in [[0.0, 0.0], [751.0, 479.0], [123.4, 56.7]] {
            let back = fitting.original_pixel(fitting.network_pixel(pixel));
            assert!((back[0] - pixel[0]).abs() < 1e-9 && (back[1] - pixel[1]).abs() < 1e-9);
        }
        // 327 rows become 320: half of seven are cut off above.
        let [x, y] = fitting.network_pixel([375.5, 239.5]);
        assert!((x - 255.5).abs() < 1e-9 && (y - 160.0).abs() < 1e-9, "{x} {y}");
    }

    #[test]
    fn colours_are_between_minus_one_and_one() {
        let image = RgbImage::from_fn(16, 16, |x, _| image::Rgb([0, 255, (x * 17) as u8]));
        let planes = planes(&image).expect("it fits");
        assert!(planes.values()[..256].iter().all(|v| *v <= -1.0));
        assert!(planes.values()[256..512].iter().all(|v| *v >= 1.0));
    }
}
