//! Fusion: what a frame measures sharpens the pointmap of the keyframe it was tracked against.

use nalgebra::{Matrix3, Vector3};
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
    let fusion = Fusion::new(frame, frame_from_keyframe, noise, config);
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
    keyframe.pointmap.replace(rows.iter().flatten());
    rows.iter().map(Vec::len).sum()
}

/// What every point needs; the pose taken apart once.
struct Fusion<'a> {
    frame: &'a Level,
    rotation: Matrix3<f64>,
    translation: Vector3<f64>,
    noise: DepthNoise,
    gate_frac: f64,
    max_measurements: f64,
}

impl<'a> Fusion<'a> {
    fn new(
        frame: &'a Level,
        frame_from_keyframe: &Se3,
        noise: DepthNoise,
        config: &MapConfig,
    ) -> Self {
        Self {
            frame,
            rotation: frame_from_keyframe.rotation.to_rotation_matrix().into_inner(),
            translation: frame_from_keyframe.translation.vector,
            noise,
            gate_frac: config.fusion_gate_frac,
            max_measurements: config.max_fused_measurements,
        }
    }

    /// The point moved along its ray and its new confidence, or `None` where it stays.
    fn fused(&self, point: &Vector3<f32>, confidence: f32) -> Option<(Vector3<f32>, f32)> {
        let expected_sigma_m = self.noise.sigma_m(f64::from(point.z));
        let limit = (self.max_measurements / (expected_sigma_m * expected_sigma_m)) as f32;
        if confidence >= limit {
            return None;
        }
        let in_frame = self.rotation * point.cast::<f64>() + self.translation;
        let pixel = self.frame.camera.project(&in_frame.into())?;
        let depth_m = self.frame.depth_near_m(&pixel, in_frame.z)?;
        let sigma_m = self.noise.sigma_m(depth_m);
        if (depth_m - in_frame.z).abs() > self.gate_frac * depth_m + sigma_m {
            return None;
        }
        let measured_in_frame = in_frame * (depth_m / in_frame.z);
        let measured_z = self.rotation.column(2).dot(&(measured_in_frame - self.translation));
        let weight = (sigma_m * sigma_m).recip() as f32;
        let total = confidence + weight;
        let depth = (point.z * confidence + measured_z as f32 * weight) / total;
        (depth > 0.0).then(|| (point * (depth / point.z), total.min(limit)))
    }
}
