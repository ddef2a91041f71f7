//! When the keyframe that frames are tracked against no longer serves.

use crate::geometry::Se3;
use crate::geometry::se3;

/// When a new keyframe is needed.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KeyframeConfig {
    /// A keyframe is left when frame and keyframe share less than this.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_overlap_frac: f64,
    /// A keyframe is left when the camera has moved by more than this share of the depth it sees.
    #[schemars(range(min = 0.001, max = 10.0))]
    pub max_translation_frac: f64,
    /// A keyframe is left when the camera has turned by more than this, degrees.
    #[schemars(range(min = 0.1, max = 180.0))]
    pub max_rotation_deg: f64,
    /// An older keyframe is taken up again, and no new one made, when it shares at least this
    /// with the frame.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub reuse_overlap_frac: f64,
    /// Frames with a smaller share of inliers do not become keyframes.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_inlier_frac: f64,
}

impl Default for KeyframeConfig {
    fn default() -> Self {
        Self {
            min_overlap_frac: 0.75,
            max_translation_frac: 0.12,
            max_rotation_deg: 15.0,
            reuse_overlap_frac: 0.85,
            min_inlier_frac: 0.6,
        }
    }
}

/// Returns whether a frame has left its keyframe: they share too little, or see it from too
/// different places.
pub fn has_left_keyframe(
    frame_from_keyframe: &Se3,
    overlap_frac: f64,
    depth_m: f64,
    config: &KeyframeConfig,
) -> bool {
    let translation_frac = frame_from_keyframe.translation.vector.norm() / depth_m.max(1e-3);
    overlap_frac < config.min_overlap_frac
        || translation_frac > config.max_translation_frac
        || se3::angle_rad(frame_from_keyframe) > config.max_rotation_deg.to_radians()
}
