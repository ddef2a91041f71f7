//! Drift of scale: without a sensor of depth each window takes its scale from the ones before, and is
//! a little off. What adds up shows where a loop closes: the same surface is at two depths there.
//!
//! Such a loop is an edge over Sim(3) (Strasdat, Montiel and Davison, "Scale drift-aware large scale
//! monocular SLAM", RSS 2010). Of the seven dimensions scale is settled first, by itself, since
//! nothing but drift stands against it: along the way it changes evenly, whatever the gap in
//! position. The keyframes' lengths are multiplied by what is found, so that the map has one scale
//! again, and its graph of rigid motions closes the loop.

use std::collections::{BTreeMap, BTreeSet};

use nalgebra::{Matrix1, Vector1};

use super::Pipeline;
use super::keyframing::LOOP_GAP_KEYFRAMES;
use super::merging::{Comparison, log_ratios_across, set_pointmap};
use super::scaling::scaled;
use crate::block_system::BlockSystem;
use crate::constraint::Constraint;
use crate::geometry::Se3;
use crate::keyframe::{Keyframe, KeyframeId};
use crate::recognition::Sighting;

/// Drift by less than this is within what two windows differ by.
const MIN_DRIFT_LOG: f64 = 0.03;
/// Standard deviation of the logarithm of scale from one keyframe to the next.
const STEP_SIGMA: f64 = 0.01;
/// The same of what a loop says of it.
const LOOP_SIGMA: f64 = 0.02;
/// Holds the mean of all scales, which nothing else says: a weight next to nothing.
const GAUGE: f64 = 1e-6;

/// By what the lengths at keyframes are to be multiplied.
struct Factors(BTreeMap<KeyframeId, f64>);

impl Factors {
    fn at(&self, id: KeyframeId) -> f64 {
        self.0.get(&id).copied().unwrap_or(1.0)
    }

    /// What a way between two keyframes is to be multiplied by.
    fn between(&self, a: KeyframeId, b: KeyframeId) -> f64 {
        (self.at(a) * self.at(b)).sqrt()
    }
}

impl Pipeline {
    /// Takes the drift of scale out of the map that loops show, and returns the loops as they are in
    /// the map's lengths then; `None` where they show none.
    pub(super) fn even_out_scale(&mut self, loops: &[Constraint]) -> Option<Vec<Constraint>> {
        if !self.may_drift_in_scale() {
            return None;
        }
        let drifts = loops.iter().filter_map(|c| Some((*c, self.scale_drift(c)?)));
        let drifts: Vec<(Constraint, f64)> = drifts.collect();
        let at_older = |(c, log): &(Constraint, f64)| if c.source < c.target { *log } else { -log };
        let mean = drifts.iter().map(at_older).sum::<f64>() / drifts.len().max(1) as f64;
        if mean.abs() < MIN_DRIFT_LOG {
            return None;
        }
        let factors = self.evening_factors(loops, &drifts)?;
        self.multiply_lengths(&factors);
        // What a loop says of the way is in the lengths of its older end.
        let evened = |c: &Constraint| c.lengthened(factors.at(c.source));
        Some(loops.iter().map(evened).collect())
    }

    /// The same of a window that has closed a loop, whose constraints are in the graph already; returns
    /// whether there was drift.
    pub(super) fn even_out_across(&mut self, window: &[Constraint], ids: &[KeyframeId]) -> bool {
        let is_long = |c: &&Constraint| c.target.0.abs_diff(c.source.0) >= LOOP_GAP_KEYFRAMES;
        let long: Vec<Constraint> = window.iter().filter(is_long).copied().collect();
        let Some(evened) = self.even_out_scale(&long) else { return false };
        self.pose_graph.update(&evened);
        self.settle(ids);
        true
    }

    /// Whether lengths are what windows made of them, one from the other.
    pub(super) fn may_drift_in_scale(&self) -> bool {
        !self.inferring.is_metric && self.model.max_views() > 1
    }

    /// How many times as long as at a keyframe lengths are at another one that was sighted from it; one
    /// where that is not known, or cannot be otherwise.
    pub(super) fn lengths_across(&self, from: KeyframeId, sighting: &Sighting) -> f64 {
        let keyframes = self.map.get(from).zip(self.map.get(sighting.keyframe));
        let keyframes = keyframes.filter(|_| self.may_drift_in_scale());
        let log = keyframes
            .and_then(|(from, to)| log_lengths_across(from, to, &sighting.pose.target_from_source));
        log.unwrap_or(0.0).exp()
    }

    /// Logarithm of how much longer lengths are at the source of a loop than at its target, by what
    /// both see.
    fn scale_drift(&self, of: &Constraint) -> Option<f64> {
        let (target, source) = (self.map.get(of.target)?, self.map.get(of.source)?);
        log_lengths_across(target, source, &of.target_from_source.inverse())
    }

