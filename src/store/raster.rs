//! Depths and confidences as 16-bit logarithms.
//!
//! Differences between neighbours, their low and their high bytes apart, compress well.

use super::bytes::Reader;

/// Smallest depth that is told apart from none, metres.
const LEAST_DEPTH_M: f64 = 0.001;
/// Step of a depth's logarithm.
const DEPTH_STEP: f64 = 2e-4;
/// Confidences below this are kept as this.
const LEAST_CONFIDENCE: f64 = 1e-9;
/// Step of a confidence's logarithm.
const CONFIDENCE_STEP: f64 = 2e-3;
/// How hard to compress: higher levels gain little on noise.
const LEVEL: i32 = 1;

/// Largest error of a depth between a millimetre and 490 m, as a share of it.
pub const DEPTH_ERROR_FRAC: f64 = 1.01e-4;
/// Largest error of a confidence, as a share of it.
pub const CONFIDENCE_ERROR_FRAC: f64 = 1.01e-3;

/// A scale of logarithms; code 0 is "none".
#[derive(Debug, Clone, Copy)]
struct Scale {
    least: f64,
    step: f64,
}

const DEPTH: Scale = Scale { least: LEAST_DEPTH_M, step: DEPTH_STEP };
const CONFIDENCE: Scale = Scale { least: LEAST_CONFIDENCE, step: CONFIDENCE_STEP };

impl Scale {
    fn code(self, value: f32) -> u16 {
        if !(value > 0.0 && value.is_finite()) {
            return 0;
        }
        let steps = (f64::from(value) / self.least).ln() / self.step;
        steps.round().clamp(0.0, 65534.0) as u16 + 1
    }

    /// All values, by code.
    fn values(self) -> Vec<f32> {
        let value = |code: u32| self.least * (f64::from(code - 1) * self.step).exp();
        std::iter::once(0.0).chain((1..=65535).map(|code| value(code) as f32)).collect()
    }
}

/// Turns codes back into values.
pub struct Decoder {
    depths: Vec<f32>,
    confidences: Vec<f32>,
}

impl Decoder {
    /// Returns a decoder.
    pub fn new() -> Self {
        Self { depths: DEPTH.values(), confidences: CONFIDENCE.values() }
    }

    /// Returns `count` depths (metres, 0 = none), or `None` where the blob does not hold them.
    pub fn depths(&self, blob: &[u8], count: usize) -> Option<Vec<f32>> {
        decode(blob, count, &self.depths)
    }

    /// Returns `count` confidences (0 = none), or `None` where the blob does not hold them.
    pub fn confidences(&self, blob: &[u8], count: usize) -> Option<Vec<f32>> {
        decode(blob, count, &self.confidences)
    }
}

/// Returns the blob of some depths, metres.
pub fn of_depths(metres: impl Iterator<Item = f32>) -> std::io::Result<Vec<u8>> {
    encode(&metres.map(|v| DEPTH.code(v)).collect::<Vec<u16>>())
}

/// Returns the blob of some confidences.
pub fn of_confidences(values: impl Iterator<Item = f32>) -> std::io::Result<Vec<u8>> {
    encode(&values.map(|v| CONFIDENCE.code(v)).collect::<Vec<u16>>())
}

/// First a bit for each code that is not zero, then the differences of those.
fn encode(codes: &[u16]) -> std::io::Result<Vec<u8>> {
    let mut planes = vec![0u8; codes.len().div_ceil(8)];
    let (mut low, mut high) = (Vec::with_capacity(codes.len()), Vec::with_capacity(codes.len()));
    let mut last = 0u16;
    for (i, &code) in codes.iter().enumerate().filter(|(_, code)| **code != 0) {
        planes[i / 8] |= 1 << (i % 8);
        let [a, b] = zigzag(code.wrapping_sub(last)).to_le_bytes();
        low.push(a);
        high.push(b);
        last = code;
    }
    planes.append(&mut low);
    planes.append(&mut high);
    zstd::bulk::compress(&planes, LEVEL)
}

fn decode(blob: &[u8], count: usize, values: &[f32]) -> Option<Vec<f32>> {
    let mask_bytes = count.div_ceil(8);
    let planes = zstd::bulk::decompress(blob, mask_bytes + 2 * count).ok()?;
    let mut reader = Reader(&planes);
    let mask = reader.take(mask_bytes)?;
    let known = mask.iter().map(|byte| byte.count_ones() as usize).sum();
    let (low, high) = (reader.take(known)?, reader.take(known)?);
    let mut differences = low.iter().zip(high).map(|(&a, &b)| unzigzag(u16::from_le_bytes([a, b])));
    let mut last = 0u16;
    let mut found = vec![0.0; count];
    for (bits, eight) in mask.iter().zip(found.chunks_mut(8)) {
        let is_known = |(bit, _): &(usize, &mut f32)| bits & (1 << bit) != 0;
        for (_, value) in eight.iter_mut().enumerate().filter(is_known) {
            last = last.wrapping_add(differences.next()?);
            *value = values[usize::from(last)];
        }
    }
    Some(found)
}

/// Small differences of either sign as small numbers.
fn zigzag(difference: u16) -> u16 {
    let signed = difference as i16;
    ((signed << 1) ^ (signed >> 15)) as u16
}

fn unzigzag(code: u16) -> u16 {
    (code >> 1) ^ (code & 1).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_difference_comes_back() {
        assert!((0..=u16::MAX).all(|d| unzigzag(zigzag(d)) == d));
    }

    proptest! {
        #[test]
        fn depths_and_confidences_come_back_within_the_stated_error(
            depths in proptest::collection::vec(
                prop_oneof![Just(0.0f32), 0.001f32..490.0, 0.3f32..6.0], 0..300),
            confidences in proptest::collection::vec(
                prop_oneof![Just(0.0f32), 1e-6f32..1e12], 0..300),
        ) {
            let decoder = Decoder::new();
            let blob = of_depths(depths.iter().copied()).unwrap();
            let found = decoder.depths(&blob, depths.len()).unwrap();
            for (found, depth) in found.iter().zip(&depths) {
                prop_assert!(f64::from((found - depth).abs()) <= DEPTH_ERROR_FRAC * f64::from(*depth));
            }
            let blob = of_confidences(confidences.iter().copied()).unwrap();
            let found = decoder.confidences(&blob, confidences.len()).unwrap();
            for (found, value) in found.iter().zip(&confidences) {
                let error = f64::from((found - value).abs());
                prop_assert!(error <= CONFIDENCE_ERROR_FRAC * f64::from(*value));
            }
        }

        #[test]
        fn bytes_that_are_no_depths_are_refused_and_nothing_else(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), count in 0usize..100,
        ) {
            if let Some(found) = Decoder::new().depths(&bytes, count) {
                prop_assert_eq!(found.len(), count);
            }
        }
    }

    #[test]
    fn what_is_not_a_depth_is_none() {
        let odd = [f32::NAN, f32::INFINITY, -1.0, 0.0, 1e9];
        let blob = of_depths(odd.into_iter()).unwrap();
        let found = Decoder::new().depths(&blob, 5).unwrap();
        assert_eq!(found[..4], [0.0; 4]);
        assert!(found[4] > 480.0, "the furthest that there is: {}", found[4]);
    }
}
