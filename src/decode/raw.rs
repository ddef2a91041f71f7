//! Uncompressed images as in `sensor_msgs/Image`.

use image::RgbImage;

use super::{DecodeError, Result, bayer, checked_pixels};
use crate::frame::DepthImage;
use crate::raster::Raster;

/// An uncompressed image that has not been looked at yet.
#[derive(Debug, Clone, Copy)]
pub struct RawImage<'a> {
    /// ROS's name of the pixel format, e.g. `bgr8`.
    pub encoding: &'a str,
    /// Number of columns.
    pub width: u32,
    /// Number of rows.
    pub height: u32,
    /// Bytes from one row to the next.
    pub step: u32,
    /// Whether values of several bytes have their highest byte first.
    pub is_bigendian: bool,
    /// The rows.
    pub data: &'a [u8],
}

impl<'a> RawImage<'a> {
    /// Returns the rows without padding if all of them are there.
    pub(super) fn rows(
        &self,
        bytes_per_pixel: usize,
    ) -> Result<impl Iterator<Item = &'a [u8]> + use<'a>> {
        checked_pixels(self.width.into(), self.height.into())?;
        let row = self.width as usize * bytes_per_pixel;
        let (step, height) = (self.step as usize, self.height as usize);
        if step < row {
            return Err(DecodeError::new(format!(
                "a row of {} pixels in {} takes {row} bytes, but step is {step}",
                self.width, self.encoding
            )));
        }
        let needed = step * (height - 1) + row;
        if self.data.len() < needed {
            return Err(DecodeError::new(format!(
                "{}x{} pixels in {} take {needed} bytes, but there are {}",
                self.width,
                self.height,
                self.encoding,
                self.data.len()
            )));
        }
        Ok(self.data.chunks(step).take(height).map(move |line| &line[..row]))
    }

    /// Returns the offset of the highest byte in a value of two.
    pub(super) fn high_byte(&self) -> usize {
        usize::from(!self.is_bigendian)
    }
}

/// Returns whether images of this encoding hold depth: `16UC1` or `32FC1`.
pub fn is_depth_encoding(encoding: &str) -> bool {
    matches!(encoding, "16UC1" | "32FC1")
}

/// Returns the colours of an image; grey becomes red, green and blue, of 16 bits the upper 8 stay.
///
/// # Errors
/// Where the encoding is not one of colour, or the data are shorter than the size asks for.
pub fn raw_color(image: &RawImage<'_>) -> Result<RgbImage> {
    if let Some(bayer) = image.encoding.strip_prefix("bayer_") {
        return bayer::demosaic(image, bayer);
    }
    if let Some(luma_first) = yuv422_luma_first(image.encoding) {
        return yuv422_color(image, luma_first);
    }
    let (bytes_per_pixel, offsets) = interleaved(image).ok_or_else(|| {
        DecodeError::new(format!(
            "encoding '{}' is not a colour that can be read (rgb8, bgr8, rgba8, bgra8, rgb16, \
             bgr16, mono8, mono16, 8UC1, 8UC3, 8UC4, yuv422, yuv422_yuy2, bayer_*8, bayer_*16)",
            image.encoding
        ))
    })?;
    let rows = image.rows(bytes_per_pixel)?;
    let mut colors = Vec::with_capacity(image.width as usize * image.height as usize * 3);
    for row in rows {
        if (bytes_per_pixel, offsets) == (3, [0, 1, 2]) {
            colors.extend_from_slice(row);
        } else {
            colors.extend(
                row.chunks_exact(bytes_per_pixel).flat_map(|pixel| offsets.map(|o| pixel[o])),
            );
        }
    }
    rgb_image(image.width, image.height, colors)
}

