//! Keyframes: what they look like, where they stand, and what ties them together.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{Edges, KeyframeContent, Pace, What, place};
use crate::geometry::Se3;
use crate::keyframe::{Keyframe, KeyframeId};
use crate::observer::MapView;
use crate::stamp::Stamp;

/// A keyframe that has moved by less is left where it is shown.
const LEAST_MOVE_M: f64 = 0.001;
/// The same for turns.
const LEAST_TURN_RAD: f64 = 0.001;
/// How often where keyframes stand is looked at, when none is new.
const POSES_SECS: f64 = 0.5;
/// How often edges are drawn; for maps of many keyframes less often.
const EDGES_SECS: f64 = 1.0;
/// More seconds between two drawings of the edges, for each keyframe.
const EDGES_SECS_PER_KEYFRAME: f64 = 0.005;
/// A keyframe's points sharpen with every frame; how often they are shown anew once it is left.
const POINTS_SECS: f64 = 5.0;

/// A keyframe as it is shown.
#[derive(Debug, Clone, Copy)]
struct Shown {
    world_from_camera: Se3,
    points: Pace,
}

/// What is shown of the map.
pub(super) struct Keyframes {
    shown: BTreeMap<KeyframeId, Shown>,
    /// The map's revision up to which all points are shown, but those of `stale`.
    revision: u64,
    /// Keyframes whose points have changed since they were shown.
    stale: BTreeSet<KeyframeId>,
    poses: Pace,
    edges: Pace,
    last_edges: Edges,
    /// The keyframe that frames are tracked against, whose points change all the time.
    tracked: Option<KeyframeId>,
    newest: Option<KeyframeId>,
}

impl Keyframes {
    pub(super) fn new() -> Self {
        Self {
            shown: BTreeMap::new(),
            revision: 0,
            stale: BTreeSet::new(),
            poses: Pace::every(POSES_SECS),
            edges: Pace::every(EDGES_SECS),
            last_edges: Edges::default(),
            tracked: None,
            newest: None,
        }
    }

    /// Returns what has changed, or all that is not shown yet once it is the last time.
    pub(super) fn changes(&mut self, now: Stamp, view: &MapView<'_>, is_last: bool) -> Vec<What> {
        let newest = view.map.keyframes().next_back().map(|keyframe| keyframe.id);
        let has_new = newest != self.newest;
        self.newest = newest;
        let mut changes = Vec::new();
        if self.poses.take(now) || has_new || is_last {
            changes.extend(self.gone(view));
            changes.extend(self.moved(view));
            changes.extend(self.content(now, view, is_last));
        }
        if is_last || self.edges.is_due(now) {
            changes.extend(self.edges(now, view));
        }
        changes
    }

    /// Takes note of the keyframe that a frame was tracked against.
    pub(super) fn note(&mut self, tracked: Option<KeyframeId>) {
        self.tracked = tracked.or(self.tracked);
    }

    fn gone(&mut self, view: &MapView<'_>) -> Option<What> {
        let gone: Vec<KeyframeId> =
            self.shown.keys().copied().filter(|&id| view.map.get(id).is_none()).collect();
        for id in &gone {
            self.shown.remove(id);
            self.stale.remove(id);
        }
        (!gone.is_empty()).then_some(What::Gone(gone))
    }

    fn moved(&mut self, view: &MapView<'_>) -> Option<What> {
        let mut moved = Vec::new();
        for keyframe in view.map.keyframes() {
            let pose = keyframe.world_from_camera;
            let shown = self.shown.get(&keyframe.id).map(|shown| shown.world_from_camera);
            if shown.is_none_or(|shown| has_moved(&shown, &pose)) {
                moved.push((keyframe.id, pose));
            }
        }
        for &(id, world_from_camera) in &moved {
            let points = Pace::every(POINTS_SECS);
            let new = Shown { world_from_camera, points };
            self.shown.entry(id).or_insert(new).world_from_camera = world_from_camera;
        }
        (!moved.is_empty()).then_some(What::Poses(moved))
    }

    /// The points of keyframes that are new, or were left since they changed.
    fn content(&mut self, now: Stamp, view: &MapView<'_>, is_last: bool) -> Vec<What> {
        self.stale.extend(view.map.changed_since(self.revision).map(|keyframe| keyframe.id));
        self.revision = view.map.revision();
        let mut due = Vec::new();
        for &id in &self.stale {
            let Some(shown) = self.shown.get_mut(&id) else { continue };
            let is_new = shown.points.is_due_first();
            let is_left = Some(id) != self.tracked && shown.points.is_due(now);
            if is_new || is_left || is_last {
                shown.points.take(now);
                due.extend(view.map.get(id).map(|keyframe| content(keyframe, is_new)));
            }
        }
        for content in &due {
            self.stale.remove(&content.id);
        }
        due.into_iter().map(What::Keyframe).collect()
    }

    fn edges(&mut self, now: Stamp, view: &MapView<'_>) -> Option<What> {
        let every_secs = EDGES_SECS + EDGES_SECS_PER_KEYFRAME * view.map.len() as f64;
        self.edges = Pace::every(every_secs);
        self.edges.take(now);
        let edges = edges(view, self.newest);
        (edges != self.last_edges).then(|| {
            self.last_edges = edges.clone();
            What::Edges(edges)
        })
    }
}

fn has_moved(from: &Se3, to: &Se3) -> bool {
    let step = from.inv_mul(to);
    step.rotation.angle() > LEAST_TURN_RAD || step.translation.vector.norm() > LEAST_MOVE_M
}

fn content(keyframe: &Keyframe, is_new: bool) -> KeyframeContent {
    KeyframeContent {
        id: keyframe.id,
        color: keyframe.frame.color.clone(),
        camera: keyframe.camera,
        pointmap: keyframe.pointmap.clone(),
        is_new,
    }
}

fn edges(view: &MapView<'_>, newest: Option<KeyframeId>) -> Edges {
    let at = |id: KeyframeId| view.map.get(id).map(|k| place(&k.world_from_camera));
    let line = |a: KeyframeId, b: KeyframeId| Some([at(a)?, at(b)?]);
    let window = newest
        .into_iter()
        .flat_map(|id| view.pose_graph.neighbours(id).filter_map(move |other| line(id, other)));
    Edges {
        covisibility: view.covisibility.edges().filter_map(|(a, b, _)| line(a, b)).collect(),
        window: window.collect(),
        loops: view.loops.iter().filter_map(|&(a, b)| line(a, b)).collect(),
    }
}
