//! From the bytes of one image to colour or depth.
//!
//! Everything here works on plain arguments (an encoding's name, a size, bytes), so that a
//! recording and a live topic are decoded by the same code. Names of encodings are those of
//! `sensor_msgs/Image` and `sensor_msgs/CompressedImage`. Declared sizes are compared with the
//! data before anything is allocated.

mod bayer;
mod compressed;
mod raw;
mod rvl;

pub use compressed::{color_from_file, compressed_depth, depth_from_png, size_of_file};
pub use raw::{RawImage, is_depth_encoding, raw_color, raw_depth};
pub use rvl::decode_rvl;

/// Why bytes are not an image: a sentence without file or topic, which the caller knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(String);

impl DecodeError {
    fn new(reason: impl Into<String>) -> Self {
        Self(reason.into().trim().replace('\n', " "))
    }
}

/// The result of decoding.
pub type Result<T> = std::result::Result<T, DecodeError>;

/// More pixels than any camera has: a declared size beyond this is damage.
const MAX_PIXELS: u64 = 1 << 26;

/// Returns the number of pixels of an image that is neither empty nor absurdly large.
fn checked_pixels(width: u64, height: u64) -> Result<usize> {
    match width.checked_mul(height) {
        Some(pixels) if pixels > 0 && pixels <= MAX_PIXELS => Ok(pixels as usize),
        _ => Err(DecodeError::new(format!("an image of {width}x{height} pixels cannot be"))),
    }
}