/// Returns the depths of an image: `16UC1` (or `mono16`) in `metres_per_unit`, `32FC1` in metres.
///
/// # Errors
/// Where the encoding is another, or the data are shorter than the size asks for.
pub fn raw_depth(image: &RawImage<'_>, metres_per_unit: f64) -> Result<DepthImage> {
    let scale = metres_per_unit as f32;
    match (image.encoding, image.is_bigendian) {
        ("16UC1" | "mono16", false) => {
            depth_values(image, |value: [u8; 2]| f32::from(u16::from_le_bytes(value)) * scale)
        }
        ("16UC1" | "mono16", true) => {
            depth_values(image, |value: [u8; 2]| f32::from(u16::from_be_bytes(value)) * scale)
        }
        ("32FC1", false) => depth_values(image, f32::from_le_bytes),
        ("32FC1", true) => depth_values(image, f32::from_be_bytes),
        (encoding, _) => {
            Err(DecodeError::new(format!("encoding '{encoding}' is not depth (16UC1, 32FC1)")))
        }
    }
}

fn depth_values<const N: usize>(
    image: &RawImage<'_>,
    metres: impl Fn([u8; N]) -> f32,
) -> Result<DepthImage> {
    let rows = image.rows(N)?;
    let mut values = Vec::with_capacity(image.width as usize * image.height as usize);
    for row in rows {
        values.extend(row.as_chunks::<N>().0.iter().map(|&value| metres(value)));
    }
    depth_image(image.width as usize, image.height as usize, values)
}

/// Returns the bytes of a pixel and where in them red, green and blue lie.
fn interleaved(image: &RawImage<'_>) -> Option<(usize, [usize; 3])> {
    let high = image.high_byte();
    Some(match image.encoding {
        "rgb8" => (3, [0, 1, 2]),
        // OpenCV's generic types carry OpenCV's order.
        "bgr8" | "8UC3" => (3, [2, 1, 0]),
        "rgba8" => (4, [0, 1, 2]),
        "bgra8" | "8UC4" => (4, [2, 1, 0]),
        "mono8" | "8UC1" => (1, [0, 0, 0]),
        "mono16" => (2, [high; 3]),
        "rgb16" => (6, [high, 2 + high, 4 + high]),
        "bgr16" => (6, [4 + high, 2 + high, high]),
        _ => return None,
    })
}

/// Returns whether brightness comes before colour difference, for the encodings of that family.
fn yuv422_luma_first(encoding: &str) -> Option<bool> {
    match encoding {
        "yuv422" | "uyvy" => Some(false),
        "yuv422_yuy2" | "yuyv" => Some(true),
        _ => None,
    }
}

fn yuv422_color(image: &RawImage<'_>, luma_first: bool) -> Result<RgbImage> {
    if !image.width.is_multiple_of(2) {
        return Err(DecodeError::new(format!("{} needs an even width", image.encoding)));
    }
    let rows = image.rows(2)?;
    let mut colors = Vec::with_capacity(image.width as usize * image.height as usize * 3);
    for row in rows {
        for &[a, b, c, d] in row.as_chunks::<4>().0 {
            let [first, u, second, v] = if luma_first { [a, b, c, d] } else { [b, a, d, c] };
            colors.extend(yuv_to_rgb(first, u, v));
            colors.extend(yuv_to_rgb(second, u, v));
        }
    }
    rgb_image(image.width, image.height, colors)
}

/// BT.601, limited range, as OpenCV converts it.
fn yuv_to_rgb(y: u8, u: u8, v: u8) -> [u8; 3] {
    let y = 1.164 * (f32::from(y) - 16.0);
    let (u, v) = (f32::from(u) - 128.0, f32::from(v) - 128.0);
    [y + 1.596 * v, y - 0.813 * v - 0.391 * u, y + 2.018 * u].map(|c| c.round() as u8)
}

/// Returns the colour image of exactly fitting values.
pub(super) fn rgb_image(width: u32, height: u32, colors: Vec<u8>) -> Result<RgbImage> {
    RgbImage::from_raw(width, height, colors)
        .ok_or_else(|| DecodeError::new("fewer colours than pixels"))
}

