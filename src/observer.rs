//! The socket for output: whoever wants to know what has become of a frame.

use std::collections::BTreeSet;

use nalgebra::Matrix6;

use crate::error::Result;
use crate::frame::Frame;
use crate::geometry::Se3;
use crate::keyframe::KeyframeId;
use crate::map::GlobalMap;
use crate::pose_graph::PoseGraph;
use crate::stamp::Stamp;
use crate::tracking::LostReason;
use crate::window::CovisibilityGraph;

/// What has become of a frame.
#[derive(Debug, Clone, PartialEq)]
pub enum TrackingState {
    /// It has no place yet, because no map could be begun; the reason is one sentence.
    Initializing(String),
    /// It has a pose.
    Tracking,
    /// It has a pose again, after none.
    Relocalized,
    /// It has no pose.
    Lost(LostReason),
}

impl TrackingState {
    /// Returns whether the frame has a pose.
    pub fn has_pose(&self) -> bool {
        matches!(self, Self::Tracking | Self::Relocalized)
    }
}

/// What the pipeline says after each frame.
#[derive(Debug, Clone, PartialEq)]
pub struct MapUpdate {
    /// The frame's number in its source.
    pub frame_id: u64,
    /// The frame's stamp.
    pub stamp: Stamp,
    /// What has become of it.
    pub state: TrackingState,
    /// Its pose in the map as it is now, where it has one.
    pub world_from_camera: Option<Se3>,
    /// The camera's motion since the last frame with a pose, as tracked: no correction of the map
    /// is in it. `None` where it is not known, as after the whole map was searched.
    pub previous_from_camera: Option<Se3>,
    /// The keyframe that the frame was tracked against.
    pub keyframe: Option<KeyframeId>,
    /// Covariance of the pose relative to its keyframe, as a left perturbation `[omega, nu]`.
    pub covariance: Option<Matrix6<f64>>,
    /// Share of its keyframe's points that the frame sees.
    pub overlap_frac: f64,
    /// Share of those that look as they should.
    pub inlier_frac: f64,
    /// Share of those with depth on both sides that lie where they should, where there are enough.
    pub depth_inlier_frac: Option<f64>,
    /// The keyframe that the frame became.
    pub new_keyframe: Option<KeyframeId>,
    /// Loops closed by this frame.
    pub loops_closed: usize,
    /// Keyframes in the map.
    pub keyframes: usize,
    /// The map of the session that is meant, by its number: another one once the camera was lost for
    /// long, and the former once the two are joined or the camera is back there.
    pub map: u32,
    /// How long the map's unit is.
    pub scale: MapScale,
    /// What has become of the model's windows so far, from models that look at several views.
    pub inference: Option<InferenceReport>,
}

/// What has become of the model's windows so far.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct InferenceReport {
    /// Windows that were merged into the map.
    pub merged: usize,
    /// Windows that contradicted the map and were left out.
    pub refused: usize,
    /// Views that a window is given at most.
    pub most_views: usize,
    /// Whether the map's depth is told to the model.
    pub depth: PriorReport,
    /// Whether the map's poses are told to the model.
    pub poses: PriorReport,
}

/// What is known of the use of a prior.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct PriorReport {
    /// Whether the model is told.
    pub is_told: bool,
    /// Windows that were asked for with and without.
    pub tests: usize,
    /// By how much less the answers cost that the model gave when told; negative where it was
    /// better not told.
    pub mean_gain: f64,
    /// Standard error of that mean; infinite without a test.
    pub gain_error: f64,
}

/// How long the map's unit is.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct MapScale {
    /// Metres in a unit of the map, by all that is known.
    pub metres_per_unit: f64,
    /// Standard deviation of its natural logarithm; 0 where a sensor of depth says it, infinite
    /// where nothing does.
    pub sigma_log: f64,
}

/// Short, for people.
impl std::fmt::Display for MapScale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.sigma_log.is_finite() {
            true => write!(f, "{:.3} ± {:.1} %", self.metres_per_unit, 100.0 * self.sigma_log),
            false => write!(f, "not known"),
        }
    }
}

impl MapScale {
    /// The unit is the metre.
    pub const METRIC: Self = Self { metres_per_unit: 1.0, sigma_log: 0.0 };
    /// Nothing says how long the unit is.
    pub const UNKNOWN: Self = Self { metres_per_unit: 1.0, sigma_log: f64::INFINITY };
}

/// The map and what hangs together in it, as it is at one moment.
#[derive(Debug, Clone, Copy)]
pub struct MapView<'a> {
    /// The keyframes.
    pub map: &'a GlobalMap,
    /// Which of them see the same things.
    pub covisibility: &'a CovisibilityGraph,
    /// What ties them together.
    pub pose_graph: &'a PoseGraph,
    /// Pairs of keyframes, the newer first, that are tied together across a gap: loops.
    pub loops: &'a BTreeSet<(KeyframeId, KeyframeId)>,
    /// The world in the frame that is shown to others, where one is chosen.
    pub map_from_world: Option<Se3>,
}

/// What there is to see after a frame.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// The frame at working size, unless it could not be made ready.
    pub frame: Option<&'a Frame>,
    /// What has become of it.
    pub update: &'a MapUpdate,
    /// The map as it is now.
    pub view: MapView<'a>,
    /// Time from taking the prepared frame to its pose, seconds.
    pub latency_secs: f64,
}

/// Is told of every frame. Implemented by the edges.
pub trait Observer {
    /// Takes note of what has become of a frame, and of the map as it is now.
    ///
    /// # Errors
    /// What ends the run, such as an output that cannot be written.
    fn observe(&mut self, seen: &Observation<'_>) -> Result<()>;
}
