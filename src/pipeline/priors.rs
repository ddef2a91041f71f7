//! Which priors the model is given, and what is remembered of its windows.

use std::collections::BTreeMap;

use super::Pipeline;
use super::calibrating::SharedFocal;
use super::gating::Gates;
use super::revisits::Revisit;
use super::scaling::ScaleEvidence;
use crate::config::PriorUse;
use crate::constraint::Constraint;
use crate::frame::Frame;
use crate::geometry::Camera;
use crate::keyframe::KeyframeId;
use crate::pointmap::Pointmap;

/// A keyframe that so many windows have spoken of is sure enough of its depth to tell the model.
const SETTLED_WINDOWS: u32 = 2;

/// A pose less sure than this share of the way is not told to the model.
const MAX_POSE_SIGMA_FRAC: f64 = 0.2;

/// What is remembered of the model's windows.
pub(super) struct Inferring {
    /// Whether the map's unit is the metre because a sensor says so.
    pub is_metric: bool,
    /// What the first keyframe would be by the last window that contradicted it.
    pub challenger: Option<Pointmap>,
    /// Windows of which each keyframe's geometry is the mean.
    pub(super) fused: BTreeMap<KeyframeId, u32>,
    /// Windows that were merged, and those that contradicted the map.
    pub(super) merged: usize,
    pub(super) refused: usize,
    /// What is known of the map's unit.
    pub scale: ScaleEvidence,
    /// The focal length of frames without calibration.
    pub focal: SharedFocal,
    /// Whether priors do any good.
    pub gates: Gates,
    /// Where the last window puts its newest view among keyframes that look like it.
    pub revisits: Vec<Revisit>,
    /// The map's unit, in that of its first window.
    pub unit: f64,
    /// Windows merged when the map was last brought to metres.
    pub(super) merged_then: usize,
}

impl Default for Inferring {
    fn default() -> Self {
        Self {
            is_metric: false,
            challenger: None,
            fused: BTreeMap::new(),
            merged: 0,
            refused: 0,
            scale: ScaleEvidence::default(),
            focal: SharedFocal::default(),
            gates: Gates::default(),
            revisits: Vec::new(),
            unit: 1.0,
            merged_then: 0,
        }
    }
}

impl Inferring {
    /// Whether a keyframe is sure enough of its depth to tell the model.
    pub fn is_settled(&self, id: KeyframeId) -> bool {
        self.fused.get(&id).is_some_and(|&count| count >= SETTLED_WINDOWS)
    }

    pub fn note_fused(&mut self, id: KeyframeId) {
        *self.fused.entry(id).or_default() += 1;
    }

    /// Takes note of a merged window, and of the logarithm of the scale that it was given, if its
    /// own was free.
    pub fn note_window(&mut self, log_scale: Option<f64>) {
        self.merged += 1;
        match log_scale {
            Some(log_scale) => self.scale.add_window(log_scale),
            None => self.is_metric = true,
        }
    }

    /// Whether twice as many windows have been merged as when this was last so.
    pub fn is_rescaling_due(&mut self) -> bool {
        let is_due = self.merged >= 2 * self.merged_then.max(1);
        if is_due {
            self.merged_then = self.merged;
        }
        is_due
    }

    /// Whether nothing but the first window speaks for the geometry of the first keyframe.
    pub fn is_unconfirmed(&self) -> bool {
        !self.is_metric && self.merged < 2
    }

    /// Forgets all windows: the one that the map began with was wrong.
    pub fn begin_anew(&mut self) {
        let (is_metric, focal) = (self.is_metric, std::mem::take(&mut self.focal));
        *self = Self { is_metric, focal, ..Self::default() };
    }

    /// Windows that were merged, and those that contradicted the map.
    pub fn windows(&self) -> (usize, usize) {
        (self.merged, self.refused)
    }

    pub fn note_refused(&mut self) {
        self.refused += 1;
    }
}

impl Pipeline {
    /// The camera that the model is told of a frame: its calibration, or what all windows together
    /// have found.
    pub(super) fn known_camera(&self, frame: &Frame, working: &Camera) -> Option<Camera> {
        let is_told = self.config.model.priors.intrinsics != PriorUse::Never;
        let is_known = frame.camera.is_some() || self.inferring.focal.has_converged();
        (is_told && is_known).then_some(*working)
    }

    /// Whether a keyframe's pose relative to another's is known well against the way between them.
    pub(super) fn is_pose_sure(&self, first: KeyframeId, id: KeyframeId) -> bool {
        let is_sure = |constraint: &Constraint| {
            let way_m = constraint.target_from_source.translation.vector.norm();
            let covariance = constraint.information.cholesky().map(|factor| factor.inverse());
            let variance_m2 = covariance.map(|c| c.fixed_view::<3, 3>(3, 3).trace());
            variance_m2.is_some_and(|variance| variance.sqrt() < MAX_POSE_SIGMA_FRAC * way_m)
        };
        first == id || self.pose_graph.between(first, id).is_some_and(is_sure)
    }
}
