//! Colour from a sensor that has one colour filter per pixel.

use image::RgbImage;

use super::raw::{RawImage, rgb_image};
use super::{DecodeError, Result};
use crate::raster::Raster;

const GREEN: usize = 1;

/// Returns the colours of a mosaic, bilinearly; `pattern` is what follows `bayer_`, e.g. `rggb8`.
pub(super) fn demosaic(image: &RawImage<'_>, pattern: &str) -> Result<RgbImage> {
    let unknown = || DecodeError::new(format!("encoding '{}' is not known", image.encoding));
    let (filters, bits) = pattern.split_at_checked(4).ok_or_else(unknown)?;
    let filters = filter_colors(filters).ok_or_else(unknown)?;
    let mosaic = match bits {
        "8" => mosaic(image, 1, 0)?,
        "16" => mosaic(image, 2, image.high_byte())?,
        _ => return Err(unknown()),
    };
    let mut colors = Vec::with_capacity(mosaic.values().len() * 3);
    for y in 0..mosaic.height() {
        for x in 0..mosaic.width() {
            colors.extend(color_at(&mosaic, &filters, x, y));
        }
    }
    rgb_image(image.width, image.height, colors)
}

/// Returns the colour (0 red, 1 green, 2 blue) of the filters at (0,0), (1,0), (0,1), (1,1).
fn filter_colors(pattern: &str) -> Option<[usize; 4]> {
    match pattern {
        "rggb" => Some([0, 1, 1, 2]),
        "bggr" => Some([2, 1, 1, 0]),
        "gbrg" => Some([1, 2, 0, 1]),
        "grbg" => Some([1, 0, 2, 1]),
        _ => None,
    }
}

fn mosaic(image: &RawImage<'_>, bytes_per_pixel: usize, byte: usize) -> Result<Raster<u8>> {
    let rows = image.rows(bytes_per_pixel)?;
    let values = rows.flat_map(|row| row.iter().skip(byte).step_by(bytes_per_pixel).copied());
    Raster::new(image.width as usize, image.height as usize, values.collect())
        .map_err(|error| DecodeError::new(error.to_string()))
}

/// Returns the mean of each colour over the pixel and its neighbours; its own colour as it is.
fn color_at(mosaic: &Raster<u8>, filters: &[usize; 4], x: usize, y: usize) -> [u8; 3] {
    let own = filters[(y % 2) * 2 + x % 2];
    let mut sums = [0u32; 3];
    let mut counts = [0u32; 3];
    for row in y.saturating_sub(1)..mosaic.height().min(y + 2) {
        for column in x.saturating_sub(1)..mosaic.width().min(x + 2) {
            let color = filters[(row % 2) * 2 + column % 2];
            // The diagonal greens of a green pixel would only blur it.
            if color != own || color != GREEN {
                sums[color] += u32::from(mosaic.at(column, row));
                counts[color] += 1;
            }
        }
    }
    let mut color: [u8; 3] = std::array::from_fn(|c| (sums[c] / counts[c].max(1)) as u8);
    color[own] = mosaic.at(x, y);
    color
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::raw_color;

    const COLOR: [u8; 3] = [200, 100, 50];

    fn flat_mosaic(pattern: &str, bytes_per_pixel: usize) -> Vec<u8> {
        let filters = filter_colors(pattern).unwrap();
        (0..16)
            .flat_map(|i| {
                let value = COLOR[filters[(i / 4 % 2) * 2 + i % 2]];
                [0, value].into_iter().skip(2 - bytes_per_pixel)
            })
            .collect()
    }

    #[test]
    fn a_surface_of_one_colour_comes_back_from_every_pattern() {
        for pattern in ["rggb", "bggr", "gbrg", "grbg"] {
            for (bits, bytes) in [("8", 1), ("16", 2)] {
                let encoding = format!("bayer_{pattern}{bits}");
                let data = flat_mosaic(pattern, bytes);
                let step = 4 * bytes as u32;
                let raw = RawImage {
                    encoding: &encoding,
                    width: 4,
                    height: 4,
                    step,
                    is_bigendian: false,
                    data: &data,
                };
                let decoded = raw_color(&raw).unwrap();
                assert!(decoded.pixels().all(|p| p.0 == COLOR), "{encoding}");
            }
        }
    }

    #[test]
    fn green_is_interpolated_from_the_four_sides() {
        let mut data = vec![0u8; 9];
        for (index, value) in [(1, 10), (3, 20), (5, 30), (7, 40)] {
            data[index] = value;
        }
        let raster = Raster::new(3, 3, data).unwrap();
        let color = color_at(&raster, &filter_colors("rggb").unwrap(), 1, 1);
        assert_eq!(color, [0, 25, 0]);
    }

    #[test]
    fn unknown_patterns_are_refused() {
        for encoding in ["bayer_rgbg8", "bayer_rggb12", "bayer_", "bayer_éé"] {
            let raw = RawImage {
                encoding,
                width: 2,
                height: 2,
                step: 2,
                is_bigendian: false,
                data: &[0; 4],
            };
            assert!(raw_color(&raw).unwrap_err().to_string().contains("is not known"));
        }
    }
}
