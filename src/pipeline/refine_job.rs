//! A refinement apart from the pipeline: it works on what the map was when it was asked for, so
//! that frames may go on meanwhile.
//!
//! First what the depth sensor gets wrong throughout: structured light and time of flight measure
//! some centimetres too little or too much. Near and far things then disagree about how far the
//! camera has moved, which shows when many views are aligned (self-calibration as in Zhou and
//! Koltun, "Simultaneous localization and calibration", CVPR 2014, with one number instead of a
//! field). Then all poses together.

use std::collections::{BTreeMap, BTreeSet};

use nalgebra::Vector6;
use rayon::prelude::*;

use crate::alignment::{AlignmentConfig, Refinement, RefinementConfig, refine};
use crate::dense_residual::{
    Comparison, ReferencePoint, RelativeView, ResidualScale, ResidualSettings,
};
use crate::error::Result;
use crate::geometry::Se3;
use crate::keyframe::{Keyframe, KeyframeId};
use crate::map::GlobalMap;
use crate::pyramid::Level;
use crate::reference::select_points;
use crate::sensor::SensorConfig;
use crate::window::CovisibilityGraph;

/// Keyframes that a depth offset is estimated with.
const MAX_VIEWS: usize = 24;
/// Points of each that are compared.
const POINTS: usize = 1000;
/// Offsets that are tried at first, metres to both sides.
const FIRST_STEP_M: f64 = 0.01;
/// How often the best offset is sought, each time with half the step.
const SEARCHES: usize = 3;
/// What offsets of sensors are like: standard deviation, metres.
const PRIOR_SIGMA_M: f64 = 0.02;
/// An offset that the views leave more open than this is not believed, metres.
const MAX_SIGMA_M: f64 = 0.004;
/// Neighbouring residuals err together: so many count for one.
const CORRELATION: f64 = 9.0;
/// Spread of residuals that offsets are judged by, the same for all.
const SCALE: ResidualScale = ResidualScale { intensity: 8.0, depth: 1.0 };

/// An offset with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DepthOffset {
    /// What is to be added to each depth, metres.
    pub offset_m: f64,
    /// Its standard deviation, metres.
    pub sigma_m: f64,
}

/// All that a refinement needs: the keyframes as they are now, and which of them see the same.
/// Images and geometry are shared with the map, so that this takes next to no memory.
#[derive(Debug, Clone)]
pub struct RefineJob {
    pub(super) map: GlobalMap,
    pub(super) covisibility: CovisibilityGraph,
    pub(super) sensor: SensorConfig,
    pub(super) alignment: AlignmentConfig,
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
        let depth_offset_m = match self.sensor.estimate_depth_offset {
            true => self.depth_offset().map_or(0.0, |offset| offset.offset_m),
            false => 0.0,
        };
        let shifted: Vec<Keyframe> =
            self.map.keyframes().map(|keyframe| with_offset(keyframe, depth_offset_m)).collect();
        let keyframes: Vec<&Keyframe> = shifted.iter().collect();
        let pairs: Vec<_> = self.covisibility.edges().map(|(a, b, _)| (a, b)).collect();
        let refinement = refine(&keyframes, &pairs, self.sensor.noise(), &self.alignment)?;
        let before = self.map.keyframes().map(|k| (k.id, k.world_from_camera)).collect();
        Ok(RefineOutcome { before, refinement, depth_offset_m, unit: self.unit })
    }

    /// Returns the depth offset under which views agree best, or `None` where they do not tell.
    pub fn depth_offset(&self) -> Option<DepthOffset> {
        let chosen = self.most_connected();
        let mut views: Vec<Keyframe> =
            chosen.iter().filter_map(|&id| self.map.get(id)).cloned().collect();
        let mut best = DepthOffset { offset_m: 0.0, sigma_m: f64::INFINITY };
        let mut step_m = FIRST_STEP_M;
        for _ in 0..SEARCHES {
            let tried = [-step_m, 0.0, step_m].map(|step_m| {
                let offset_m = best.offset_m + step_m;
                Some((offset_m, self.cost_with_offset(&mut views, offset_m)?))
            });
            let [Some(below), Some(middle), Some(above)] = tried else { return None };
            best = lowest(below, middle, above, step_m)?;
            step_m *= 0.5;
        }
        (best.sigma_m <= MAX_SIGMA_M && best.offset_m.abs() > 3.0 * best.sigma_m).then_some(best)
    }

    /// The keyframe with the most neighbours, and those around it.
    fn most_connected(&self) -> BTreeSet<KeyframeId> {
        let degree = |id: KeyframeId| self.covisibility.neighbours(id).len();
        let ids = self.map.keyframes().map(|k| k.id);
        let centre = ids.max_by_key(|&id| (degree(id), std::cmp::Reverse(id)));
        let mut open: std::collections::VecDeque<KeyframeId> = centre.into_iter().collect();
        let mut chosen = BTreeSet::new();
        while let Some(id) = open.pop_front() {
            if chosen.len() < MAX_VIEWS && chosen.insert(id) {
                open.extend(self.covisibility.neighbours(id).into_iter().map(|(other, _)| other));
            }
        }
        chosen
    }

    /// What is left of disagreement (in nats) once the views are aligned with an offset; the views
    /// keep their new poses.
    fn cost_with_offset(&self, views: &mut [Keyframe], offset_m: f64) -> Option<f64> {
        let shifted: Vec<Keyframe> = views.iter().map(|k| with_offset(k, offset_m)).collect();
        let refs: Vec<&Keyframe> = shifted.iter().collect();
        let all: Vec<_> = self.covisibility.edges().map(|(a, b, _)| (a, b)).collect();
        let quick = AlignmentConfig {
            refinement: RefinementConfig { max_points: POINTS, max_rounds: 8 },
            ..self.alignment.clone()
        };
        let refined: Refinement = refine(&refs, &all, self.sensor.noise(), &quick).ok()?;
        let pairs: Vec<_> = refined.constraints.iter().map(|c| (c.source, c.target)).collect();
        for view in views.iter_mut() {
            if let Some(pose) = refined.world_from_camera.get(&view.id) {
                view.world_from_camera = *pose;
            }
        }
        let cost = disagreement(
            &shifted,
            &refined.world_from_camera,
            &pairs,
            look_settings(&self.sensor, &self.alignment),
        );
        Some(cost / CORRELATION + 0.5 * (offset_m / PRIOR_SIGMA_M).powi(2))
    }
}

