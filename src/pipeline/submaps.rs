//! Submaps: a camera that is lost for long begins a new map, and the one that it knew is set aside
//! until it sees a place of that again.
//!
//! Lost frames are looked for in the maps aside, too, one map a frame. Where a map grows into
//! another, several of its keyframes have to be recognised there before the two are joined
//! ([`Pipeline::join`]), and odometry, where there is any, must have led there; the world is then that
//! of the older one, as after a loop.

use std::collections::BTreeSet;

use super::drift::Travel;
use super::joining::Lies;
use super::odometry::OdometryMark;
use super::priors::Inferring;
use super::scaling::scaled;
use super::{FrameRecord, GeoReference, Location, MapSnapshot, Pipeline, PreparedFrame};
use crate::geometry::Se3;
use crate::keyframe::KeyframeId;
use crate::map::GlobalMap;
use crate::observer::MapUpdate;
use crate::pose_graph::PoseGraph;
use crate::recognition::Remembered;
use crate::stamp::Stamp;
use crate::window::{CovisibilityGraph, Places};

/// Keyframes that have to be recognised in another map before a join is tried.
const MIN_WITNESSES: usize = 3;

/// The maps of a session but the one that frames are placed in, and since when they are not.
#[derive(Default)]
pub(super) struct Submaps {
    /// Number of the map that frames are placed in.
    current: u32,
    /// Maps begun so far, without the first.
    begun: u32,
    aside: Vec<Submap>,
    lost_since: Option<Stamp>,
}

/// A map that is set aside, and all that belongs to it.
#[derive(Default)]
struct Submap {
    number: u32,
    map: GlobalMap,
    covisibility: CovisibilityGraph,
    places: Places,
    pose_graph: PoseGraph,
    long_ties: BTreeSet<(KeyframeId, KeyframeId)>,
    records: Vec<FrameRecord>,
    past_sessions: Vec<Vec<FrameRecord>>,
    map_from_world: Option<Se3>,
    georeference: Option<GeoReference>,
    travel: Travel,
    mark: Option<OdometryMark>,
    inferring: Inferring,
    remembered: Option<Remembered>,
    /// Keyframes of the current map that were recognised in this one.
    witnesses: BTreeSet<KeyframeId>,
}

impl Submaps {
    /// Returns the number of the map that frames are placed in.
    pub(super) fn current(&self) -> u32 {
        self.current
    }

    /// As [`GlobalMap::forget_unused_pyramids`], of all maps aside.
    pub(super) fn forget_unused_pyramids(&mut self) {
        self.aside.iter_mut().for_each(|submap| submap.map.forget_unused_pyramids());
    }

    /// Takes note that a frame has a pose.
    pub(super) fn note_placed(&mut self) {
        self.lost_since = None;
    }

    /// Returns for how many seconds no frame had a pose, one of `now` included.
    fn lost_secs(&mut self, now: Stamp) -> f64 {
        now.secs_since(*self.lost_since.get_or_insert(now))
    }
}

impl Pipeline {
    /// Sets the map aside where no frame had a pose in it for too long, so that the next frame
    /// begins another.
    pub(super) fn set_aside_if_lost_for_long(&mut self, now: Stamp) {
        let after_secs = self.config.map.new_map_after_secs;
        let is_long = self.submaps.lost_secs(now) >= after_secs;
        if after_secs <= 0.0 || !is_long || self.config.map.localization_only {
            return;
        }
        self.submaps.begun += 1;
        let remembered = self.recognizer.as_ref().map(|recognizer| recognizer.nothing());
        let number = self.submaps.begun;
        self.submaps.aside.push(Submap { number, remembered, ..Submap::default() });
        self.exchange(self.submaps.aside.len() - 1);
        (self.anchor, self.motion, self.lost_frames) = (None, None, 0);
        self.note_other_map();
    }

    /// Looks for a lost frame in one of the maps aside, and goes on in that where it is found.
    pub(super) fn found_aside(&mut self, frame: &PreparedFrame) -> Option<Location> {
        let index = self.lost_frames.checked_rem(self.submaps.aside.len())?;
        self.exchange(index);
        let Ok(location) = self.recognize(frame) else {
            self.exchange(index);
            return None;
        };
        self.motion = None;
        self.note_other_map();
        self.submaps.aside.retain(|submap| !submap.map.is_empty());
        Some(location)
    }

    /// Joins the current map to one aside that enough of its keyframes were recognised in; the
    /// update then says where the frame is in that.
    pub(super) fn join_what_is_seen(&mut self, update: &mut MapUpdate) {
        let Some(newest) = update.new_keyframe.filter(|_| !self.config.map.localization_only)
        else {
            return;
        };
        for index in 0..self.submaps.aside.len() {
            if self.is_seen_in(index, newest) {
                self.submaps.aside[index].witnesses.insert(newest);
            }
            if self.submaps.aside[index].witnesses.len() >= MIN_WITNESSES
                && self.join_with(index, update)
            {
                return;
            }
        }
    }

