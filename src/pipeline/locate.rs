//! Where a frame is: tracked from the last one, found again, or lost.

use nalgebra::{Matrix6, Vector6};

use super::{Anchor, Location, Motion, Pipeline, PreparedFrame};
use crate::dense_residual::RelativeView;
use crate::geometry::{Se3, se3};
use crate::keyframe::KeyframeId;
use crate::reference::Reference;
use crate::relocalization::{Relocalized, relocalize};
use crate::tracking::{LostReason, MotionPrior, Tracked, Verdict};

impl Pipeline {
    /// Returns where the frame is. Relocalisation changes the anchor; nothing else is changed.
    pub(super) fn locate(&mut self, frame: &PreparedFrame) -> Location {
        let Some(anchor) = &self.anchor else { return Location::Unmapped };
        let attempt = self.motion.as_ref().map(|motion| self.track_on(anchor, motion, frame));
        match attempt {
            Some(tracked) if self.is_believed(frame, anchor, &tracked) => {
                Location::Tracked(tracked)
            }
            _ => self.recover(frame, attempt.as_ref()),
        }
    }

    /// Whether a tracked pose is taken: after frames without one, only on better evidence, and where
    /// odometry does not contradict it.
    fn is_believed(&self, frame: &PreparedFrame, anchor: &Anchor, tracked: &Tracked) -> bool {
        let found = Relocalized { keyframe: anchor.keyframe, tracked: *tracked };
        tracked.verdict == Verdict::Tracked
            && (self.lost_frames == 0
                || self.config.relocalization.accepts(tracked) && self.can_be_at(frame, &found))
    }

    fn can_be_at(&self, frame: &PreparedFrame, found: &Relocalized) -> bool {
        let odometry = frame.frame.odometry.as_ref();
        self.world_of(found).is_none_or(|pose| self.is_reachable(odometry, found.keyframe, &pose))
    }

    /// Tracks against the anchor from where the camera should be by now.
    fn track_on(&self, anchor: &Anchor, motion: &Motion, frame: &PreparedFrame) -> Tracked {
        let elapsed_secs = frame.frame.stamp.secs_since(motion.stamp);
        let (predicted, prior) = self.predict(motion, frame, elapsed_secs);
        let (starts, reference) = ([predicted, motion.view], &anchor.reference);
        let tracked = anchor.tracked(starts, &prior, |starts, prior| {
            self.tracker.track(reference, &frame.pyramid, &starts, Some(prior))
        });
        if tracked.verdict == Verdict::Tracked {
            return self.checked_motion(tracked, motion, elapsed_secs);
        }
        let again = anchor.tracked(starts, &prior, |starts, _| {
            self.tracker.search(reference, &frame.pyramid, &starts)
        });
        match self.config.relocalization.accepts(&again) {
            true => self.checked_motion(again, motion, elapsed_secs),
            false => tracked,
        }
    }

    /// The expected view: by odometry where both frames have it, else at constant velocity.
    fn predict(
        &self,
        motion: &Motion,
        frame: &PreparedFrame,
        elapsed_secs: f64,
    ) -> (RelativeView, MotionPrior) {
        let frame_from_previous = match (&frame.frame.odometry, &motion.odometry) {
            (Some(now), Some(before)) => now.odom_from_camera.inv_mul(&before.odom_from_camera),
            _ => se3::exp(&(motion.velocity * elapsed_secs.clamp(0.0, 0.5))),
        };
        let pose = frame_from_previous * motion.view.target_from_reference;
        let prior = self.tracker.motion_prior(pose, elapsed_secs);
        (RelativeView { target_from_reference: pose, ..motion.view }, prior)
    }

    /// Refuses a pose that the camera cannot have reached.
    fn checked_motion(&self, tracked: Tracked, motion: &Motion, elapsed_secs: f64) -> Tracked {
        let step = relative_motion(&tracked.view.target_from_reference, motion);
        let elapsed = elapsed_secs.max(1e-3);
        let too_fast = step.fixed_rows::<3>(3).norm()
            > self.config.tracking.max_speed_m_per_sec * elapsed + 0.05
            || step.fixed_rows::<3>(0).norm()
                > self.config.tracking.max_turn_rad_per_sec * elapsed + 0.05;
        let lost = tracked.verdict == Verdict::Tracked && too_fast;
        let verdict = if lost { Verdict::Lost(LostReason::Implausible) } else { tracked.verdict };
        Tracked { verdict, ..tracked }
    }

    /// Tries the whole map, or without features what is near.
    fn recover(&mut self, frame: &PreparedFrame, attempt: Option<&Tracked>) -> Location {
        let reason = match self.recognize(frame) {
            Ok(recognized) => return recognized,
            Err(reason) => reason,
        };
        match self.resembled(frame) {
            Some(found) if self.can_be_at(frame, &found) => self.go_on_from(&found),
            Some(_) => Location::Lost(LostReason::AgainstOdometry),
            None => Location::Lost(match attempt.map(|t| t.verdict) {
                Some(Verdict::Lost(by_tracking)) if reason == LostReason::NotRecognized => {
                    by_tracking
                }
                _ => reason,
            }),
        }
    }

    /// Looks for keyframes that the frame resembles as a whole: near the last one where places can
    /// be recognised, else in the whole map.
    fn resembled(&self, frame: &PreparedFrame) -> Option<Relocalized> {
        let max_points = self.config.tracking.max_points;
        let ids: Vec<KeyframeId> = match self.recognizer {
            Some(_) => self.near_anchor(),
            None => self.map.keyframes().map(|k| k.id).collect(),
        };
        relocalize(
            &self.tracker,
            &frame.pyramid,
            ids.iter().filter_map(|&id| self.map.get(id)),
            |keyframe| Reference::new(&keyframe.pyramid, &keyframe.pointmap, max_points),
            &self.config.relocalization,
        )
    }

    /// Remembers where the frame is and how the camera moves.
    pub(super) fn remember_motion(&mut self, frame: &PreparedFrame, view: RelativeView) {
        let stamp = frame.frame.stamp;
        let velocity = match &self.motion {
            Some(motion) if self.lost_frames == 0 => {
                let elapsed_secs = stamp.secs_since(motion.stamp).max(1e-3);
                relative_motion(&view.target_from_reference, motion) / elapsed_secs
            }
            _ => Vector6::zeros(),
        };
        self.motion = Some(Motion { stamp, view, velocity, odometry: frame.frame.odometry });
    }
}

/// The twist from the last frame to this one.
fn relative_motion(frame_from_anchor: &Se3, motion: &Motion) -> Vector6<f64> {
    se3::log(&(frame_from_anchor * motion.view.target_from_reference.inverse()))
}

/// Covariance of a frame's pose in its own frame, from one as left perturbation of
/// `frame_from_keyframe`: the inverse pose is perturbed on the right by the negative.
pub(super) fn covariance_in_keyframe(
    covariance: &Matrix6<f64>,
    keyframe_from_frame: &Se3,
) -> Matrix6<f64> {
    let adjoint = se3::adjoint(keyframe_from_frame);
    adjoint * covariance * adjoint.transpose()
}
