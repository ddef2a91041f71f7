//! What all figures share: a surface to draw on, a font, and the way into a file.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::Once;

use image::{ImageFormat, RgbImage};
use plotters::coord::Shift;
use plotters::prelude::{BitMapBackend, DrawingArea, IntoDrawingArea};
use plotters::style::{FontStyle, register_font};

use crate::error::{Error, Result};

/// Figures are drawn this many times larger and then averaged, because plotters' lines have steps.
pub(super) const OVERSAMPLING: u32 = 2;

/// The family name of the font that every figure uses.
pub(super) const FONT: &str = "sans-serif";

/// Where plotters draws.
pub(super) type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// Why plotters did not draw, in words.
pub(super) type Drawn<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Lengths in pixels of the finished figure, as lengths on the canvas.
pub(super) fn px(length: u32) -> u32 {
    length * OVERSAMPLING
}

/// Returns `image`, which is drawn at the canvas' size, painted over by `paint` and averaged down.
pub(super) fn finish(mut image: RgbImage, paint: impl FnOnce(&Area) -> Drawn) -> Result<RgbImage> {
    register_fonts();
    let size = image.dimensions();
    {
        let area = BitMapBackend::with_buffer(&mut image, size).into_drawing_area();
        let drawn = paint(&area).and_then(|()| Ok(area.present()?));
        drawn.map_err(|error| Error::Io {
            path: "figure".into(),
            action: "draw it",
            source: std::io::Error::other(error.to_string()),
        })?;
    }
    Ok(averaged(&image))
}

/// Returns once `path` holds `image` as PNG, whole or not at all.
///
/// # Errors
/// [`Error::Input`] naming `path`, where its folder is missing, not writable or full.
pub fn save_png(path: &Path, image: &RgbImage) -> Result<()> {
    let unwritable = |error: &dyn std::fmt::Display| {
        let remedy = "choose a folder that exists, that you may write to and that has space left";
        Error::input(path, format!("cannot be written ({error})"), remedy)
    };
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).map_err(|e| unwritable(&e))?;
    let name = path.file_name().ok_or_else(|| unwritable(&"not a file name"))?;
    let partial =
        path.with_file_name(format!(".{}.{}.partial", name.to_string_lossy(), std::process::id()));
    let outcome = fs::write(&partial, bytes.into_inner()).and_then(|()| fs::rename(&partial, path));
    outcome.map_err(|error| {
        // What cannot be removed was never created; the first error is the one to report.
        let _ = fs::remove_file(&partial);
        unwritable(&error)
    })
}

fn register_fonts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let font = epaint_default_fonts::UBUNTU_LIGHT;
        // Without the font a figure reports the text that it cannot draw.
        let _ = register_font(FONT, FontStyle::Normal, font);
    });
}

fn averaged(image: &RgbImage) -> RgbImage {
    let side = OVERSAMPLING;
    RgbImage::from_fn(image.width() / side, image.height() / side, |x, y| {
        let mut sums = [0_u32; 3];
        for offset in 0..side * side {
            let pixel = image.get_pixel(x * side + offset % side, y * side + offset / side);
            for (sum, value) in sums.iter_mut().zip(pixel.0) {
                *sum += u32::from(value);
            }
        }
        image::Rgb(sums.map(|sum| (sum / (side * side)) as u8))
    })
}
