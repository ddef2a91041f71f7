//! Keyframes in the pipeline: when one is left, which one follows, and how all are aligned.

use std::collections::{BTreeMap, BTreeSet};

use nalgebra::Point3;

use super::inferring::Candidate;
use super::looping::sober;
use super::merging::set_pointmap;
use super::prepare::mean_depth_m;
use super::{Motion, Pipeline, PreparedFrame};
use crate::alignment::align_window;
use crate::constraint::Constraint;
use crate::dense_residual::RelativeView;
use crate::error::{Error, Result};
use crate::geometry::Se3;
use crate::keyframe::{Keyframe, KeyframeId};
use crate::pointmap::Pointmap;
use crate::tracking::{Tracked, has_left_keyframe};
use crate::window::{CovisibilityGraph, overlap_frac, sample_window, seen_frac};

/// Keyframes whose cameras are further apart than this many mean depths share nothing.
const REACH_DEPTHS: f64 = 2.0;
/// Keyframes share something worth knowing from this on.
const COVISIBLE_FRAC: f64 = 0.1;
/// A constraint between keyframes this many apart closes a loop: the camera has been away.
pub(super) const LOOP_GAP_KEYFRAMES: u32 = 20;

/// What has become of the keyframe that a frame was tracked against.
#[derive(Default)]
pub(super) struct KeyframeChange {
    pub new_keyframe: Option<KeyframeId>,
    pub loop_closed: bool,
}

impl Pipeline {
    /// Takes up an older keyframe, or makes a new one, once the frame has left its own.
    pub(super) fn change_keyframe(
        &mut self,
        frame: &PreparedFrame,
        tracked: &Tracked,
    ) -> Result<KeyframeChange> {
        let frame_from_keyframe = tracked.view.target_from_reference;
        let Some(current) = self.current_keyframe() else {
            return Ok(KeyframeChange::default());
        };
        let depth_m = frame.mean_depth_m.unwrap_or_else(|| seen_depth_m(current));
        let shared =
            shared_frac(frame, current, &frame_from_keyframe.inverse()).min(tracked.overlap_frac);
        let is_weak = frame.mean_depth_m.is_none() && self.is_weakening(tracked);
        let has_left =
            has_left_keyframe(&frame_from_keyframe, shared, depth_m, &self.config.keyframe)
                || is_weak;
        if !has_left && !self.wants_keyframe && !self.late.is_urgent() {
            self.look_ahead(frame, tracked);
            return Ok(KeyframeChange::default());
        }
        let current_id = current.id;
        let world_from_camera = current.world_from_camera * frame_from_keyframe.inverse();
        self.late.note_weakness(is_weak);
        let older = match self.wants_keyframe {
            true => None,
            false => self.better_keyframe(frame, &world_from_camera, current_id, shared),
        };
        if let Some(older) = older {
            return Ok(self.return_to(older, current_id, &frame_from_keyframe, tracked));
        }
        if tracked.inlier_frac < self.config.keyframe.min_inlier_frac {
            return Ok(KeyframeChange::default());
        }
        if self.late.is_on() && self.measured_enough(frame).is_none() {
            self.ask_for_keyframe(Candidate { frame, world_from_camera });
            self.bridge(frame, tracked);
            return Ok(KeyframeChange::default());
        }
        let keyframe = match self.add_keyframe(frame, world_from_camera) {
            Err(Error::MissingInput { .. }) => return Ok(KeyframeChange::default()),
            added => added?,
        };
        self.wants_keyframe = false;
        let loop_closed = self.tie_in(keyframe, frame);
        self.set_anchor(keyframe);
        self.hang_on(keyframe, RelativeView::identity());
        Ok(KeyframeChange { new_keyframe: Some(keyframe), loop_closed })
    }

    /// Brings a new keyframe into agreement with the others; returns whether that closed a loop.
    pub(super) fn tie_in(&mut self, keyframe: KeyframeId, frame: &PreparedFrame) -> bool {
        let loop_closed = self.align_around(keyframe, None) | self.close_loop(keyframe, frame);
        self.look_back(keyframe);
        loop_closed
    }

