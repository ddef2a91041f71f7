//! Colour images of keyframes.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, ImageResult, RgbImage};

/// Quality of JPEG images, at which tracking is hardly worse.
const JPEG_QUALITY: u8 = 95;

/// How the images of keyframes are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImageQuality {
    /// As they are (PNG).
    #[default]
    Lossless,
    /// JPEG at quality 95: about a third of the bytes.
    Jpeg,
}

/// Returns an image as a PNG or a JPEG file.
pub fn encode(image: &RgbImage, quality: ImageQuality) -> ImageResult<Vec<u8>> {
    let mut bytes = Vec::new();
    let (width, height, kind) = (image.width(), image.height(), ExtendedColorType::Rgb8);
    match quality {
        ImageQuality::Lossless => {
            PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive)
                .write_image(image.as_raw(), width, height, kind)?;
        }
        ImageQuality::Jpeg => JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).write_image(
            image.as_raw(),
            width,
            height,
            kind,
        )?,
    }
    Ok(bytes)
}

/// Returns the image in a PNG or JPEG file.
pub fn decode(bytes: &[u8]) -> ImageResult<RgbImage> {
    let reader = image::ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    Ok(reader.decode()?.into_rgb8())
}
