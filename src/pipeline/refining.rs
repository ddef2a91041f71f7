//! Global refinement: all that the map knows, brought into agreement once more.
//!
//! First what the depth sensor gets wrong throughout: structured light and time of flight measure
//! some centimetres too little or too much. Near and far things then disagree about how far the
//! camera has moved, which shows when many views are aligned (self-calibration as in Zhou and
//! Koltun, "Simultaneous localization and calibration", CVPR 2014, with one number instead of a
//! field). Then all poses together.

use std::collections::{BTreeMap, BTreeSet};

use nalgebra::Vector6;
use rayon::prelude::*;

use super::Pipeline;
use super::looping::sober;
use crate::alignment::{AlignmentConfig, Refinement, RefinementConfig, refine};
use crate::constraint::Constraint;
use crate::dense_residual::{
    Comparison, ReferencePoint, RelativeView, ResidualScale, ResidualSettings,
};
use crate::error::Result;
use crate::geometry::Se3;
use crate::keyframe::{Keyframe, KeyframeId};
use crate::pyramid::Level;
use crate::reference::select_points;

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

/// What a refinement has come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Refined {
    /// Keyframes that were moved together.
    pub keyframes: usize,
    /// Pairs of them that were compared, in one direction.
    pub pairs: usize,
    /// Mean robust cost of a residual before and after.
    pub mean_cost: [f64; 2],
    /// What was added to all depths, metres.
    pub depth_offset_m: f64,
}

/// An offset with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DepthOffset {
    /// What is to be added to each depth, metres.
    pub offset_m: f64,
    /// Its standard deviation, metres.
    pub sigma_m: f64,
}

impl Pipeline {
    /// Refines the whole map: the depth offset, then all keyframes' poses; frames follow theirs.
    /// Takes some seconds for each hundred keyframes.
    ///
    /// # Errors
    /// [`TooFewCorrespondences`](crate::error::Error::TooFewCorrespondences) for a map in which no
    /// two keyframes share enough.
    pub fn refine(&mut self) -> Result<Refined> {
        let offset_m = match self.config.sensor.estimate_depth_offset {
            true => self.depth_offset().map_or(0.0, |offset| offset.offset_m),
            false => 0.0,
        };
        self.shift_depths(offset_m);
        let keyframes: Vec<&Keyframe> = self.map.keyframes().collect();
        let pairs: Vec<_> = self.covisibility.edges().map(|(a, b, _)| (a, b)).collect();
        let noise = self.config.sensor.noise();
        let refined = refine(&keyframes, &pairs, noise, &self.config.alignment)?;
        let count = keyframes.len();
        self.move_keyframes(&refined.world_from_camera);
        let constraints: Vec<Constraint> = refined.constraints.iter().map(sober).collect();
        self.pose_graph.update(&constraints);
        if let Some(anchor) = self.anchor.as_ref().map(|anchor| anchor.keyframe) {
            self.set_anchor(anchor);
        }
        Ok(Refined {
            keyframes: count,
            pairs: refined.constraints.len(),
            mean_cost: refined.mean_cost,
            depth_offset_m: offset_m,
        })
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
            ..self.config.alignment.clone()
        };
        let refined: Refinement = refine(&refs, &all, self.config.sensor.noise(), &quick).ok()?;
        let pairs: Vec<_> = refined.constraints.iter().map(|c| (c.source, c.target)).collect();
        for view in views.iter_mut() {
            if let Some(pose) = refined.world_from_camera.get(&view.id) {
                view.world_from_camera = *pose;
            }
        }
        let cost = disagreement(&shifted, &refined.world_from_camera, &pairs, self.by_look());
        Some(cost / CORRELATION + 0.5 * (offset_m / PRIOR_SIGMA_M).powi(2))
    }

    /// Residuals of looks alone: how uncertain depths are goes by the depths, so that greater ones
    /// would always seem to fit better.
    fn by_look(&self) -> ResidualSettings {
        ResidualSettings {
            depth_noise: self.config.sensor.noise(),
            depth_gate_frac: self.config.alignment.depth_gate_frac,
            intensity_inlier: 25.0,
            depth_inlier_frac: 0.02,
            geometric_weight: 0.0,
        }
    }

    /// Adds an offset to all depths of the map; frames' ways from their keyframes, which were
    /// measured in those depths, grow as their surroundings do.
    fn shift_depths(&mut self, offset_m: f64) {
        if offset_m == 0.0 {
            return;
        }
        let ids: Vec<KeyframeId> = self.map.keyframes().map(|k| k.id).collect();
        let mut growth = BTreeMap::new();
        for keyframe in ids.iter().filter_map(|&id| self.map.get(id)) {
            growth.insert(keyframe.id, 1.0 + offset_m * mean_inverse_depth(keyframe));
        }
        for id in ids {
            if let Some(keyframe) = self.map.get_mut(id) {
                *keyframe = with_offset(keyframe, offset_m);
            }
        }
        let past = self.past_sessions.iter_mut().flatten();
        for record in past.chain(&mut self.records) {
            let factor = growth.get(&record.keyframe).copied().unwrap_or(1.0);
            record.keyframe_from_camera.translation.vector *= factor;
        }
        if let (Some(motion), Some(anchor)) = (&mut self.motion, &self.anchor) {
            let factor = growth.get(&anchor.keyframe).copied().unwrap_or(1.0);
            motion.view.target_from_reference.translation.vector *= factor;
        }
        self.config.sensor.depth_offset_m += offset_m;
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

/// The mean cost of a residual at fixed scale, once the exposure is adapted.
fn fixed_scale_cost(comparison: &Comparison<'_>, target_from_reference: Se3) -> f64 {
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

fn with_offset(keyframe: &Keyframe, offset_m: f64) -> Keyframe {
    Keyframe {
        frame: keyframe.frame.clone().with_depth_offset(offset_m),
        pyramid: keyframe.pyramid.with_depth_offset(offset_m),
        pointmap: keyframe.pointmap.with_depth_offset(offset_m),
        ..keyframe.clone()
    }
}

/// Mean of 1/depth over a keyframe's points, 1/m.
fn mean_inverse_depth(keyframe: &Keyframe) -> f64 {
    let map = &keyframe.pointmap;
    let (mut sum, mut count) = (0.0, 0usize);
    for y in 0..map.height() {
        for x in 0..map.width() {
            if let Some(point) = map.point(x, y) {
                sum += 1.0 / f64::from(point.z);
                count += 1;
            }
        }
    }
    sum / count.max(1) as f64
}
