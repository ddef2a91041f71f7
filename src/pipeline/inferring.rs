//! The model in the loop: the keyframes around a view go through the model together with it, with
//! what the map knows of them.

use nalgebra::Point3;

use super::asking::{Told, wrong_count};
use super::merging::Window;
use super::working_size::at_working_size;
use super::{Pipeline, PreparedFrame};
use crate::error::{Error, Result};
use crate::geometry::Se3;
use crate::inference::View;
use crate::keyframe::KeyframeId;
use crate::pointmap::Pointmap;
use crate::window::{CovisibilityGraph, WindowConfig, sample_window};

/// A view with geometry in less than this share of its pixels is no keyframe: nothing could be
/// tracked against it.
const MIN_VALID_FRAC: f64 = 0.02;

/// How often a window is asked for that contradicts the map, each time with one view less.
const MAX_TRIES: usize = 2;

/// Leaves the last keyframe out of a window; returns whether that makes another window of it that
/// still shares one with the map.
fn leave_one_out(others: &mut Vec<KeyframeId>) -> bool {
    others.len() > 1 && others.pop().is_some()
}

/// A view that is to become a keyframe.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub frame: &'a PreparedFrame,
    pub world_from_camera: Se3,
}

impl Pipeline {
    /// Returns the geometry of a view that is to become a keyframe, in the map's unit; what the
    /// window says of older keyframes sharpens those.
    pub(super) fn infer_geometry(&mut self, candidate: Candidate<'_>) -> Result<Pointmap> {
        let pointmap = match self.model.max_views() {
            0 | 1 => self.infer_alone(candidate),
            _ => self.infer_beyond_measured(candidate),
        };
        self.dense_enough(pointmap?)
    }

    /// A pointmap that others can be tracked against.
    pub(super) fn dense_enough(&self, pointmap: Pointmap) -> Result<Pointmap> {
        if pointmap.valid_frac() >= MIN_VALID_FRAC {
            return Ok(pointmap);
        }
        Err(Error::MissingInput {
            model: self.model.name(),
            missing: "depth in more than a few pixels of a frame",
            remedy: "look at the images, the depth images and sensor.max_range_m",
        })
    }

    fn infer_alone(&mut self, candidate: Candidate<'_>) -> Result<Pointmap> {
        let Candidate { frame, world_from_camera } = candidate;
        let view = View::measured(&frame.frame).at(world_from_camera);
        let prediction = self.model.here()?.infer(&[view])?;
        let geometry = prediction.views.into_iter().next().ok_or_else(|| wrong_count(1, 0))?;
        at_working_size(geometry, &frame.camera)
    }

    /// Asks the model about the first keyframe once more, together with a frame beside it: until a
    /// second window agrees, the first one may have failed.
    pub(super) fn confirm_first(&mut self, frame: &PreparedFrame) -> Result<()> {
        let is_due = self.model.max_views() > 1
            && self.map.len() == 1
            && frame.mean_depth_m.is_none()
            && self.inferring.is_unconfirmed();
        let (Some(world_from_camera), true) = (self.last_pose(), is_due) else { return Ok(()) };
        let candidate = Candidate { frame, world_from_camera };
        if self.late.is_on() {
            self.ask_to_confirm(candidate);
            return Ok(());
        }
        let first: Vec<KeyframeId> = self.map.keyframes().map(|k| k.id).collect();
        match self.infer_window(candidate, &first, self.told()) {
            // What the model can make nothing of confirms nothing.
            Err(Error::MissingInput { .. }) => {}
            window => self.take_confirmation(candidate, window?),
        }
        Ok(())
    }

    /// What a window with the first keyframe says of it.
    pub(super) fn take_confirmation(&mut self, candidate: Candidate<'_>, window: Window) {
        if self.merge(candidate, window).is_some() {
            self.renew_anchor(1.0);
        }
    }

    /// The geometry by a window where that is waited for, and by the sensor where it measures enough.
    fn infer_beyond_measured(&mut self, candidate: Candidate<'_>) -> Result<Pointmap> {
        let measured = self.measured_enough(candidate.frame);
        self.inferring.is_metric |= measured.is_some();
        match (measured, self.late.is_on()) {
            (Some(measured), true) => Ok(measured),
            (Some(measured), false) => match self.infer_together(candidate) {
                Err(Error::MissingInput { .. }) => Ok(measured),
                inferred => inferred,
            },
            (None, _) => self.infer_together(candidate),
        }
    }

    /// A window that contradicts the map is asked once more, with one view less.
    fn infer_together(&mut self, candidate: Candidate<'_>) -> Result<Pointmap> {
        let mut others = self.window_around(&candidate);
        for _ in 0..MAX_TRIES {
            let window = self.infer_gated(candidate, &others)?;
            if let Some(pointmap) = self.merge(candidate, window) {
                return Ok(pointmap);
            }
            if !leave_one_out(&mut others) {
                break;
            }
        }
        Err(Error::MissingInput {
            model: self.model.name(),
            missing: "geometry that agrees with the map",
            remedy: "go on: the next frame is asked instead",
        })
    }

    /// The keyframes that go through the model with a view, the one that shares most with it first.
    pub(super) fn window_around(&self, candidate: &Candidate<'_>) -> Vec<KeyframeId> {
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

    /// What the model says of a view and of other keyframes, in its own unit, at working size.
    pub(super) fn infer_window(
        &mut self,
        candidate: Candidate<'_>,
        others: &[KeyframeId],
        told: Told,
    ) -> Result<Window> {
        let question = self.question(candidate, others, told);
        let answer = question.put(self.model.here()?)?;
        self.heard(candidate, &question, answer)
    }
}
