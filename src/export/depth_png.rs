//! Depth images as PNG of 16 bits.

use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::write_atomically;
use crate::error::Result;
use crate::raster::Raster;

/// The scales of [`depth_scale`] in units per metre, the finest first.
const SCALES: [f64; 4] = [1000.0, 100.0, 10.0, 1.0];

/// Returns the units per metre with which depths up to `max_depth_m` can be written: 1000, or the
/// largest lower power of ten with which they fit into 16 bits; 1 where none does.
pub fn depth_scale(max_depth_m: f64) -> f64 {
    let fits = |scale: &&f64| (max_depth_m * **scale).round() <= f64::from(u16::MAX);
    SCALES.iter().find(fits).copied().unwrap_or(1.0)
}

/// Returns once `path` holds `depth_m` as grey PNG of 16 bits, `units_per_metre` to the metre. Zero
/// is written for what is missing: not finite, not positive, or too far for 16 bits.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_depth_png(path: &Path, depth_m: &Raster<f32>, units_per_metre: f64) -> Result<()> {
    let units = |&depth: &f32| {
        let units = (f64::from(depth) * units_per_metre).round();
        if (1.0..=f64::from(u16::MAX)).contains(&units) { units as u16 } else { 0 }
    };
    // The encoder takes 16 bits in the order of this machine.
    let bytes: Vec<u8> = depth_m.values().iter().flat_map(|d| units(d).to_ne_bytes()).collect();
    let (width, height) = (depth_m.width() as u32, depth_m.height() as u32);
    write_atomically(path, |file| {
        PngEncoder::new(file)
            .write_image(&bytes, width, height, ExtendedColorType::L16)
            .map_err(std::io::Error::other)
    })
}
