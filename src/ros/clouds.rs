//! Clouds as `sensor_msgs/PointCloud2` lays them out.

use crate::cloud::PointCloud;

/// `sensor_msgs/PointField` of a 32-bit float.
pub const FLOAT32: u8 = 7;
/// Name and offset of each field; all are single 32-bit floats.
pub const FIELDS: [(&str, u32); 4] = [("x", 0), ("y", 4), ("z", 8), ("rgb", 12)];
/// Bytes of a point.
pub const POINT_STEP: u32 = 16;

/// Returns the bytes of an unordered cloud, little-endian: x, y, z in metres, then the colour as
/// the bits of a float, `0x00RRGGBB`, as PCL and rviz read it.
pub fn cloud_bytes(cloud: &PointCloud) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(cloud.len() * POINT_STEP as usize);
    for (index, point) in cloud.points.iter().enumerate() {
        for value in point.iter() {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        let [red, green, blue] = cloud.colors.get(index).copied().unwrap_or([255; 3]);
        bytes.extend_from_slice(&[blue, green, red, 0]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use nalgebra::Point3;

    use super::*;

    #[test]
    fn the_layout_is_that_of_the_fields() {
        let cloud = PointCloud {
            points: vec![Point3::new(1.0, -2.0, 0.5), Point3::new(0.0, 0.25, 3.0)],
            colors: vec![[0x12, 0x34, 0x56], [255, 0, 1]],
        };
        let bytes = cloud_bytes(&cloud);
        assert_eq!(bytes.len(), 2 * POINT_STEP as usize);
        let word =
            |offset: usize| u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap());
        assert_eq!(word(4), (-2.0_f32).to_bits());
        assert_eq!(word(12), 0x0012_3456);
        assert_eq!(word(24), 3.0_f32.to_bits());
        assert_eq!(word(28), 0x00ff_0001);
        assert_eq!(FIELDS.last().unwrap().1 + 4, POINT_STEP);
    }
}
