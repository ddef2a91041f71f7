//! Loops: places that are seen again after the way to them has drifted.
//!
//! A loop that closes bends the map, so a wrong one would spoil it. It has to be seen by several
//! keyframes that agree, by what the images and the depths show there, and must not call for more
//! correction than the way between can have drifted: rooms that look alike are told apart by that
//! alone.

use std::collections::{BTreeMap, BTreeSet};

use super::{Pipeline, PreparedFrame};
use crate::constraint::Constraint;
use crate::geometry::{Se3, se3};
use crate::keyframe::KeyframeId;
use crate::recognition::{Query, Sighting};

/// How far the camera has come.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Travel {
    pub metres: f64,
    pub radians: f64,
}

impl Travel {
    pub fn add(&mut self, step: &Se3) {
        self.metres += step.translation.vector.norm();
        self.radians += se3::angle_rad(step);
    }

    /// Metres and radians as one: a turn by a radian drifts about as much as a metre.
    fn length(&self) -> f64 {
        self.metres + self.radians
    }
}

/// A length that can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq)]
struct OrderedLength(f64);

impl Eq for OrderedLength {}

impl PartialOrd for OrderedLength {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OrderedLength {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Keyframes beside a candidate that are asked for their opinion, too.
const MAX_WITNESSES: usize = 3;

/// Returns what a sighting says as an edge of the pose graph.
pub(super) fn loop_constraint(view: KeyframeId, sighting: &Sighting) -> Constraint {
    sober(&Constraint {
        target: sighting.keyframe,
        source: view,
        target_from_source: sighting.pose.target_from_source,
        information: sighting.pose.information,
    })
}

/// Returns a constraint that is no surer than tracking can be: the residuals of neighbouring
/// pixels err together, and a camera that is not quite calibrated drifts with the way. Its
/// covariance is scaled as a whole, since what it says of directions is right.
pub(super) fn sober(constraint: &Constraint) -> Constraint {
    let Some(factor) = constraint.information.cholesky() else { return *constraint };
    let covariance = factor.inverse();
    // Mean variance of the rotation and of the position, in the sense of the volume.
    let variance =
        |first: usize| covariance.fixed_view::<3, 3>(first, first).determinant().max(1e-60).cbrt();
    let mut way = Travel::default();
    way.add(&constraint.target_from_source);
    let least_rad = DRIFT_RAD + DRIFT_FRAC * way.radians;
    let least_m = DRIFT_M + DRIFT_FRAC * way.metres;
    let growth = (least_rad * least_rad / variance(0)).max(least_m * least_m / variance(3));
    Constraint { information: constraint.information / growth.max(1.0), ..*constraint }
}

/// Standard deviation of what alignment gets wrong: a part that is always there, …
const DRIFT_M: f64 = 0.001;
/// See [`DRIFT_M`].
const DRIFT_RAD: f64 = 0.001;
/// … and one that grows with the way between two keyframes.
const DRIFT_FRAC: f64 = 0.01;

impl Pipeline {
    /// Closes the loop that the newest keyframe ends, if it ends one; returns whether it did.
    pub(super) fn close_loop(&mut self, newest: KeyframeId, frame: &PreparedFrame) -> bool {
        if !self.config.recognition.close_loops {
            return false;
        }
        let sightings = self.seen_before(newest);
        let constraints = self.trusted(newest, frame, &sightings);
        let Some(older) = constraints.first().map(|c| c.source) else {
            self.unconfirmed = sightings.first().map(|s| (newest, s.clone()));
            return false;
        };
        self.unconfirmed = None;
        self.tie(&constraints);
        let refused = self.settle(&[newest, older]);
        if constraints.iter().all(|c| refused.contains(&(c.target, c.source))) {
            return false;
        }
        self.see_anew(newest);
        self.align_around(newest, Some(older));
        true
    }

    /// Where older keyframes that nothing ties to the newest one yet see it, as far as the way
    /// between them can have drifted that much.
    fn seen_before(&self, newest: KeyframeId) -> Vec<Sighting> {
        let (Some(recognizer), Some(keyframe)) = (&self.recognizer, self.map.get(newest)) else {
            return Vec::new();
        };
        let Some(features) = recognizer.newest_features(newest) else { return Vec::new() };
        let near = self.tied_to(newest);
        let gap = self.config.recognition.min_loop_gap_keyframes;
        let exclude = |id: KeyframeId| near.contains(&id) || newest.0.saturating_sub(id.0) < gap;
        let query =
            Query { features, camera: &keyframe.camera, pointmap: Some(&keyframe.pointmap) };
        let sight = |id: KeyframeId| -> Option<Sighting> {
            let sighting = recognizer.sight(&query, self.map.get(id)?)?;
            self.can_have_drifted(newest, &sighting).then_some(sighting)
        };
        let candidates = recognizer.candidates(features, exclude).unwrap_or_default();
        let mut asked: BTreeSet<KeyframeId> = candidates.iter().copied().collect();
        let mut sightings: Vec<Sighting> = candidates.into_iter().filter_map(sight).collect();
        let Some(first) = sightings.first().map(|s| s.keyframe) else { return sightings };
        let witnesses = self.covisibility.neighbours(first).into_iter().map(|(id, _)| id);
        let witnesses: Vec<KeyframeId> =
            witnesses.filter(|&id| !exclude(id) && asked.insert(id)).take(MAX_WITNESSES).collect();
        sightings.extend(witnesses.into_iter().filter_map(sight));
        sightings
    }

