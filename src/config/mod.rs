//! The configuration: every stage's settings in one tree. It only composes and validates; the
//! defaults stand at the stages, and what is printed, read and checked is made from their types.

mod model;
mod overlay;
mod schema;

use serde_json::Value;

use crate::alignment::AlignmentConfig;
use crate::error::{Error, Result};
use crate::map::MapConfig;
use crate::pose_graph::PoseGraphConfig;
use crate::recognition::RecognitionConfig;
use crate::relocalization::RelocalizationConfig;
use crate::sensor::SensorConfig;
use crate::tracking::{KeyframeConfig, TrackingConfig};
use crate::window::WindowConfig;

pub use model::{DtypeChoice, ModelConfig, PriorUse, PriorsConfig};

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
    /// Recognising places that were seen before, from elsewhere or after long.
    pub recognition: RecognitionConfig,
    /// Which keyframes are aligned together.
    pub window: WindowConfig,
    /// Alignment of the keyframes of a window.
    pub alignment: AlignmentConfig,
    /// Poses of all keyframes from the relative ones.
    pub pose_graph: PoseGraphConfig,
    /// Fusion, and the map's cloud.
    pub map: MapConfig,
}

impl Config {
    /// Returns the defaults, changed by a YAML text and then by `key=value` settings with dotted
    /// keys, in that order.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for text that is not YAML, an unknown key (with the nearest known
    /// one), a value of the wrong kind, or one out of range.
    pub fn from_sources(yaml: Option<&str>, settings: &[String]) -> Result<Self> {
        let mut tree = serde_json::to_value(Self::default()).map_err(unrepresentable)?;
        if let Some(text) = yaml {
            overlay::merge(&mut tree, overlay::parse(text)?, "")?;
        }
        for setting in settings {
            overlay::set(&mut tree, setting)?;
        }
        checked(tree)
    }

    /// Returns the configuration as YAML with a comment for each key: what it is, and its range.
    pub fn to_yaml(&self) -> String {
        // A tree of plain numbers and strings always serialises.
        let tree = serde_json::to_value(self).unwrap_or(Value::Null);
        schema::to_yaml(&schema::of::<Self>(), &tree)
    }
}

/// Returns the JSON schema of a tree of settings: of each key the description, type and range.
pub fn schema_of<T: schemars::JsonSchema>() -> Value {
    schema::of::<T>()
}

/// Returns settings with the values of `changes` in their places.
///
/// # Errors
/// As [`Config::from_sources`].
pub fn with_changes<T>(settings: &T, changes: Value) -> Result<T>
where
    T: serde::Serialize + serde::de::DeserializeOwned + schemars::JsonSchema,
{
    let mut tree = serde_json::to_value(settings).map_err(unrepresentable)?;
    overlay::merge(&mut tree, changes, "")?;
    checked(tree)
}

/// The settings that a tree holds, if all are within their ranges.
fn checked<T>(tree: Value) -> Result<T>
where
    T: serde::de::DeserializeOwned + schemars::JsonSchema,
{
    schema::check_values(&schema::of::<T>(), &tree, "")?;
    serde_json::from_value(tree).map_err(|e| Error::config("(whole tree)", e.to_string()))
}

fn unrepresentable(error: serde_json::Error) -> Error {
    Error::config("(defaults)", error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(yaml: Option<&str>, settings: &[&str]) -> String {
        let settings: Vec<String> = settings.iter().map(|s| s.to_string()).collect();
        Config::from_sources(yaml, &settings).unwrap_err().to_string()
    }

    #[test]
    fn the_printed_defaults_read_back_as_the_defaults() {
        let yaml = Config::default().to_yaml();
        assert_eq!(Config::from_sources(Some(&yaml), &[]).unwrap(), Config::default());
    }

    #[test]
    fn every_key_has_a_comment_above_it() {
        let yaml = Config::default().to_yaml();
        let lines: Vec<&str> = yaml.lines().collect();
        for pair in lines.windows(2).filter(|p| !p[1].trim_start().starts_with('#')) {
            assert!(pair[0].trim_start().starts_with('#') || pair[1].is_empty(), "{}", pair[1]);
        }
    }

    #[test]
    fn settings_win_over_the_file_and_the_file_over_the_defaults() {
        let settings = ["tracking.max_points=3000".to_owned()];
        let yaml = "tracking:\n  max_points: 2000\n  max_iterations: 7\n";
        let config = Config::from_sources(Some(yaml), &settings).unwrap();
        assert_eq!((config.tracking.max_points, config.tracking.max_iterations), (3000, 7));
        assert_eq!(config.map, MapConfig::default());
    }

    #[test]
    fn bad_configurations_name_the_key_and_the_remedy() {
        let cases = [
            (Some("trackin:\n  max_points: 1"), vec![], "'trackin'", "did you mean 'tracking'"),
            (Some("tracking:\n  max_pionts: 1"), vec![], "'tracking.max_pionts'", "max_points"),
            (Some("tracking: [1]"), vec![], "'tracking'", "expected a mapping"),
            (Some("tracking:\n  max_points: many"), vec![], "max_points'", "whole number"),
            (Some("tracking:\n  max_points: 3.5"), vec![], "max_points'", "whole number"),
            (Some("map:\n  voxel_size_m: -1.0"), vec![], "voxel_size_m'", "at least 0.001"),
            (Some("map:\n  voxel_size_m: .nan"), vec![], "(file)", "line 2"),
            (Some("a: b: c"), vec![], "(file)", "YAML"),
            (Some("just text"), vec![], "(file)", "mapping"),
            (None, vec!["map.voxel_size_m"], "map.voxel_size_m", "key=value"),
            (None, vec!["map.voxel=1"], "'map.voxel'", "voxel_size_m"),
            (None, vec!["map=1"], "'map'", "mapping"),
            (None, vec!["window.max_keyframes=1"], "'window.max_keyframes'", "at least 2"),
            (None, vec!["window.max_keyframes=65"], "'window.max_keyframes'", "at most 64"),
            (None, vec!["model.budget_ms=-1"], "'model.budget_ms'", "at least 0"),
            (None, vec!["model.late_frames=1001"], "'model.late_frames'", "at most 1000"),
            (None, vec!["model.name=3"], "'model.name'", "text"),
            (None, vec!["model.dtype=float"], "'model.dtype'", "auto, f32, bf16, f16"),
        ];
        for (yaml, settings, key, remedy) in cases {
            let message = refused(yaml, &settings);
            assert!(message.contains(key) && message.contains(remedy), "{message}");
        }
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        assert_eq!(Config::from_sources(Some(""), &[]).unwrap(), Config::default());
        assert_eq!(Config::from_sources(Some("# nothing\n"), &[]).unwrap(), Config::default());
    }
}
