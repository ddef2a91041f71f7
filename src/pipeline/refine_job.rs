//! A refinement apart from the pipeline: it works on what the map was when it was asked for, so
//! that frames may go on meanwhile.
//!
//! First what the depth sensor gets wrong throughout ([`super::depth_offset`]), then all poses
//! together.

use std::collections::BTreeMap;

use nalgebra::Vector6;

use crate::alignment::{AlignmentConfig, Refinement, refine};
use crate::dense_residual::{Comparison, RelativeView, ResidualScale, ResidualSettings};
use crate::error::Result;
use crate::geometry::Se3;
use crate::keyframe::{Keyframe, KeyframeId};
use crate::map::GlobalMap;
use crate::sensor::SensorConfig;
use crate::window::CovisibilityGraph;

use super::merging::set_pointmap;

/// Spread of residuals by which looks are judged, the same for all.
const SCALE: ResidualScale = ResidualScale { intensity: 8.0, depth: 1.0 };

/// All that a refinement needs: the keyframes as they are now, and which of them see the same.
/// Images and geometry are shared with the map, so that this takes next to no memory.
#[derive(Debug, Clone)]
pub struct RefineJob {
    pub(super) map: GlobalMap,
    pub(super) covisibility: CovisibilityGraph,
    pub(super) sensor: SensorConfig,
    pub(super) alignment: AlignmentConfig,
    /// The depth offset that the sensor was said to have before any was looked for, metres.
    pub(super) stated_offset_m: f64,
    /// The map's unit, in some unit that stays.
    pub(super) unit: f64,
}

/// What a refinement has found, for [`Pipeline::apply_refinement`](super::Pipeline::apply_refinement).
#[derive(Debug, Clone)]
pub struct RefineOutcome {
    /// The keyframes' poses when it was begun.
    pub(super) before: BTreeMap<KeyframeId, Se3>,
    pub(super) refinement: Refinement,
    pub(super) depth_offset_m: f64,
    /// See [`RefineJob`].
    pub(super) unit: f64,
}

impl RefineJob {
    /// Returns how many keyframes are to be refined.
    pub fn keyframes(&self) -> usize {
        self.map.len()
    }

    /// Does the work, which takes some seconds for each hundred keyframes: finds the depth offset,
    /// then the poses of least residual. The outcome depends on nothing but the job.
    ///
    /// # Errors
    /// [`TooFewCorrespondences`](crate::error::Error::TooFewCorrespondences) for a map in which no
    /// two keyframes share enough.
    pub fn run(&self) -> Result<RefineOutcome> {
        let found = self.depth_offset().filter(|found| found.is_sharp());
        let depth_offset_m = found.map_or(0.0, |found| {
            found.believed_m(self.stated_offset_m) - self.sensor.depth_offset_m
        });
        self.aligned(self.map.keyframes(), depth_offset_m, &self.alignment)
    }

    /// What comes of it when some keyframes are aligned with an offset that is added to all depths.
    ///
    /// # Errors
    /// As [`RefineJob::run`].
    pub(super) fn aligned<'a>(
        &self,
        chosen: impl Iterator<Item = &'a Keyframe>,
        depth_offset_m: f64,
        alignment: &AlignmentConfig,
    ) -> Result<RefineOutcome> {
        let shifted: Vec<Keyframe> =
            chosen.map(|keyframe| with_offset(keyframe, depth_offset_m)).collect();
        let keyframes: Vec<&Keyframe> = shifted.iter().collect();
        let pairs = self.covisible();
        let refinement = refine(&keyframes, &pairs, self.sensor.noise(), alignment)?;
        let before = self.map.keyframes().map(|k| (k.id, k.world_from_camera)).collect();
        Ok(RefineOutcome { before, refinement, depth_offset_m, unit: self.unit })
    }

    /// All pairs of keyframes that see the same.
    pub(super) fn covisible(&self) -> Vec<(KeyframeId, KeyframeId)> {
        self.covisibility.edges().map(|(a, b, _)| (a, b)).collect()
    }
}

/// Residuals of looks alone: how uncertain depths are goes by the depths, so that greater ones would
/// always seem to fit better.
pub(super) fn look_settings(
    sensor: &SensorConfig,
    alignment: &AlignmentConfig,
) -> ResidualSettings {
    ResidualSettings {
        depth_noise: sensor.noise(),
        depth_gate_frac: alignment.depth_gate_frac,
        intensity_inlier: 25.0,
        depth_inlier_frac: 0.02,
        geometric_weight: 0.0,
    }
}

/// The mean cost of a residual at fixed scale, once the exposure is adapted.
pub(super) fn fixed_scale_cost(comparison: &Comparison<'_>, target_from_reference: Se3) -> f64 {
    let mut view = RelativeView { target_from_reference, ..RelativeView::identity() };
    for _ in 0..2 {
        let normal = comparison.linearize(&view, &SCALE);
        view.exposure = view.exposure.stepped(&normal.exposure_step(&Vector6::zeros()));
    }
    comparison.linearize(&view, &SCALE).mean_cost()
}

/// Returns a keyframe with an offset added to all of its depths.
pub(super) fn with_offset(keyframe: &Keyframe, offset_m: f64) -> Keyframe {
    if offset_m == 0.0 {
        return keyframe.clone();
    }
    let frame = keyframe.frame.clone().with_depth_offset(offset_m);
    let pyramid = keyframe.pyramid.with_depth_of(&frame);
    let pointmap = keyframe.pointmap.with_depth_offset(offset_m);
    let mut shifted = Keyframe { frame, pyramid, ..keyframe.clone() };
    set_pointmap(&mut shifted, pointmap);
    shifted
}