    /// Goes on from an older keyframe. Where nothing ties it to the one that is left, the two are
    /// aligned first: the way between them has drifted, and this is where that shows.
    fn return_to(
        &mut self,
        older: KeyframeId,
        current: KeyframeId,
        frame_from_current: &Se3,
        tracked: &Tracked,
    ) -> KeyframeChange {
        let is_tied = self.pose_graph.connects(older, current);
        let loop_closed = !is_tied && self.align_around(older, Some(current));
        let pose = |id| self.map.get(id).map(|k| k.world_from_camera);
        if let (Some(world_from_older), Some(world_from_current)) = (pose(older), pose(current)) {
            let pose = frame_from_current * world_from_current.inv_mul(&world_from_older);
            self.set_anchor(older);
            self.hang_on(older, RelativeView { target_from_reference: pose, ..tracked.view });
        }
        KeyframeChange { new_keyframe: None, loop_closed }
    }

    /// The keyframe that shares most with the frame, if clearly more than the current one does.
    pub(super) fn better_keyframe(
        &self,
        frame: &PreparedFrame,
        world_from_camera: &Se3,
        current: KeyframeId,
        shared: f64,
    ) -> Option<KeyframeId> {
        let least = self.config.keyframe.reuse_overlap_frac.max(shared + 0.02);
        // Without depth nothing but the map says that the frame sees what an older one saw, and at the
        // end of a long way the map may have it elsewhere: a new keyframe finds that out.
        let tied = frame.mean_depth_m.is_none().then(|| self.tied_to(current));
        let may_follow = |id: KeyframeId| tied.as_ref().is_none_or(|tied| tied.contains(&id));
        self.overlaps(frame, world_from_camera)
            .into_iter()
            .filter(|&(id, overlap)| id != current && overlap >= least && may_follow(id))
            .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
            .map(|(id, _)| id)
    }

    /// What each keyframe near a frame shares with it.
    pub(super) fn overlaps(
        &self,
        frame: &PreparedFrame,
        world_from_camera: &Se3,
    ) -> Vec<(KeyframeId, f64)> {
        let seen_m = || self.current_keyframe().map_or(0.0, seen_depth_m);
        let reach_m = REACH_DEPTHS * frame.mean_depth_m.unwrap_or_else(seen_m);
        let near = self.within_reach(world_from_camera, reach_m);
        near.into_iter()
            .filter_map(|id| self.map.get(id))
            .map(|keyframe| {
                let keyframe_from_frame = keyframe.world_from_camera.inv_mul(world_from_camera);
                let pyramids = (&keyframe.pyramid, &frame.pyramid);
                let back = match frame.mean_depth_m {
                    Some(_) => overlap_frac(pyramids.0, pyramids.1, &keyframe_from_frame.inverse()),
                    None => seen_frac(pyramids.0, pyramids.1, &keyframe_from_frame.inverse()),
                };
                (keyframe.id, shared_frac(frame, keyframe, &keyframe_from_frame).min(back))
            })
            .collect()
    }

    /// Keyframes within reach of a place, of those that may be seen again.
    fn within_reach(&self, world_from_camera: &Se3, reach_m: f64) -> Vec<KeyframeId> {
        let mut near = self.places.within(&world_from_camera.translation.vector.into(), reach_m);
        if let Some(known) = self.known_without_loops() {
            near.retain(|id| known.contains(id));
        }
        near
    }

    /// What may be seen again where loops are not to be closed: only what the keyframe that is
    /// tracked is tied to already. `None` is everything.
    fn known_without_loops(&self) -> Option<BTreeSet<KeyframeId>> {
        let anchor = self.anchor.as_ref().filter(|_| !self.config.recognition.close_loops)?;
        Some(self.tied_to(anchor.keyframe))
    }

    /// What each other keyframe near one shares with it.
    fn overlaps_of(&self, keyframe: &Keyframe) -> Vec<(KeyframeId, f64)> {
        let reach_m = REACH_DEPTHS * seen_depth_m(keyframe);
        let near = self.within_reach(&keyframe.world_from_camera, reach_m);
        near.into_iter()
            .filter_map(|id| self.map.get(id))
            .map(|other| {
                let there = other.world_from_camera.inv_mul(&keyframe.world_from_camera);
                let back = overlap_frac(&other.pyramid, &keyframe.pyramid, &there.inverse());
                let there = overlap_frac(&keyframe.pyramid, &other.pyramid, &there);
                (other.id, there.min(back))
            })
            .collect()
    }

