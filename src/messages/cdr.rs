//! ROS messages as they lie in a bag: plain CDR of either byte order.
//!
//! Structs end where nothing after is needed. Byte arrays borrow from the message, because serde
//! would read a vector byte by byte. Fields are named and meant as in the message definitions.
#![allow(missing_docs)]

use byteorder::{BigEndian, LittleEndian};
use serde::Deserialize;

use crate::stamp::Stamp;

/// A time.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Time {
    sec: i32,
    nanosec: u32,
}

impl From<Time> for Stamp {
    fn from(time: Time) -> Self {
        Stamp::from_nanos(i64::from(time.sec) * 1_000_000_000 + i64::from(time.nanosec))
    }
}

/// Time and frame of a message.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Header {
    pub stamp: Time,
    pub frame_id: String,
}

/// The beginning of every message with a header.
#[derive(Debug, Deserialize)]
pub struct Stamped {
    pub header: Header,
}

/// `sensor_msgs/Image`.
#[derive(Debug, Deserialize)]
pub struct Image<'a> {
    pub header: Header,
    pub height: u32,
    pub width: u32,
    pub encoding: String,
    pub is_bigendian: u8,
    pub step: u32,
    #[serde(borrow)]
    pub data: &'a [u8],
}

/// `sensor_msgs/CompressedImage`.
#[derive(Debug, Deserialize)]
pub struct CompressedImage<'a> {
    pub header: Header,
    pub format: String,
    #[serde(borrow)]
    pub data: &'a [u8],
}

/// `sensor_msgs/CameraInfo`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct CameraInfo {
    pub header: Header,
    pub height: u32,
    pub width: u32,
    pub distortion_model: String,
    pub d: Vec<f64>,
    pub k: [f64; 9],
    pub r: [f64; 9],
    pub p: [f64; 12],
    pub binning_x: u32,
    pub binning_y: u32,
    pub roi: RegionOfInterest,
}

/// `sensor_msgs/RegionOfInterest`, without its last field.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct RegionOfInterest {
    pub x_offset: u32,
    pub y_offset: u32,
    pub height: u32,
    pub width: u32,
}

/// `geometry_msgs/Vector3` or `Point`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Vector3 {
    pub x: f64,
    pub y: f64,
    pub z: f64,
}

/// `geometry_msgs/Quaternion`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Quaternion {
    pub x: f64,
    pub y: f64,
    pub z: f64,
    pub w: f64,
}

/// `nav_msgs/Odometry`, its pose.
#[derive(Debug, Deserialize)]
pub struct Odometry {
    pub header: Header,
    pub child_frame_id: String,
    pub position: Vector3,
    pub orientation: Quaternion,
    pub covariance: [[f64; 6]; 6],
}

/// `tf2_msgs/TFMessage`.
#[derive(Debug, Deserialize)]
pub struct TfMessage {
    pub transforms: Vec<TransformStamped>,
}

/// `geometry_msgs/TransformStamped`.
#[derive(Debug, Deserialize)]
pub struct TransformStamped {
    pub header: Header,
    pub child_frame_id: String,
    pub translation: Vector3,
    pub rotation: Quaternion,
}

/// Returns the message that `data`, with their encapsulation header, hold.
pub fn decode<'a, T: Deserialize<'a>>(data: &'a [u8]) -> Result<T, String> {
    let damaged = |error: cdr_encoding::Error| format!("the message is damaged: {error}");
    match data.split_first_chunk::<4>() {
        Some(([0, 0, ..], body)) => {
            cdr_encoding::from_bytes::<T, BigEndian>(body).map(|(m, _)| m).map_err(damaged)
        }
        Some(([0, 1, ..], body)) => {
            cdr_encoding::from_bytes::<T, LittleEndian>(body).map(|(m, _)| m).map_err(damaged)
        }
        Some(([a, b, ..], _)) => {
            Err(format!("the message is encoded as {a:02x}{b:02x}, and only plain CDR can be read"))
        }
        None => Err("the message is shorter than its header".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_byte_orders_are_read() {
        let le = [0, 1, 0, 0, 5, 0, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0, b'a', 0];
        let be = [0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 7, 0, 0, 0, 2, b'a', 0];
        for data in [le, be] {
            let header = decode::<Stamped>(&data).unwrap().header;
            assert_eq!(Stamp::from(header.stamp), Stamp::from_nanos(5_000_000_007));
            assert_eq!(header.frame_id, "a");
        }
    }

    #[test]
    fn other_encodings_and_short_messages_are_told() {
        let error = decode::<Stamped>(&[0, 3, 0, 0, 1]).unwrap_err();
        assert!(error.contains("0003"), "{error}");
        assert!(decode::<Stamped>(&[0, 1]).unwrap_err().contains("shorter"));
        assert!(decode::<Stamped>(&[0, 1, 0, 0, 1]).unwrap_err().contains("damaged"));
    }

    #[test]
    fn a_declared_length_beyond_the_data_is_an_error() {
        let mut data = vec![0, 1, 0, 0];
        data.extend(u32::MAX.to_le_bytes());
        assert!(decode::<TfMessage>(&data).is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..400), kind in 0u8..2) {
            let data = [&[0, kind, 0, 0][..], &body].concat();
            if let Ok(image) = decode::<Image>(&data) {
                prop_assert!(image.data.len() <= data.len());
            }
            if let Ok(image) = decode::<CompressedImage>(&data) {
                prop_assert!(image.data.len() <= data.len());
            }
            if let Ok(message) = decode::<TfMessage>(&data) {
                prop_assert!(message.transforms.len() * 20 <= data.len());
            }
            prop_assert!(decode::<CameraInfo>(&data).is_err() || body.len() > 300);
            prop_assert!(decode::<Odometry>(&data).is_err() || body.len() > 340);
        }
    }
}
