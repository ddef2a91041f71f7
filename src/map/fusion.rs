//! Fusion: what a frame measures sharpens the pointmap of the keyframe it was tracked against.

use nalgebra::Vector3;
use rayon::prelude::*;

use super::MapConfig;
use crate::geometry::Se3;
use crate::keyframe::Keyframe;
use crate::pyramid::Level;
use crate::sensor::DepthNoise;

/// Moves the points of `keyframe` along their rays to the weighted mean of what they were and what
/// `frame` measures, where the two agree; returns how many were moved.
///
/// The weights are inverse variances, so a point becomes surer with every frame, up to the limit.
pub fn fuse(
    keyframe: &mut Keyframe,
    frame: &Level,
    frame_from_keyframe: &Se3,
    noise: DepthNoise,
    config: &MapConfig,
) -> usize {
    let width = keyframe.pointmap.width();
    let fusion = Fusion { frame, frame_from_keyframe, noise, config };
    let pointmap = &keyframe.pointmap;
    let row = |y: usize| -> Vec<_> {
        (0..width)
            .filter_map(|x| {
                let (point, confidence) = (pointmap.point(x, y)?, pointmap.confidence(x, y));
                fusion.fused(&point, confidence).map(|(p, c)| (x, y, p, c))
            })
            .collect()
    };
    let rows: Vec<Vec<_>> = (0..pointmap.height()).into_par_iter().map(row).collect();
    for &(x, y, point, confidence) in rows.iter().flatten() {
        keyframe.pointmap.set(x, y, point, confidence);
    }
    rows.iter().map(Vec::len).sum()
}

struct Fusion<'a> {
    frame: &'a Level,
    frame_from_keyframe: &'a Se3,
    noise: DepthNoise,
    config: &'a MapConfig,
}

impl Fusion<'_> {
    fn fused(&self, point: &Vector3<f32>, confidence: f32) -> Option<(Vector3<f32>, f32)> {
        let in_frame = self.frame_from_keyframe * nalgebra::Point3::from(point.cast::<f64>());
        let pixel = self.frame.camera.project(&in_frame)?;
        let depth_m = f64::from(self.frame.sample(&pixel)?.depth_m?);
        let sigma_m = self.noise.sigma_m(depth_m);
        let gate_m = self.config.fusion_gate_frac * depth_m + sigma_m;
        if (depth_m - in_frame.z).abs() > gate_m {
            return None;
        }
        let measured = self.frame_from_keyframe.inverse() * (in_frame * (depth_m / in_frame.z));
        let weight = (sigma_m * sigma_m).recip() as f32;
        let limit = weight * self.config.max_fused_measurements as f32;
        let total = confidence + weight;
        let depth = (point.z * confidence + measured.z as f32 * weight) / total;
        (depth > 0.0).then(|| (point * (depth / point.z), total.min(limit.max(confidence))))
    }
}