/// Sum of robust costs over pairs, of residuals as many as there are points.
fn disagreement(
    views: &[Keyframe],
    poses: &BTreeMap<KeyframeId, Se3>,
    pairs: &[(KeyframeId, KeyframeId)],
    settings: ResidualSettings,
) -> f64 {
    let parts: BTreeMap<KeyframeId, (&Level, Vec<ReferencePoint>)> = views
        .iter()
        .filter_map(|k| Some((k.id, k.pyramid.levels().first()?, &k.pointmap)))
        .map(|(id, level, map)| (id, (level, select_points(level, map, POINTS))))
        .collect();
    let cost = |&(source, target): &(KeyframeId, KeyframeId)| -> Option<f64> {
        let ((_, points), (level, _)) = (parts.get(&source)?, parts.get(&target)?);
        let comparison = Comparison { points, target: level, settings };
        let pose = poses.get(&target)?.inv_mul(poses.get(&source)?);
        Some(fixed_scale_cost(&comparison, pose) * points.len() as f64)
    };
    let costs: Vec<f64> = pairs.par_iter().filter_map(cost).collect();
    costs.iter().sum()
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

/// The lowest point of the parabola through three costs, no further than twice the step from the
/// middle; `None` where it bends the wrong way throughout.
fn lowest(
    (_, below): (f64, f64),
    (middle_m, middle): (f64, f64),
    (_, above): (f64, f64),
    step_m: f64,
) -> Option<DepthOffset> {
    let curvature = (below + above - 2.0 * middle) / (step_m * step_m);
    let slope = (above - below) / (2.0 * step_m);
    if !curvature.is_finite() || !slope.is_finite() {
        return None;
    }
    let limit_m = 2.0 * step_m;
    if curvature <= 0.0 {
        let downhill_m = if slope > 0.0 { -limit_m } else { limit_m };
        return Some(DepthOffset { offset_m: middle_m + downhill_m, sigma_m: f64::INFINITY });
    }
    let offset_m = middle_m + (-slope / curvature).clamp(-limit_m, limit_m);
    Some(DepthOffset { offset_m, sigma_m: curvature.sqrt().recip() })
}

/// Returns a keyframe with an offset added to all of its depths.
pub(super) fn with_offset(keyframe: &Keyframe, offset_m: f64) -> Keyframe {
    if offset_m == 0.0 {
        return keyframe.clone();
    }
    Keyframe {
        frame: keyframe.frame.clone().with_depth_offset(offset_m),
        pyramid: keyframe.pyramid.with_depth_offset(offset_m),
        pointmap: keyframe.pointmap.with_depth_offset(offset_m),
        ..keyframe.clone()
    }
}
