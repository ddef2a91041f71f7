//! Features of keyframes: descriptors in eight bits, signatures in half precision.

use half::f16;

use super::bytes::{Reader, of_f32s};
use crate::recognition::KeyframeFeatures;

/// Returns the blob of a keyframe's features.
pub fn encode(features: &KeyframeFeatures) -> Vec<u8> {
    let keypoints = features.pixels.len();
    let dim = features.descriptors.len().checked_div(keypoints).unwrap_or(0);
    let mut blob = Vec::with_capacity(12 + keypoints * (12 + dim) + 2 * features.signature.len());
    for count in [keypoints, dim, features.signature.len()] {
        blob.extend((count as u32).to_le_bytes());
    }
    blob.extend(of_f32s(features.pixels.iter().flatten().copied()));
    let rows = || features.descriptors.chunks_exact(dim.max(1));
    blob.extend(of_f32s(rows().map(scale_of)));
    for row in rows() {
        let scale = scale_of(row);
        blob.extend(row.iter().map(|&v| code_of(v, scale)));
    }
    blob.extend(features.signature.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()));
    blob
}

/// Returns the features that a blob holds, or `None` where it does not hold any.
pub fn decode(blob: &[u8]) -> Option<KeyframeFeatures> {
    let mut reader = Reader(blob);
    let mut count = || reader.u32().map(|count| count as usize);
    let (keypoints, dim, numbers) = (count()?, count()?, count()?);
    let pixels = reader.f32s(keypoints.checked_mul(2)?)?;
    let scales = reader.f32s(keypoints)?;
    let codes = reader.take(keypoints.checked_mul(dim)?)?;
    let signature = reader.take(numbers.checked_mul(2)?)?;
    let rows = scales.iter().zip(codes.chunks_exact(dim.max(1)));
    let is_finite = pixels.iter().chain(&scales).all(|v| v.is_finite());
    (is_finite && reader.0.is_empty()).then(|| KeyframeFeatures {
        pixels: pixels.as_chunks::<2>().0.to_vec(),
        descriptors: rows
            .flat_map(|(scale, row)| row.iter().map(move |&code| f32::from(code as i8) * scale))
            .collect(),
        signature: signature
            .as_chunks::<2>()
            .0
            .iter()
            .map(|b| f16::from_le_bytes(*b).to_f32())
            .collect(),
    })
}

/// What one step of a descriptor's codes is worth: a power of two, so that values which have been
/// through it once come back as they are.
fn scale_of(row: &[f32]) -> f32 {
    let most = row.iter().fold(0.0f32, |most, v| most.max(v.abs())).clamp(1e-12, 1e12);
    2.0f32.powi(most.log2().floor() as i32 - 6)
}

fn code_of(value: f32, scale: f32) -> u8 {
    (value / scale).round().clamp(-127.0, 127.0) as i8 as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(keypoints: usize, dim: usize) -> KeyframeFeatures {
        let wave = |i: usize| (i as f32 * 0.7).sin() + 0.1;
        let rows = (0..keypoints).flat_map(|k| {
            let row: Vec<f32> = (0..dim).map(|i| wave(k * dim + i)).collect();
            let length = row.iter().map(|v| v * v).sum::<f32>().sqrt();
            row.into_iter().map(move |v| v / length)
        });
        KeyframeFeatures {
            pixels: (0..keypoints).map(|k| [k as f32 * 0.37, wave(k)]).collect(),
            descriptors: rows.collect(),
            signature: (0..dim).map(|i| 0.05 * wave(i)).collect(),
        }
    }

    #[test]
    fn features_come_back_and_descriptors_still_match() {
        for (keypoints, dim) in [(0, 64), (1, 64), (50, 64), (7, 3)] {
            let known = features(keypoints, dim);
            let found = decode(&encode(&known)).unwrap();
            assert_eq!(found.pixels, known.pixels);
            let rows = known.descriptors.chunks_exact(dim).zip(found.descriptors.chunks_exact(dim));
            for (known, found) in rows {
                let cosine: f32 = known.iter().zip(found).map(|(a, b)| a * b).sum();
                // Three numbers err most.
                assert!((cosine - 1.0).abs() < 0.005, "{cosine}");
            }
            for (known, found) in known.signature.iter().zip(&found.signature) {
                assert!((known - found).abs() <= 5e-4 * known.abs() + 1e-7);
            }
        }
    }

    #[test]
    fn a_blob_that_is_cut_or_too_long_is_refused() {
        let blob = encode(&features(5, 8));
        assert!((0..blob.len()).all(|length| decode(&blob[..length]).is_none()));
        assert!(decode(&[blob, vec![0]].concat()).is_none());
    }
}
