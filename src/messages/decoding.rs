//! From messages to images.

use image::RgbImage;

use super::cdr;
use crate::decode::{
    DecodeError, RawImage, color_from_file, compressed_depth, depth_from_png, raw_color, raw_depth,
};
use crate::frame::DepthImage;

/// What kind of image messages a topic has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFormat {
    /// `sensor_msgs/Image`.
    Raw,
    /// `sensor_msgs/CompressedImage` with a JPEG or PNG file.
    File,
    /// `sensor_msgs/CompressedImage` of `compressed_depth_image_transport`.
    CompressedDepth,
}

/// A topic of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageTopic {
    /// Its name, for messages to people.
    pub name: String,
    /// What its messages are.
    pub format: ImageFormat,
    /// Whether its images hold depth.
    pub is_depth: bool,
    /// The frame of its first image, where that can be read.
    pub frame_id: Option<String>,
}

/// Returns the colours of a message, or a sentence that names the topic.
pub fn color(topic: &ImageTopic, data: &[u8]) -> Result<RgbImage, String> {
    let decoded = match topic.format {
        ImageFormat::Raw => raw(topic, data, raw_color)?,
        ImageFormat::File | ImageFormat::CompressedDepth => {
            color_from_file(compressed(topic, data)?.data)
        }
    };
    decoded.map_err(|error| about(topic, &error.to_string()))
}

/// Returns the depths of a message, or a sentence that names the topic.
pub fn depth(topic: &ImageTopic, data: &[u8], metres_per_unit: f64) -> Result<DepthImage, String> {
    let decoded = match topic.format {
        ImageFormat::Raw => raw(topic, data, |image| raw_depth(image, metres_per_unit))?,
        ImageFormat::File => depth_from_png(compressed(topic, data)?.data, metres_per_unit),
        ImageFormat::CompressedDepth => {
            let message = compressed(topic, data)?;
            compressed_depth(&message.format, message.data, metres_per_unit)
        }
    };
    decoded.map_err(|error| about(topic, &error.to_string()))
}

fn raw<T>(
    topic: &ImageTopic,
    data: &[u8],
    decode: impl Fn(&RawImage<'_>) -> Result<T, DecodeError>,
) -> Result<Result<T, DecodeError>, String> {
    let message: cdr::Image<'_> = cdr::decode(data).map_err(|error| about(topic, &error))?;
    Ok(decode(&RawImage {
        encoding: &message.encoding,
        width: message.width,
        height: message.height,
        step: message.step,
        is_bigendian: message.is_bigendian != 0,
        data: message.data,
    }))
}

fn compressed<'a>(topic: &ImageTopic, data: &'a [u8]) -> Result<cdr::CompressedImage<'a>, String> {
    cdr::decode(data).map_err(|error| about(topic, &error))
}

fn about(topic: &ImageTopic, reason: &str) -> String {
    format!("{}: {reason}", topic.name)
}
