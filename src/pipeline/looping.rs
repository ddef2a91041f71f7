//! Loops: places that are seen again after the way to them has drifted.
//!
//! A loop that closes bends the map, so a wrong one would spoil it. It has to be seen by several
//! keyframes that agree, by what the images and the depths show there, and must not call for more
//! correction than the way between can have [drifted](super::drift): rooms that look alike are told
//! apart by that alone. One that calls for more than drift usually comes to has to be borne out by
//! the places that follow: two doors can look alike, but hardly all that comes after them.

use std::collections::BTreeSet;

use super::drift::{Suspicion, Travel};
use super::keyframing::seen_depth_m;
use super::scaling::scaled;
use super::{Pipeline, PreparedFrame};
use crate::constraint::Constraint;
use crate::keyframe::KeyframeId;
use crate::recognition::{Query, Sighting};

/// Keyframes beside a candidate that are asked for their opinion, too.
const MAX_WITNESSES: usize = 3;
/// Keyframes before that have to call for the same correction where it is an unusual one.
const MIN_SUPPORTERS: usize = 3;
/// For how many keyframes a loop that nothing bore out is remembered.
const MEMORY_KEYFRAMES: u32 = 40;

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
    let way = Travel::of(&constraint.target_from_source);
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
            self.suspect(newest, &sightings);
            return false;
        };
        self.suspected.clear();
        let constraints = self.even_out_scale(&constraints).unwrap_or(constraints);
        self.tie(&constraints);
        let refused = self.settle(&[newest, older]);
        if constraints.iter().all(|c| refused.contains(&(c.target, c.source))) {
            return false;
        }
        self.see_anew(newest);
        self.align_around(newest, Some(older));
        true
    }

    /// Where older keyframes that nothing ties to the newest one yet see it, by their keypoints or by
    /// what the model says, as far as the way between them can have drifted that much.
    fn seen_before(&self, newest: KeyframeId) -> Vec<Sighting> {
        let near = self.tied_to(newest);
        let gap = self.config.recognition.min_loop_gap_keyframes;
        let exclude = |id: KeyframeId| near.contains(&id) || newest.0.saturating_sub(id.0) < gap;
        let candidates = self.candidates(newest, exclude);
        let mut asked: BTreeSet<KeyframeId> = candidates.iter().copied().collect();
        let mut sightings = self.sightings_by_keypoints(newest, candidates);
        for by_model in self.sightings_by_model(newest) {
            // Two opinions of one keyframe are one voice, and keypoints are the more exact.
            let is_new = sightings.iter().all(|other| other.keyframe != by_model.keyframe);
            if is_new && !exclude(by_model.keyframe) {
                sightings.push(by_model);
            }
        }
        let Some(first) = sightings.first().map(|s| s.keyframe) else { return sightings };
        let witnesses = self.covisibility.neighbours(first).into_iter().map(|(id, _)| id);
        let witnesses: Vec<KeyframeId> =
            witnesses.filter(|&id| !exclude(id) && asked.insert(id)).take(MAX_WITNESSES).collect();
        sightings.extend(self.sightings_by_keypoints(newest, witnesses));
        sightings
    }

    /// Keyframes that look like the newest one, the most alike first.
    fn candidates(
        &self,
        newest: KeyframeId,
        exclude: impl Fn(KeyframeId) -> bool,
    ) -> Vec<KeyframeId> {
        let recognizer = self.recognizer.as_ref();
        let known = recognizer.and_then(|r| Some((r, r.newest_features(newest)?)));
        let found = known.map(|(recognizer, features)| recognizer.candidates(features, exclude));
        found.and_then(Result::ok).unwrap_or_default()
    }

    /// Where keyframes see the newest one by its keypoints, as far as it can have drifted there.
    fn sightings_by_keypoints(
        &self,
        newest: KeyframeId,
        keyframes: Vec<KeyframeId>,
    ) -> Vec<Sighting> {
        let (Some(recognizer), Some(keyframe)) = (&self.recognizer, self.map.get(newest)) else {
            return Vec::new();
        };
        let Some(features) = recognizer.newest_features(newest) else { return Vec::new() };
        let query = Query {
            image: &keyframe.frame.color,
            features,
            camera: &keyframe.camera,
            pointmap: Some(&keyframe.pointmap),
            is_up_to_scale: self.may_drift_in_scale(),
        };
        let keyframes = keyframes.into_iter().filter_map(|id| self.map.get(id));
        let sightings = keyframes.filter_map(|known| recognizer.sight(&query, known));
        sightings.filter(|s| self.suspicion(newest, s) != Suspicion::Absurd).collect()
    }

    /// Keyframes tied to one directly, or to one of those.
    pub(super) fn tied_to(&self, id: KeyframeId) -> BTreeSet<KeyframeId> {
        let tied = |id: KeyframeId| self.pose_graph.neighbours(id);
        let mut all: BTreeSet<KeyframeId> = tied(id).collect();
        all.extend(all.clone().into_iter().flat_map(tied));
        all.insert(id);
        all
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
        let agree_now = recognizer.consensus(sightings);
        let mut agreeing = match (agree_now, sightings) {
            (Some(agreeing), _) => self.borne_out(newest, agreeing, 0),
            (None, [sighting]) => self.borne_out(newest, vec![sighting.clone()], 1),
            (None, _) => Vec::new(),
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

    /// The sightings if enough was seen before that called for the same correction: by `least`
    /// keyframes, and over a way as long as the view is deep where the correction is unusual.
    fn borne_out(
        &self,
        newest: KeyframeId,
        sightings: Vec<Sighting>,
        least: usize,
    ) -> Vec<Sighting> {
        let Some(first) = sightings.first() else { return sightings };
        let supporters = self.supporters(newest, first);
        let is_enough = match self.suspicion(newest, first) {
            Suspicion::Usual => supporters.len() >= least,
            Suspicion::Unusual => {
                supporters.len() >= least.max(MIN_SUPPORTERS) && self.spans(newest, &supporters)
            }
            Suspicion::Absurd => false,
        };
        if is_enough { sightings } else { Vec::new() }
    }

    /// The keyframes of late that saw other keyframes and by that call for the same correction.
    fn supporters(&self, newest: KeyframeId, sighting: &Sighting) -> Vec<KeyframeId> {
        let pose = |id: KeyframeId| self.map.get(id).map(|k| k.world_from_camera);
        let (Some(world_from_newest), Some(recognizer)) = (pose(newest), &self.recognizer) else {
            return Vec::new();
        };
        // What lies between the two was measured in the lengths of here, where they saw it in those of there.
        let longer_there = self.lengths_across(newest, sighting);
        let agrees = |(before, last): &(KeyframeId, Sighting)| {
            let way = pose(*before)?.inv_mul(&world_from_newest);
            let newest_by_last = last.world_from_view * scaled(way, longer_there);
            let as_last = Sighting { world_from_view: newest_by_last, ..sighting.clone() };
            let is_other = last.keyframe != sighting.keyframe;
            (is_other && recognizer.agree(&as_last, sighting)).then_some(*before)
        };
        self.suspected.iter().filter_map(agrees).collect()
    }

    /// Whether the camera has come as far since the first of the supporters as it sees: what it
    /// looks at now is not what it looked at then.
    fn spans(&self, newest: KeyframeId, supporters: &[KeyframeId]) -> bool {
        let keyframes =
            supporters.first().and_then(|&id| self.map.get(id)).zip(self.map.get(newest));
        keyframes.is_some_and(|(first, newest)| {
            let gap = first.world_from_camera.inv_mul(&newest.world_from_camera);
            let reach_m = seen_depth_m(newest);
            Travel::of(&gap).length() >= reach_m
        })
    }

    /// Remembers what a keyframe was alone to see.
    fn suspect(&mut self, newest: KeyframeId, sightings: &[Sighting]) {
        let is_of_late = |id: KeyframeId| newest.0.saturating_sub(id.0) <= MEMORY_KEYFRAMES;
        self.suspected.retain(|(id, _)| *id != newest && is_of_late(*id));
        self.suspected.extend(sightings.first().map(|sighting| (newest, sighting.clone())));
    }
}
