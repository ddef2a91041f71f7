//! Drift of scale: without a sensor of depth each window takes its scale from the ones before, and is
//! a little off. What adds up shows where a loop closes: the same surface is at two depths there.
//!
//! Such a loop is an edge over Sim(3). All keyframes are settled by a graph in which each has a
//! scale of its own, and what that finds is put into their pointmaps, so that the map has one scale
//! again and its own graph stays one of rigid motions.

use std::collections::BTreeMap;

use nalgebra::{Matrix6, SMatrix};

use super::Pipeline;
use super::merging::{Comparison, log_ratios_across, set_pointmap};
use super::scaling::scaled;
use crate::constraint::{Constraint, SimilarityConstraint};
use crate::geometry::{Se3, Sim3};
use crate::keyframe::{Keyframe, KeyframeId};
use crate::pose_graph::SimilarityGraph;

/// Drift by less than this is within what two windows differ by.
const MIN_DRIFT_LOG: f64 = 0.02;
/// Standard deviation of the logarithm of scale from one keyframe to the next.
const STEP_SIGMA: f64 = 0.02;
/// The same of what a loop says of it.
const LOOP_SIGMA: f64 = 0.01;

impl Pipeline {
    /// Takes the drift of scale out of the map that loops show, if they show any; returns the loops
    /// as they are in the map's lengths then.
    pub(super) fn even_out_scale(&mut self, loops: Vec<Constraint>) -> Vec<Constraint> {
        if self.inferring.is_metric || self.model.max_views() < 2 {
            return loops;
        }
        let drifts: Vec<f64> = loops.iter().filter_map(|c| self.scale_drift(c)).collect();
        let is_drifted = !drifts.is_empty()
            && drifts.iter().sum::<f64>().abs() > MIN_DRIFT_LOG * drifts.len() as f64;
        let Some(scales) = is_drifted.then(|| self.settled_scales(&loops)).flatten() else {
            return loops;
        };
        self.scale_each(&scales);
        let of = |id: KeyframeId| scales.get(&id).map_or(1.0, |found| found.scale);
        loops.iter().map(|c| in_unit(c, of(c.source))).collect()
    }

    /// Logarithm of how much longer lengths are at the older end of a loop than at the newer.
    fn scale_drift(&self, of: &Constraint) -> Option<f64> {
        let (newer, older) = (self.map.get(of.target)?, self.map.get(of.source)?);
        let there = of.target_from_source.inverse();
        let compared = Comparison::of(log_ratios_across(&newer.pointmap, older, &there))?;
        compared.is_good().then_some(compared.log_scale)
    }

    /// Poses with scales that fit the loops and all that ties keyframes together; `None` where the
    /// loops are not believed. The mean of all scales stays what it was.
    fn settled_scales(&self, loops: &[Constraint]) -> Option<BTreeMap<KeyframeId, Sim3>> {
        let mut graph = SimilarityGraph::default();
        let steps: Vec<_> =
            self.pose_graph.constraints().map(|c| similar(c, 0.0, STEP_SIGMA)).collect();
        graph.update(&steps);
        let closing =
            loops.iter().filter_map(|c| Some(similar(c, self.scale_drift(c)?, LOOP_SIGMA)));
        graph.update_loops(&closing.collect::<Vec<_>>());
        let pose = |k: &Keyframe| Sim3::from_parts(&k.world_from_camera, 1.0);
        let poses = self.map.keyframes().map(|k| (k.id, pose(k))).collect();
        let solved = graph.solve(poses, &self.config.pose_graph);
        let mean_log = solved.poses.values().map(|pose| pose.scale.ln()).sum::<f64>()
            / solved.poses.len().max(1) as f64;
        let factor = (-mean_log).exp();
        let even =
            |pose: &Sim3| Sim3::from_parts(&scaled(pose.rigid(), factor), factor * pose.scale);
        let all = solved.poses.iter().map(|(&id, pose)| (id, even(pose)));
        solved.refused_loops.is_empty().then(|| all.collect())
    }

    /// Moves each keyframe, and multiplies its lengths.
    fn scale_each(&mut self, found: &BTreeMap<KeyframeId, Sim3>) {
        let factor = |id: KeyframeId| found.get(&id).map_or(1.0, |pose| pose.scale);
        for (&id, pose) in found {
            if let Some(keyframe) = self.map.get_mut(id) {
                let pointmap = keyframe.pointmap.scaled(pose.scale);
                set_pointmap(keyframe, pointmap);
            }
        }
        self.pose_graph.rescale_each(factor);
        let past = self.past_sessions.iter_mut().flatten();
        for record in past.chain(&mut self.records) {
            let factor = factor(record.keyframe);
            record.keyframe_from_camera = scaled(record.keyframe_from_camera, factor);
        }
        self.move_keyframes(&found.iter().map(|(&id, pose)| (id, pose.rigid())).collect());
        let Some(anchor) = self.anchor.as_ref().map(|anchor| anchor.keyframe) else { return };
        self.scale_motion(factor(anchor));
        self.renew_anchor(factor(anchor));
    }
}

/// A constraint as one between keyframes with scales of their own, where lengths at its source are
/// `drift_log` (a logarithm) longer than at its target; its own are those of the source.
fn similar(constraint: &Constraint, drift_log: f64, sigma: f64) -> SimilarityConstraint {
    let factor = (-drift_log).exp();
    let inner = in_unit(constraint, factor);
    let mut information = SMatrix::<f64, 7, 7>::zeros();
    information.fixed_view_mut::<6, 6>(0, 0).copy_from(&inner.information);
    information[(6, 6)] = sigma.powi(-2);
    SimilarityConstraint {
        target: constraint.target,
        source: constraint.source,
        target_from_source: Sim3::from_parts(&inner.target_from_source, factor),
        information,
    }
}

/// A constraint with its lengths multiplied.
fn in_unit(constraint: &Constraint, factor: f64) -> Constraint {
    let mut scaled_pose: Se3 = constraint.target_from_source;
    scaled_pose.translation.vector *= factor;
    let mut inverse = Matrix6::identity();
    inverse.fixed_view_mut::<3, 3>(3, 3).fill_diagonal(factor.recip());
    let information = inverse * constraint.information * inverse;
    Constraint { target_from_source: scaled_pose, information, ..*constraint }
}
