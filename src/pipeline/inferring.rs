//! The model in the loop: the keyframes around a view go through the model together with it, with
//! what the map knows of them.

use super::asking::{Told, wrong_count};
use super::companions::Companions;
use super::merging::Window;
use super::working_size::at_working_size;
use super::{Pipeline, PreparedFrame};
use crate::error::{Error, Result};
use crate::geometry::Se3;
use crate::inference::View;
use crate::pointmap::Pointmap;

/// A view with geometry in less than this share of its pixels is no keyframe: nothing could be
/// tracked against it.
const MIN_VALID_FRAC: f64 = 0.02;

/// How often a window is asked for that contradicts the map, each time with one view less.
const MAX_TRIES: usize = 2;

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
        let first = Companions::covisible(self.map.keyframes().map(|k| k.id).collect());
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
        let mut others = self.companions(&candidate);
        for _ in 0..MAX_TRIES {
            let window = self.infer_gated(candidate, &others)?;
            if let Some(pointmap) = self.merge(candidate, window) {
                return Ok(pointmap);
            }
            if !others.leave_one_out() {
                break;
            }
        }
        Err(Error::MissingInput {
            model: self.model.name(),
            missing: "geometry that agrees with the map",
            remedy: "go on: the next frame is asked instead",
        })
    }

    /// What the model says of a view and of other keyframes, in its own unit, at working size.
    pub(super) fn infer_window(
        &mut self,
        candidate: Candidate<'_>,
        others: &Companions,
        told: Told,
    ) -> Result<Window> {
        let question = self.question(candidate, others, told);
        let answer = question.put(self.model.here()?)?;
        self.heard(candidate, &question, answer)
    }
}
