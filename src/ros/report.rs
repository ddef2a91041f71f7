//! What a session has come to, in figures.

use crate::observer::{InferenceReport, MapScale, MapUpdate, TrackingState};
use crate::runtime::InferenceFigures;
use crate::stamp::Stamp;

/// What a session has come to.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What became of the last frame; `None` before the first.
    pub last: Option<TrackingState>,
    /// Stamp of the last frame.
    pub stamp: Option<Stamp>,
    /// Frames that were processed.
    pub processed: u64,
    /// Of those, with a pose.
    pub tracked: u64,
    /// Loops closed.
    pub loops: u32,
    /// Keyframes in the map.
    pub keyframes: u32,
    /// The session's map that is meant, by its number.
    pub map: u32,
    /// Share of the keyframe's points that the last frame sees.
    pub overlap_frac: f64,
    /// Share of those that look as they should.
    pub inlier_frac: f64,
    /// How long the map's unit is; `None` before the first frame.
    pub scale: Option<MapScale>,
    /// Where geometry comes from.
    pub model: &'static str,
    /// What was asked of the model, and what it took.
    pub inference: InferenceFigures,
    /// What has become of the model's windows, from models that look at several views.
    pub windows: Option<InferenceReport>,
}

impl Report {
    /// Returns whether the last frame has a pose in the map.
    pub fn is_localized(&self) -> bool {
        self.last.as_ref().is_some_and(TrackingState::has_pose)
    }

    /// Takes note of a map that takes the place of the one before: what came in counts on.
    pub fn begin_map(&mut self, keyframes: usize) {
        (self.last, self.windows) = (None, None);
        (self.loops, self.keyframes, self.map) = (0, keyframes as u32, 0);
    }

    /// Takes note of a frame.
    pub fn note(&mut self, update: &MapUpdate, inference: InferenceFigures) {
        self.processed += 1;
        self.tracked += u64::from(update.state.has_pose());
        self.loops += update.loops_closed as u32;
        (self.keyframes, self.map) = (update.keyframes as u32, update.map);
        self.stamp = Some(update.stamp);
        (self.overlap_frac, self.inlier_frac) = (update.overlap_frac, update.inlier_frac);
        self.scale = Some(update.scale);
        self.last = Some(update.state.clone());
        (self.inference, self.windows) = (inference, update.inference);
    }
}
