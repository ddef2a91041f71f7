//! JPEG and PNG files, and ROS's `compressedDepth`.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, ImageReader, Limits, RgbImage};

use super::raw::depth_image;
use super::{DecodeError, Result, checked_pixels, decode_rvl};
use crate::frame::DepthImage;

const JPEG_START_OF_SCAN: [u8; 2] = [0xff, 0xda];
const JPEG_END: [u8; 2] = [0xff, 0xd9];
const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Returns the colours of a JPEG or PNG file; grey becomes red, green and blue.
///
/// The names of encodings that ROS sends along are not needed: the file says itself what it holds.
///
/// # Errors
/// Where the bytes are neither, or are cut off.
pub fn color_from_file(bytes: &[u8]) -> Result<RgbImage> {
    Ok(decode(bytes)?.into_rgb8())
}

/// Returns width and height of a JPEG or PNG file without decoding it.
///
/// # Errors
/// Where the bytes are neither.
pub fn size_of_file(bytes: &[u8]) -> Result<(u32, u32)> {
    reader(bytes)?.into_dimensions().map_err(|error| DecodeError::new(error.to_string()))
}

/// Returns the depths of a 16-bit grey PNG file in units of `metres_per_unit`.
///
/// # Errors
/// Where the bytes are not such a file, or are cut off.
pub fn depth_from_png(bytes: &[u8], metres_per_unit: f64) -> Result<DepthImage> {
    let (width, height, values) = grey16(bytes)?;
    let scale = metres_per_unit as f32;
    depth_image(width, height, values.iter().map(|&value| f32::from(value) * scale).collect())
}

/// Returns the depths of a `compressedDepth` message: 12 bytes of header, then PNG or RVL;
/// `format` is the message's, e.g. `16UC1; compressedDepth png`.
///
/// # Errors
/// Where the data are neither, or are cut off.
pub fn compressed_depth(format: &str, data: &[u8], metres_per_unit: f64) -> Result<DepthImage> {
    let (header, payload) = data
        .split_first_chunk::<12>()
        .ok_or_else(|| DecodeError::new("compressedDepth data end within their header"))?;
    let (width, height, values) =
        if payload.starts_with(PNG_SIGNATURE) { grey16(payload)? } else { rvl(payload)? };
    let metres: Vec<f32> = if format.trim_start().starts_with("32FC1") {
        let [_, _, _, _, a0, a1, a2, a3, b0, b1, b2, b3] = *header;
        let (a, b) = (f32::from_le_bytes([a0, a1, a2, a3]), f32::from_le_bytes([b0, b1, b2, b3]));
        values.iter().map(|&value| from_inverse_depth(value, a, b)).collect()
    } else {
        let scale = metres_per_unit as f32;
        values.iter().map(|&value| f32::from(value) * scale).collect()
    };
    depth_image(width, height, metres)
}

/// Quantised inverse depth, as `compressed_depth_image_transport` stores it.
fn from_inverse_depth(value: u16, a: f32, b: f32) -> f32 {
    if value == 0 { 0.0 } else { a / (f32::from(value) - b) }
}

fn rvl(payload: &[u8]) -> Result<(usize, usize, Vec<u16>)> {
    let (size, data) = payload
        .split_first_chunk::<8>()
        .ok_or_else(|| DecodeError::new("compressedDepth data end before their image"))?;
    let [w0, w1, w2, w3, h0, h1, h2, h3] = *size;
    let (width, height) =
        (u32::from_le_bytes([w0, w1, w2, w3]), u32::from_le_bytes([h0, h1, h2, h3]));
    let pixels = checked_pixels(width.into(), height.into())?;
    Ok((width as usize, height as usize, decode_rvl(data, pixels)?))
}

fn grey16(bytes: &[u8]) -> Result<(usize, usize, Vec<u16>)> {
    match decode(bytes)? {
        DynamicImage::ImageLuma16(image) => {
            let (width, height) = image.dimensions();
            Ok((width as usize, height as usize, image.into_raw()))
        }
        other => Err(DecodeError::new(format!(
            "depth needs a 16-bit grey PNG, and this one is {:?}",
            other.color()
        ))),
    }
}

fn decode(bytes: &[u8]) -> Result<DynamicImage> {
    reader(bytes)?.decode().map_err(|error| DecodeError::new(error.to_string()))
}

fn reader(bytes: &[u8]) -> Result<ImageReader<Cursor<&[u8]>>> {
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| DecodeError::new(error.to_string()))?;
    if !matches!(reader.format(), Some(ImageFormat::Jpeg | ImageFormat::Png)) {
        return Err(DecodeError::new("the data are neither JPEG nor PNG"));
    }
    if reader.format() == Some(ImageFormat::Jpeg) && !jpeg_is_whole(bytes) {
        return Err(DecodeError::new("the JPEG data are cut off"));
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(1 << 15);
    limits.max_image_height = Some(1 << 15);
    limits.max_alloc = Some(1 << 29);
    reader.limits(limits);
    Ok(reader)
}

