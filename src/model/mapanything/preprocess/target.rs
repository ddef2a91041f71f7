//! The size to which all images of one call are brought.

use crate::error::{Error, Result};

/// Width and height in pixels.
pub type Size = (usize, usize);

/// Side of the squares that the network sees as one token, in pixels.
pub const PATCH_SIZE: usize = 14;

/// Ratios of width to height that the network was trained with, and the size for each. The table
/// is not symmetric: its widest entry has no upright counterpart.
const SIZES_518: [(f64, Size); 10] = [
    (0.486, (252, 518)),
    (0.567, (294, 518)),
    (0.649, (336, 518)),
    (0.757, (392, 518)),
    (1.000, (518, 518)),
    (1.321, (518, 392)),
    (1.542, (518, 336)),
    (1.762, (518, 294)),
    (2.056, (518, 252)),
    (3.083, (518, 168)),
];

const SIZES_504: [(f64, Size); 10] = [
    (0.472, (238, 504)),
    (0.556, (280, 504)),
    (0.639, (322, 504)),
    (0.750, (378, 504)),
    (1.000, (504, 504)),
    (1.333, (504, 378)),
    (1.565, (504, 322)),
    (1.800, (504, 280)),
    (2.118, (504, 238)),
    (3.273, (504, 154)),
];

/// How the size is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetSize {
    /// The trained size nearest in shape, the longer side 518 pixels.
    Mapping518,
    /// The trained size nearest in shape, the longer side 504 pixels.
    Mapping504,
    /// The longer side has so many pixels (a multiple of 14), the other keeps the shape.
    LongestSide(usize),
    /// Both sides have so many pixels, rounded down to a multiple of 14.
    Square(usize),
    /// Width and height, each rounded down to a multiple of 14.
    Fixed(Size),
}

impl TargetSize {
    /// Returns the one size for images of the sizes `images`, by the mean of their width to height.
    ///
    /// # Errors
    /// [`Error::Usage`] for no image, an empty image, or a size that holds no whole patch.
    pub fn choose(&self, images: &[Size]) -> Result<Size> {
        if images.is_empty() || images.iter().any(|&(width, height)| width == 0 || height == 0) {
            return Err(Error::Usage("there is no image, or one without pixels".into()));
        }
        let sum: f64 = images.iter().map(|&(width, height)| width as f64 / height as f64).sum();
        let size = self.for_ratio(sum / images.len() as f64);
        let usable = |side: usize| side > 0 && side.is_multiple_of(PATCH_SIZE);
        if usable(size.0) && usable(size.1) {
            return Ok(size);
        }
        Err(Error::Usage(format!(
            "images would become {}x{} pixels, but both sides must be positive multiples of \
             {PATCH_SIZE}; choose another size",
            size.0, size.1
        )))
    }

    /// Returns the size for images `ratio` times as wide as high.
    pub fn for_ratio(&self, ratio: f64) -> Size {
        match *self {
            Self::Mapping518 => nearest(&SIZES_518, ratio),
            Self::Mapping504 => nearest(&SIZES_504, ratio),
            Self::Square(side) => (whole(side), whole(side)),
            Self::Fixed((width, height)) => (whole(width), whole(height)),
            Self::LongestSide(side) => longest_side(side, ratio),
        }
    }
}

/// Fewer tokens than this in a row show nothing.
const MIN_PATCHES: usize = 4;

/// Returns a size with sides of about `side_frac` times the length, whole patches.
pub fn reduced((width, height): Size, side_frac: f64) -> Size {
    let side = |length: usize| {
        let patches = (side_frac * (length / PATCH_SIZE) as f64).round() as usize;
        (patches.max(MIN_PATCHES) * PATCH_SIZE).min(length)
    };
    (side(width), side(height))
}

/// The first of the entries whose ratio is nearest.
fn nearest(sizes: &[(f64, Size)], ratio: f64) -> Size {
    let mut best = sizes[0];
    for &entry in &sizes[1..] {
        if (entry.0 - ratio).abs() < (best.0 - ratio).abs() {
            best = entry;
        }
    }
    best.1
}

fn whole(side: usize) -> usize {
    side / PATCH_SIZE * PATCH_SIZE
}

fn longest_side(side: usize, ratio: f64) -> Size {
    let patches = (side / PATCH_SIZE) as f64;
    let other = |patches: f64| patches.round_ties_even() as usize * PATCH_SIZE;
    if ratio >= 1.0 { (side, other(patches / ratio)) } else { (other(patches * ratio), side) }
}