    /// Whether a frame is still placed, but will soon not be if things go on like this.
    fn is_weakening(&self, tracked: &Tracked) -> bool {
        let config = &self.config.tracking;
        let half_way = |least: f64| 0.5 * (1.0 + least);
        tracked.inlier_frac < half_way(config.min_inlier_frac)
            || tracked.correlation.is_some_and(|c| c < half_way(config.min_correlation))
    }

    pub(super) fn add_keyframe(
        &mut self,
        frame: &PreparedFrame,
        world_from_camera: Se3,
    ) -> Result<KeyframeId> {
        let candidate = Candidate { frame, world_from_camera };
        let is_asked_later = self.late.is_on() && frame.mean_depth_m.is_some();
        let others = is_asked_later.then(|| self.companions(&candidate));
        let pointmap = self.infer_geometry(candidate)?;
        let keyframe = self.insert_keyframe(candidate, pointmap)?;
        if let Some(others) = others {
            self.ask_to_fill(keyframe, candidate, others);
        }
        Ok(keyframe)
    }

    /// Makes a keyframe of a view whose geometry is known.
    pub(super) fn insert_keyframe(
        &mut self,
        candidate: Candidate<'_>,
        pointmap: Pointmap,
    ) -> Result<KeyframeId> {
        let Candidate { frame, world_from_camera } = candidate;
        let id = self.map.take_id();
        if let Some((features, recognizer)) = self.describe(frame).zip(self.recognizer.as_mut()) {
            recognizer.insert(id, features)?;
        }
        let mut keyframe = Keyframe {
            id,
            frame: frame.frame.clone(),
            camera: frame.camera,
            pyramid: frame.pyramid.clone(),
            pointmap: pointmap.clone(),
            world_from_camera,
        };
        set_pointmap(&mut keyframe, pointmap);
        self.map.insert(keyframe);
        self.places.set(id, world_from_camera.translation.vector.into());
        self.covisibility.insert(id);
        self.see_anew(id);
        Ok(id)
    }

    /// Takes note of what a keyframe shares with others from where it stands now.
    pub(super) fn see_anew(&mut self, id: KeyframeId) {
        let Some(keyframe) = self.map.get(id) else { return };
        let shared = self.overlaps_of(keyframe);
        let is_known =
            |&(other, overlap): &(KeyframeId, f64)| other != id && overlap > COVISIBLE_FRAC;
        for (other, overlap) in shared.into_iter().filter(is_known) {
            self.covisibility.connect(id, other, overlap);
        }
    }

    /// Aligns the window around a keyframe (and `with` another), and lets the pose graph carry the
    /// result on. Returns whether that closed a loop.
    pub(super) fn align_around(&mut self, centre: KeyframeId, with: Option<KeyframeId>) -> bool {
        let looks_at = |id| self.map.get(id).map_or_else(Point3::origin, looks_at);
        let covisible = self.covisible_by_more_than_the_map(centre);
        let covisible = covisible.as_ref().unwrap_or(&self.covisibility);
        let mut ids = sample_window(covisible, centre, looks_at, &self.config.window);
        ids.extend(with.filter(|id| !ids.contains(id)));
        // A window in which nothing matches teaches nothing: the tracked pose stands.
        let Some(constraints) = self.align(&ids) else { return false };
        let loop_closed = self.closes_loop(&constraints);
        if loop_closed && self.even_out_across(&constraints, &ids) {
            // Lengths agree by now, so that the window says better how its keyframes stand.
            self.align(&ids);
        }
        loop_closed
    }

    /// What a keyframe without depth shares with those that constraints tie to it, or while nothing ties
    /// it yet, to the one that is tracked. That it sees what others see is said by the map alone, which
    /// may have it elsewhere at the end of a long way: to find that out is for recognition, where there is
    /// any. `None` where the map may be relied on.
    fn covisible_by_more_than_the_map(&self, centre: KeyframeId) -> Option<CovisibilityGraph> {
        self.recognizer.as_ref()?;
        self.map.get(centre).filter(|keyframe| keyframe.frame.depth.is_none())?;
        let is_tied = self.pose_graph.neighbours(centre).next().is_some();
        let from = if is_tied { centre } else { self.anchor.as_ref()?.keyframe };
        let tied = self.tied_to(from);
        let mut graph = CovisibilityGraph::default();
        graph.insert(centre);
        let shared = self.covisibility.neighbours(centre).into_iter();
        shared
            .filter(|(id, _)| tied.contains(id))
            .for_each(|(id, overlap)| graph.connect(centre, id, overlap));
        Some(graph)
    }