    fn is_seen_in(&mut self, index: usize, newest: KeyframeId) -> bool {
        let is_up_to_scale = self.may_drift_in_scale();
        let (Some(recognizer), Some(view)) = (&mut self.recognizer, self.map.get(newest)) else {
            return false;
        };
        let Some(features) = recognizer.stored(newest) else { return false };
        let submap = &mut self.submaps.aside[index];
        let Some(remembered) = &mut submap.remembered else { return false };
        recognizer.exchange(remembered);
        let sightings =
            recognizer.sight_stored(view, &features, is_up_to_scale, |id| submap.map.get(id));
        recognizer.exchange(remembered);
        sightings.is_ok_and(|sightings| !sightings.is_empty())
    }

    /// Takes the current map into the one aside; returns whether they agree on how they lie.
    fn join_with(&mut self, index: usize, update: &mut MapUpdate) -> bool {
        let (here, travel) = (self.snapshot(), self.travel);
        let newest = update.new_keyframe.and_then(|id| self.map.get(id));
        let newest = newest.map(|k| (k.frame.odometry, k.world_from_camera));
        // Where odometry says nothing, everything is possible.
        let is_possible = |pipeline: &Self, keyframe: KeyframeId, lies: &Lies| {
            newest.as_ref().is_none_or(|(odometry, other_from_camera)| {
                let other_from_camera = scaled(*other_from_camera, lies.longer);
                let world_from_camera = lies.world_from_other * other_from_camera;
                pipeline.is_reachable(odometry.as_ref(), keyframe, &world_from_camera)
            })
        };
        let has_frames = !self.records.is_empty();
        self.submaps.aside[index].witnesses.clear();
        self.exchange(index);
        let first = self.map.next_id().0;
        let renumbered = |id: KeyframeId| KeyframeId(first + id.0);
        let Ok(joined) = self.join_where(&here, is_possible) else {
            self.exchange(index);
            return false;
        };
        self.note_other_map();
        self.submaps.aside.remove(index);
        self.travel = self.travel.and(&Travel { metres: joined.longer * travel.metres, ..travel });
        if has_frames {
            // Frames of the map that was joined are frames of this session.
            self.records.extend(self.past_sessions.pop().unwrap_or_default());
        }
        if let Some(anchor) = here.graph.anchor {
            self.set_anchor(renumbered(anchor));
        }
        self.scale_motion(joined.longer);
        update.world_from_camera = self.last_pose();
        update.keyframe = update.keyframe.map(renumbered);
        update.new_keyframe = update.new_keyframe.map(renumbered);
        update.loops_closed += 1;
        (update.keyframes, update.map) = (self.map.len(), self.submaps.current);
        true
    }

    /// Goes to the map with most frames of this session, as at the end of a run; returns the others.
    pub fn settle_on_largest(&mut self) -> Vec<MapSnapshot> {
        let frames = |submap: &Submap| submap.records.len();
        let most = (0..self.submaps.aside.len()).max_by_key(|&i| frames(&self.submaps.aside[i]));
        if let Some(index) = most
            && frames(&self.submaps.aside[index]) > self.records.len()
        {
            self.exchange(index);
            (self.anchor, self.motion) = (None, None);
            self.note_other_map();
        }
        self.snapshots_aside().into_iter().map(|(_, map)| map).collect()
    }

    /// Returns the session's other maps as plain data, each with its number, but those without a
    /// keyframe.
    pub fn snapshots_aside(&mut self) -> Vec<(u32, MapSnapshot)> {
        let aside = 0..self.submaps.aside.len();
        let other = |index| {
            self.exchange(index);
            let map = (self.submaps.current, self.snapshot());
            self.exchange(index);
            map
        };
        aside.map(other).filter(|(_, map)| !map.keyframes.is_empty()).collect()
    }

    /// Returns how many maps of this session are set aside.
    pub fn maps_aside(&self) -> usize {
        self.submaps.aside.len()
    }

    /// Returns the number of the map that frames are placed in; the first is 0.
    pub fn map_number(&self) -> u32 {
        self.submaps.current
    }

    /// What was known of the last map's frames is of no use in another. Numbers of keyframes are
    /// unique in a session, and revisions go on, so that nobody takes one map for the other.
    fn note_other_map(&mut self) {
        for submap in &self.submaps.aside {
            self.map.go_on_from(&submap.map);
        }
        self.fix = None;
        self.suspected.clear();
        self.late.forget();
        self.submaps.note_placed();
    }

    /// Makes a map aside the current one, and sets the current one aside.
    fn exchange(&mut self, index: usize) {
        use std::mem::swap;
        let Some(other) = self.submaps.aside.get_mut(index) else { return };
        swap(&mut self.submaps.current, &mut other.number);
        swap(&mut self.map, &mut other.map);
        swap(&mut self.covisibility, &mut other.covisibility);
        swap(&mut self.places, &mut other.places);
        swap(&mut self.pose_graph, &mut other.pose_graph);
        swap(&mut self.long_ties, &mut other.long_ties);
        swap(&mut self.records, &mut other.records);
        swap(&mut self.past_sessions, &mut other.past_sessions);
        swap(&mut self.map_from_world, &mut other.map_from_world);
        swap(&mut self.georeference, &mut other.georeference);
        swap(&mut self.travel, &mut other.travel);
        swap(&mut self.mark, &mut other.mark);
        swap(&mut self.inferring, &mut other.inferring);
        if let (Some(recognizer), Some(remembered)) = (&mut self.recognizer, &mut other.remembered)
        {
            recognizer.exchange(remembered);
        }
    }
}
