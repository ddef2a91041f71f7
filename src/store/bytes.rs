//! Numbers as bytes, little-endian, and back.

use nalgebra::{Quaternion, Translation3, UnitQuaternion};

use crate::geometry::Se3;

/// Reads from the front of a blob.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// Returns the next `count` bytes, or `None` where there are fewer.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// Returns the next number.
    pub fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    /// Returns the next `count` numbers.
    pub fn f32s(&mut self, count: usize) -> Option<Vec<f32>> {
        let bytes = self.take(count.checked_mul(4)?)?;
        Some(bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
    }
}

/// Returns the bytes of some numbers.
pub fn of_f64s(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Returns the bytes of some numbers.
pub fn of_f32s(values: impl Iterator<Item = f32>) -> Vec<u8> {
    values.flat_map(f32::to_le_bytes).collect()
}

/// Returns the finite numbers that bytes hold, or `None` for another count or other numbers.
pub fn f64s<const N: usize>(bytes: &[u8]) -> Option<[f64; N]> {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let values: [f64; N] =
        std::array::from_fn(|i| chunks.get(i).map_or(f64::NAN, |chunk| f64::from_le_bytes(*chunk)));
    let whole = rest.is_empty() && chunks.len() == N && values.iter().all(|v| v.is_finite());
    whole.then_some(values)
}

/// Returns a pose as seven numbers: tx ty tz qx qy qz qw.
pub fn of_pose(pose: &Se3) -> [f64; 7] {
    let (t, q) = (pose.translation.vector, pose.rotation.coords);
    [t.x, t.y, t.z, q.x, q.y, q.z, q.w]
}

/// Returns the pose of seven numbers, or `None` where its quaternion is no rotation.
pub fn pose([tx, ty, tz, x, y, z, w]: [f64; 7]) -> Option<Se3> {
    let quaternion = Quaternion::new(w, x, y, z);
    // What was written is of unit length; normalising it again would change its last bits.
    let is_unit = (quaternion.norm_squared() - 1.0).abs() < 1e-9;
    let rotation = UnitQuaternion::new_unchecked(quaternion);
    is_unit.then(|| Se3::from_parts(Translation3::new(tx, ty, tz), rotation))
}

/// A number that is written out so that it comes back to the last bit, in JSON as text: its readers
/// round numbers.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Exact(pub f64);

impl From<Exact> for String {
    fn from(Exact(value): Exact) -> Self {
        format!("{value:?}")
    }
}

impl TryFrom<String> for Exact {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let value = text.parse().ok().filter(|value: &f64| value.is_finite());
        value.map(Self).ok_or_else(|| format!("'{text}' is no number"))
    }
}