    /// Aligns keyframes, and lets the pose graph carry the result on; returns what ties them together.
    fn align(&mut self, ids: &[KeyframeId]) -> Option<Vec<Constraint>> {
        let window: Vec<&Keyframe> = ids.iter().filter_map(|&id| self.map.get(id)).collect();
        let aligned =
            align_window(&window, self.config.sensor.noise(), &self.config.alignment).ok()?;
        self.move_keyframes(&aligned.world_from_camera);
        let constraints: Vec<Constraint> = aligned.constraints.iter().map(sober).collect();
        self.pose_graph.update(&constraints);
        self.settle(ids);
        Some(constraints)
    }

    /// Lets the pose graph carry on what has changed about keyframes; returns the loops that it
    /// does not believe, the older keyframe first.
    pub(super) fn settle(&mut self, changed: &[KeyframeId]) -> Vec<(KeyframeId, KeyframeId)> {
        let Self { pose_graph, map, config, .. } = self;
        let pose = |id: KeyframeId| map.get(id).map(|k| k.world_from_camera);
        let settled = pose_graph.settle(changed, pose, &config.pose_graph);
        self.move_keyframes(&settled.poses);
        settled.refused_loops
    }

    /// Moves keyframes to new poses.
    pub(super) fn move_keyframes(&mut self, world_from_camera: &BTreeMap<KeyframeId, Se3>) {
        self.map.set_poses(world_from_camera);
        for (&id, pose) in world_from_camera {
            self.places.set(id, pose.translation.vector.into());
        }
    }

    /// Whether the constraints tie together what no constraint tied together across a gap before:
    /// the keyframes beside a closed loop close no further one.
    fn closes_loop(&mut self, constraints: &[Constraint]) -> bool {
        let ends = |c: &Constraint| (c.target.max(c.source), c.target.min(c.source));
        let long: BTreeSet<(KeyframeId, KeyframeId)> = constraints
            .iter()
            .map(ends)
            .filter(|(newer, older)| newer.0 - older.0 >= LOOP_GAP_KEYFRAMES)
            .collect();
        let is_new = |(newer, older): &(KeyframeId, KeyframeId)| {
            let first = KeyframeId(newer.0.saturating_sub(LOOP_GAP_KEYFRAMES));
            let last = KeyframeId(newer.0 + LOOP_GAP_KEYFRAMES);
            let near = self.long_ties.range((first, KeyframeId(0))..=(last, KeyframeId(u32::MAX)));
            !near.into_iter().any(|(_, other)| other.0.abs_diff(older.0) <= LOOP_GAP_KEYFRAMES)
        };
        let closes = long.iter().any(is_new);
        self.long_ties.extend(long);
        closes
    }

    /// Hangs the last frame on another keyframe.
    pub(super) fn hang_on(&mut self, keyframe: KeyframeId, frame_from_keyframe: RelativeView) {
        if let Some(record) = self.records.last_mut() {
            record.keyframe = keyframe;
            record.keyframe_from_camera = frame_from_keyframe.target_from_reference.inverse();
        }
        if let Some(Motion { view, .. }) = &mut self.motion {
            *view = frame_from_keyframe;
        }
    }

    pub(super) fn current_keyframe(&self) -> Option<&Keyframe> {
        self.map.get(self.anchor.as_ref()?.keyframe)
    }
}

/// What a frame shares with a keyframe: surfaces where it has depth, else all that the two look at.
pub(super) fn shared_frac(
    frame: &PreparedFrame,
    keyframe: &Keyframe,
    keyframe_from_frame: &Se3,
) -> f64 {
    match frame.mean_depth_m {
        Some(_) => overlap_frac(&frame.pyramid, &keyframe.pyramid, keyframe_from_frame),
        None => 1.0,
    }
}

/// Mean depth of what a keyframe sees, in the map's unit.
pub(super) fn seen_depth_m(keyframe: &Keyframe) -> f64 {
    mean_depth_m(&keyframe.frame).unwrap_or_else(|| keyframe.pointmap.mean_depth_m().unwrap_or(0.0))
}

/// The point in the world that a keyframe looks at: two metres ahead.
fn looks_at(keyframe: &Keyframe) -> Point3<f64> {
    keyframe.world_from_camera * Point3::new(0.0, 0.0, 2.0)
}
