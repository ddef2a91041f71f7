//! The configuration: every stage's settings in one tree. It only composes and validates; the
//! defaults stand at the stages.

use serde_json::Value;

use crate::alignment::AlignmentConfig;
use crate::error::{Error, Result};
use crate::map::MapConfig;
use crate::pose_graph::PoseGraphConfig;
use crate::relocalization::RelocalizationConfig;
use crate::sensor::SensorConfig;
use crate::tracking::{KeyframeConfig, TrackingConfig};
use crate::window::WindowConfig;

/// Everything that can be set.
#[derive(
    Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where geometry comes from.
    pub model: ModelConfig,
    /// The depth sensor, and the working size of images.
    pub sensor: SensorConfig,
    /// Placing each frame relative to a keyframe.
    pub tracking: TrackingConfig,
    /// When a new keyframe is made.
    pub keyframe: KeyframeConfig,
    /// Finding the place again after tracking was lost.
    pub relocalization: RelocalizationConfig,
    /// Which keyframes are aligned together.
    pub window: WindowConfig,
    /// Alignment of the keyframes of a window.
    pub alignment: AlignmentConfig,
    /// Poses of all keyframes from the relative ones.
    pub pose_graph: PoseGraphConfig,
    /// Fusion, and the map's cloud.
    pub map: MapConfig,
}

/// Where geometry comes from.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// The model: sensor-depth.
    pub name: String,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self { name: "sensor-depth".to_owned() }
    }
}