    /// Keyframes tied to one directly, or to one of those.
    fn tied_to(&self, id: KeyframeId) -> BTreeSet<KeyframeId> {
        let tied = |id: KeyframeId| self.pose_graph.neighbours(id);
        let mut all: BTreeSet<KeyframeId> = tied(id).collect();
        all.extend(all.clone().into_iter().flat_map(tied));
        all.insert(id);
        all
    }

    /// Whether the way between can have drifted as much as a sighting says. What counts is the
    /// shortest way through the graph: once a loop is closed, what it ties has not drifted apart.
    fn can_have_drifted(&self, newest: KeyframeId, sighting: &Sighting) -> bool {
        let Some(keyframe) = self.map.get(newest) else { return false };
        let config = &self.config.recognition;
        let Some(way) = self.shortest_way(newest, sighting.keyframe) else { return true };
        let limit_m = config.max_disagreement_m + config.max_drift_frac * way.metres;
        let limit_rad =
            config.max_disagreement_deg.to_radians() + config.max_drift_frac * way.radians;
        let gap = keyframe.world_from_camera.inv_mul(&sighting.world_from_view);
        gap.translation.vector.norm() <= limit_m && se3::angle_rad(&gap) <= limit_rad
    }

    /// The shortest way between two keyframes along constraints, or `None` where there is none.
    fn shortest_way(&self, from: KeyframeId, to: KeyframeId) -> Option<Travel> {
        let pose = |id: KeyframeId| self.map.get(id).map(|k| k.world_from_camera);
        let mut open = BTreeMap::from([((OrderedLength(0.0), from), Travel::default())]);
        let mut settled = BTreeSet::new();
        while let Some(((_, id), way)) = open.pop_first() {
            if id == to {
                return Some(way);
            }
            if !settled.insert(id) {
                continue;
            }
            for next in self.pose_graph.neighbours(id).filter(|next| !settled.contains(next)) {
                let mut further = way;
                further.add(&pose(id)?.inv_mul(&pose(next)?));
                open.insert((OrderedLength(further.length()), next), further);
            }
        }
        None
    }

    /// What ties the newest keyframe to those that agree on where they saw it: as the tracker
    /// finds it from there, with all evidence good. A pose by keypoints alone is too coarse to bend
    /// a map by; the next keyframes will have come nearer.
    fn trusted(
        &self,
        newest: KeyframeId,
        frame: &PreparedFrame,
        sightings: &[Sighting],
    ) -> Vec<Constraint> {
        let Some(recognizer) = &self.recognizer else { return Vec::new() };
        let mut agreeing = match recognizer.consensus(sightings) {
            Some(agreeing) => agreeing,
            None => self.confirmed_by_the_last(newest, sightings),
        };
        agreeing.sort_by_key(|s| std::cmp::Reverse(s.pose.inliers.len()));
        agreeing.iter().filter_map(|s| self.tracked_loop(newest, frame, s)).collect()
    }

    fn tracked_loop(
        &self,
        newest: KeyframeId,
        frame: &PreparedFrame,
        sighting: &Sighting,
    ) -> Option<Constraint> {
        let keyframe = self.map.get(sighting.keyframe)?;
        let tracked = self.tracked_from(keyframe, frame, sighting);
        let target_from_source = tracked.view.target_from_reference;
        let as_tracked = Sighting {
            world_from_view: keyframe.world_from_camera * target_from_source.inverse(),
            ..sighting.clone()
        };
        let agrees = self.recognizer.as_ref().is_some_and(|r| r.agree(&as_tracked, sighting));
        let information = tracked.covariance.cholesky()?.inverse();
        let constraint =
            Constraint { target: newest, source: keyframe.id, target_from_source, information };
        (agrees && self.config.relocalization.accepts(&tracked)).then(|| sober(&constraint))
    }

    /// One sighting is enough where the keyframe before had one that called for the same
    /// correction.
    fn confirmed_by_the_last(&self, newest: KeyframeId, sightings: &[Sighting]) -> Vec<Sighting> {
        let (Some((before, last)), [sighting]) = (&self.unconfirmed, sightings) else {
            return Vec::new();
        };
        let pose = |id: KeyframeId| self.map.get(id).map(|k| k.world_from_camera);
        let (Some(world_from_newest), Some(world_from_before)) = (pose(newest), pose(*before))
        else {
            return Vec::new();
        };
        let newest_by_last = last.world_from_view * world_from_before.inv_mul(&world_from_newest);
        let as_last = Sighting { world_from_view: newest_by_last, ..sighting.clone() };
        let agrees = self.recognizer.as_ref().is_some_and(|r| r.agree(&as_last, sighting));
        if agrees && last.keyframe != sighting.keyframe {
            vec![sighting.clone()]
        } else {
            Vec::new()
        }
    }
}