/// The decoder fills what is missing with grey, so a file without an end is found here.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    let last = |marker: [u8; 2]| bytes.array_windows::<2>().rposition(|pair| *pair == marker);
    last(JPEG_END) > last(JPEG_START_OF_SCAN)
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Luma, Rgb};
    use proptest::prelude::*;

    use super::*;
    use crate::decode::rvl::tests::encode;

    fn file(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn depth_png(values: &[u16]) -> Vec<u8> {
        let image: ImageBuffer<Luma<u16>, _> =
            ImageBuffer::from_raw(values.len() as u32, 1, values.to_vec()).unwrap();
        file(image, ImageFormat::Png)
    }

    fn message(a: f32, b: f32, payload: &[u8]) -> Vec<u8> {
        [&[0; 4], &a.to_le_bytes()[..], &b.to_le_bytes(), payload].concat()
    }

    fn rvl_payload(values: &[u16]) -> Vec<u8> {
        [&(values.len() as u32).to_le_bytes()[..], &1u32.to_le_bytes(), &encode(values)].concat()
    }

    fn textured(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([(x * 7) as u8, (y * 5) as u8, (x * y) as u8]))
    }

    #[test]
    fn png_keeps_its_colours_and_grey_becomes_three() {
        let image = textured(8, 6);
        assert_eq!(color_from_file(&file(image.clone(), ImageFormat::Png)).unwrap(), image);
        let grey: ImageBuffer<Luma<u8>, _> = ImageBuffer::from_pixel(2, 2, Luma([9]));
        let decoded = color_from_file(&file(grey, ImageFormat::Png)).unwrap();
        assert_eq!(decoded.get_pixel(1, 1).0, [9, 9, 9]);
    }

    #[test]
    fn sizes_are_read_without_decoding() {
        let bytes = file(textured(8, 6), ImageFormat::Jpeg);
        assert_eq!(size_of_file(&bytes).unwrap(), (8, 6));
    }

    #[test]
    fn a_cut_off_file_is_an_error_at_every_length() {
        for format in [ImageFormat::Jpeg, ImageFormat::Png] {
            let bytes = file(textured(64, 48), format);
            assert!(color_from_file(&bytes).is_ok());
            for length in (0..bytes.len() - 1).step_by(37) {
                assert!(color_from_file(&bytes[..length]).is_err(), "{format:?} at {length}");
            }
        }
    }

    #[test]
    fn depth_png_is_scaled_and_must_have_16_bits() {
        let depth = depth_from_png(&depth_png(&[0, 5000, 65535]), 1.0 / 5000.0).unwrap();
        assert_eq!(depth.raster().values(), [0.0, 1.0, 65535.0 * (1.0 / 5000.0)]);
        let grey: ImageBuffer<Luma<u8>, _> = ImageBuffer::from_pixel(2, 2, Luma([9]));
        let error = depth_from_png(&file(grey, ImageFormat::Png), 0.001).unwrap_err();
        assert!(error.to_string().contains("16-bit grey PNG"), "{error}");
    }

    #[test]
    fn compressed_depth_is_read_from_png_and_rvl() {
        let values = [0u16, 1000, 2500];
        for payload in [depth_png(&values), rvl_payload(&values)] {
            let data = message(0.0, 0.0, &payload);
            for format in ["16UC1; compressedDepth png", "16UC1; compressedDepth rvl", ""] {
                let depth = compressed_depth(format, &data, 0.001).unwrap();
                assert_eq!(depth.raster().values(), [0.0, 1.0, 2.5]);
            }
        }
    }

    #[test]
    fn compressed_float_depth_is_turned_back_from_inverse_depth() {
        // As the sender does it: depth_max 10 m, 100 steps at 1 m.
        let (a, b) = (100.0 * 101.0, 1.0 - 100.0 * 101.0 / 10.0);
        let quantised = |depth: f32| (a / depth + b) as u16;
        let values = [0, quantised(1.0), quantised(4.0)];
        for payload in [depth_png(&values), rvl_payload(&values)] {
            let depth = compressed_depth("32FC1; compressedDepth", &message(a, b, &payload), 0.001);
            let depth = depth.unwrap();
            for (found, expected) in depth.raster().values().iter().zip([0.0, 1.0, 4.0]) {
                assert!((found - expected).abs() < 1e-2, "{found} for {expected}");
            }
        }
    }

    #[test]
    fn a_declared_size_without_data_is_refused() {
        let payload = [u32::MAX.to_le_bytes(), u32::MAX.to_le_bytes()].concat();
        let error = compressed_depth("", &message(0.0, 0.0, &payload), 0.001).unwrap_err();
        assert!(error.to_string().contains("cannot be"), "{error}");
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(compressed_depth("32FC1", &data, 0.001).is_err() || data.len() > 20);
            prop_assert!(color_from_file(&data).is_err());
        }

        #[test]
        fn damaged_png_never_panics(position in 8usize..60, value in any::<u8>()) {
            let mut bytes = depth_png(&[1, 2, 3, 4, 5]);
            let position = position % bytes.len();
            bytes[position] = value;
            let changed = depth_from_png(&bytes, 1.0);
            prop_assert!(changed.is_err() || !changed.unwrap().raster().values().is_empty());
        }
    }
}