    /// Factors under which both ends of the loops agree, and that change as little as may be between
    /// keyframes that are tied together otherwise; least squares of their logarithms, of mean zero.
    fn evening_factors(
        &self,
        loops: &[Constraint],
        drifts: &[(Constraint, f64)],
    ) -> Option<Factors> {
        let ids: Vec<KeyframeId> = self.map.keyframes().map(|k| k.id).collect();
        let index = |id: KeyframeId| ids.binary_search(&id).ok();
        let closing: BTreeSet<_> = loops.iter().map(|c| (c.target, c.source)).collect();
        let steps = self.pose_graph.constraints();
        let steps = steps.filter(|c| !closing.contains(&(c.target, c.source)));
        let steps = steps.map(|c| (c, 0.0, self.step_sigma(c)));
        let ends = drifts.iter().map(|(c, drift_log)| (c, *drift_log, LOOP_SIGMA));
        let edges: Vec<([usize; 2], f64, f64)> = steps
            .chain(ends)
            .filter_map(|(c, log, sigma)| {
                Some(([index(c.target)?, index(c.source)?], log, sigma.powi(-2)))
            })
            .collect();
        let logs = least_squares(ids.len(), &edges)?;
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        Some(Factors(ids.into_iter().zip(logs.iter().map(|log| (log - mean).exp())).collect()))
    }

    /// Standard deviation of the logarithm of scale across a constraint. Those of one window say the
    /// same, and so do all that span a keyframe: together they are no surer than one of them.
    fn step_sigma(&self, of: &Constraint) -> f64 {
        let ties = |id: KeyframeId| self.pose_graph.neighbours(id).count();
        let steps = of.target.0.abs_diff(of.source.0).max(1);
        STEP_SIGMA * (f64::from(steps) * ties(of.target).min(ties(of.source)).max(1) as f64).sqrt()
    }

    /// Multiplies the lengths at each keyframe, and those of the way from each to the next.
    fn multiply_lengths(&mut self, factors: &Factors) {
        let mut poses: BTreeMap<KeyframeId, Se3> = BTreeMap::new();
        let mut before: Option<(KeyframeId, Se3, Se3)> = None;
        for (&id, &factor) in &factors.0 {
            let Some(keyframe) = self.map.get_mut(id) else { continue };
            let pointmap = keyframe.pointmap.scaled(factor);
            set_pointmap(keyframe, pointmap);
            let was = keyframe.world_from_camera;
            let now = before.map_or(was, |(last, last_was, last_now)| {
                last_now * scaled(last_was.inv_mul(&was), factors.between(last, id))
            });
            poses.insert(id, now);
            before = Some((id, was, now));
        }
        self.pose_graph.rescale_each(|c| factors.between(c.target, c.source));
        let past = self.past_sessions.iter_mut().flatten();
        for record in past.chain(&mut self.records) {
            let factor = factors.at(record.keyframe);
            record.keyframe_from_camera = scaled(record.keyframe_from_camera, factor);
        }
        self.move_keyframes(&poses);
        let Some(anchor) = self.anchor.as_ref().map(|anchor| anchor.keyframe) else { return };
        self.scale_motion(factors.at(anchor));
        self.renew_anchor(factors.at(anchor));
    }
}

/// Logarithm of how many times as long as at a keyframe lengths are at another one, by what both see.
pub(super) fn log_lengths_across(
    from: &Keyframe,
    to: &Keyframe,
    to_from_from: &Se3,
) -> Option<f64> {
    let logs = log_ratios_across(&from.pointmap, to, to_from_from);
    Comparison::of(logs).filter(Comparison::is_good).map(|compared| compared.log_scale)
}

/// The numbers whose differences (first less second) fit all edges (indices, difference, weight) best.
fn least_squares(count: usize, edges: &[([usize; 2], f64, f64)]) -> Option<Vec<f64>> {
    let pairs: Vec<[usize; 2]> = edges.iter().map(|(pair, ..)| *pair).collect();
    let mut system = BlockSystem::<1>::new(count, &pairs)?;
    system.clear();
    (0..count).for_each(|unknown| system.add_diagonal(unknown, &Matrix1::new(GAUGE)));
    for (index, ([a, b], difference, weight)) in edges.iter().enumerate() {
        system.add_diagonal(*a, &Matrix1::new(*weight));
        system.add_diagonal(*b, &Matrix1::new(*weight));
        system.add_pair(index, &Matrix1::new(-weight));
        system.add_right(*a, &Vector1::new(weight * difference));
        system.add_right(*b, &Vector1::new(-weight * difference));
    }
    let solution = system.factorize(0.0).then(|| system.solve()).flatten()?;
    Some(solution.iter().map(|value| value[0]).collect())
}