/// Returns the depth image of exactly fitting values.
pub(super) fn depth_image(width: usize, height: usize, metres: Vec<f32>) -> Result<DepthImage> {
    let raster =
        Raster::new(width, height, metres).map_err(|error| DecodeError::new(error.to_string()))?;
    Ok(DepthImage::new(raster))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image<'a>(encoding: &'a str, width: u32, step: u32, data: &'a [u8]) -> RawImage<'a> {
        let height = (data.len() as u32).div_ceil(step);
        RawImage { encoding, width, height, step, is_bigendian: false, data }
    }

    #[test]
    fn every_colour_encoding_gives_its_red_green_and_blue() {
        let cases: [(&str, &[u8], [u8; 3]); 11] = [
            ("rgb8", &[1, 2, 3], [1, 2, 3]),
            ("bgr8", &[1, 2, 3], [3, 2, 1]),
            ("8UC3", &[1, 2, 3], [3, 2, 1]),
            ("rgba8", &[1, 2, 3, 9], [1, 2, 3]),
            ("bgra8", &[1, 2, 3, 9], [3, 2, 1]),
            ("8UC4", &[1, 2, 3, 9], [3, 2, 1]),
            ("mono8", &[7], [7, 7, 7]),
            ("8UC1", &[7], [7, 7, 7]),
            ("mono16", &[0xff, 7], [7, 7, 7]),
            ("rgb16", &[9, 1, 9, 2, 9, 3], [1, 2, 3]),
            ("bgr16", &[9, 1, 9, 2, 9, 3], [3, 2, 1]),
        ];
        for (encoding, data, expected) in cases {
            let decoded = raw_color(&image(encoding, 1, data.len() as u32, data)).unwrap();
            assert_eq!(decoded.get_pixel(0, 0).0, expected, "{encoding}");
        }
    }

    #[test]
    fn yuv_white_and_red_come_out_in_both_orders() {
        for (encoding, data) in
            [("yuv422_yuy2", [235, 128, 81, 128]), ("yuv422", [128, 235, 128, 81])]
        {
            let decoded = raw_color(&image(encoding, 2, 4, &data)).unwrap();
            assert_eq!(decoded.get_pixel(0, 0).0, [255; 3], "{encoding}");
            assert_eq!(decoded.get_pixel(1, 0).0, [76; 3], "{encoding}");
        }
    }

    #[test]
    fn padding_at_the_end_of_rows_is_left_out() {
        let data = [1, 2, 99, 99, 3, 4];
        let decoded = raw_color(&image("mono8", 2, 4, &data)).unwrap();
        let grey: Vec<u8> = decoded.pixels().map(|p| p.0[0]).collect();
        assert_eq!(grey, [1, 2, 3, 4]);
    }

    #[test]
    fn depth_follows_its_byte_order_and_unit() {
        let le = RawImage { is_bigendian: false, ..image("16UC1", 1, 2, &[0xd0, 0x07]) };
        let be = RawImage { is_bigendian: true, data: &[0x07, 0xd0], ..le };
        for raw in [le, be] {
            assert_eq!(raw_depth(&raw, 0.001).unwrap().raster().values(), [2.0]);
        }
        let bytes = 1.5f32.to_be_bytes();
        let float = RawImage { is_bigendian: true, ..image("32FC1", 1, 4, &bytes) };
        assert_eq!(raw_depth(&float, 0.001).unwrap().raster().values(), [1.5]);
    }

    #[test]
    fn nan_infinite_and_negative_depth_is_none() {
        let bytes: Vec<u8> = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, 2.0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let decoded = raw_depth(&image("32FC1", 5, 20, &bytes), 0.001).unwrap();
        assert_eq!(decoded.raster().values(), [0.0, 0.0, 0.0, 0.0, 2.0]);
    }

    #[test]
    fn what_does_not_fit_is_told_in_numbers() {
        let short = RawImage { height: 3, ..image("rgb8", 2, 6, &[0; 12]) };
        let cases = [
            (short, "2x3 pixels in rgb8 take 18 bytes, but there are 12"),
            (image("rgb8", 2, 4, &[0; 8]), "takes 6 bytes, but step is 4"),
            (image("nv12", 2, 4, &[0; 8]), "encoding 'nv12'"),
            (RawImage { width: 0, ..short }, "0x3"),
            (RawImage { width: u32::MAX, height: u32::MAX, ..short }, "cannot be"),
        ];
        for (raw, expected) in cases {
            let error = raw_color(&raw).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(raw_depth(&short, 0.001).unwrap_err().to_string().contains("'rgb8' is not depth"));
    }
}
