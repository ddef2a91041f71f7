//! The keyframes that go through the model with a view: those that share most with it, and those that
//! only look like it, which may be places that the camera has come back to.

use std::collections::BTreeSet;

use nalgebra::Point3;

use super::inferring::Candidate;
use super::{Pipeline, PreparedFrame};
use crate::geometry::Se3;
use crate::keyframe::KeyframeId;
use crate::window::{CovisibilityGraph, WindowConfig, sample_window};

/// Of so many views of a window one at most is of a place that only looks alike.
const VIEWS_EACH_ALIKE: usize = 4;

/// The keyframes that go through the model with a view.
#[derive(Debug, Clone, Default)]
pub(super) struct Companions {
    /// Those that share most with the view by the map, the most first: they tell the window's scale.
    pub covisible: Vec<KeyframeId>,
    /// Those that look like it and that nothing ties to where it is.
    pub alike: Vec<KeyframeId>,
}

impl Companions {
    /// The companions that the map itself names.
    pub fn covisible(covisible: Vec<KeyframeId>) -> Self {
        Self { covisible, alike: Vec::new() }
    }

    /// Leaves the last of the covisible out; returns whether that makes another window that still
    /// shares a keyframe with the map.
    pub fn leave_one_out(&mut self) -> bool {
        self.covisible.len() > 1 && self.covisible.pop().is_some()
    }
}

impl Pipeline {
    /// The keyframes that go through the model with a view.
    pub(super) fn companions(&mut self, candidate: &Candidate<'_>) -> Companions {
        let mut covisible = self.covisible_with(candidate);
        let alike = self.alike(candidate.frame, &covisible);
        // What has come last into the sample stands back for a place that may be seen again.
        covisible.truncate(self.most_views().saturating_sub(1 + alike.len()));
        Companions { covisible, alike }
    }

    /// The keyframes that share most with the view, spread over what it sees, the closest first.
    fn covisible_with(&self, candidate: &Candidate<'_>) -> Vec<KeyframeId> {
        let newest = KeyframeId(u32::MAX);
        let mut graph = CovisibilityGraph::default();
        graph.insert(newest);
        for (id, overlap) in self.overlaps_of_tied(candidate) {
            graph.connect(newest, id, overlap);
        }
        let max_keyframes = self.most_views();
        let config = WindowConfig { max_keyframes, ..self.config.window.clone() };
        let ahead = |pose: &Se3| pose * Point3::new(0.0, 0.0, 2.0);
        let looks_at = |id| match self.map.get(id) {
            Some(keyframe) => ahead(&keyframe.world_from_camera),
            None => ahead(&candidate.world_from_camera),
        };
        sample_window(&graph, newest, looks_at, &config).split_off(1)
    }

    /// What each keyframe near a view shares with it. Without depth that is by the map alone, which is
    /// relied on where constraints tie a keyframe to the one that is tracked, if there is any such: across
    /// a loop that has not closed lengths may differ, and a window would mix them.
    fn overlaps_of_tied(&self, candidate: &Candidate<'_>) -> Vec<(KeyframeId, f64)> {
        let mut overlaps = self.overlaps(candidate.frame, &candidate.world_from_camera);
        let anchor = self.anchor.as_ref().filter(|_| candidate.frame.mean_depth_m.is_none());
        let Some(tied) = anchor.map(|anchor| self.tied_to(anchor.keyframe)) else {
            return overlaps;
        };
        let least = self.config.window.min_overlap_frac;
        if overlaps.iter().any(|(id, overlap)| *overlap >= least && tied.contains(id)) {
            overlaps.retain(|(id, _)| tied.contains(id));
        }
        overlaps
    }

    /// Keyframes of places that the camera may have come back to: nothing ties them to the one that is
    /// tracked, and they look as much like the view as those that share most with it do.
    fn alike(&mut self, frame: &PreparedFrame, covisible: &[KeyframeId]) -> Vec<KeyframeId> {
        let count = self.config.window.max_loop_keyframes.min(self.most_views() / VIEWS_EACH_ALIKE);
        let anchor = self.anchor.as_ref().map(|anchor| anchor.keyframe);
        let Some(anchor) = anchor.filter(|_| count > 0 && self.config.recognition.close_loops)
        else {
            return Vec::new();
        };
        let Some(features) = self.describe(frame) else { return Vec::new() };
        let near: BTreeSet<KeyframeId> = self.tied_to(anchor);
        let next = self.map.next_id().0;
        let gap = self.config.recognition.min_loop_gap_keyframes;
        let is_near = |id: KeyframeId| near.contains(&id) || next.saturating_sub(id.0) < gap;
        let closest = &covisible[..covisible.len().min(self.config.window.closest_keyframes)];
        let recognizer = self.recognizer.as_ref();
        let alike = recognizer.map(|r| r.as_alike_as(closest, &features, count, is_near));
        alike.and_then(Result::ok).unwrap_or_default()
    }
}
