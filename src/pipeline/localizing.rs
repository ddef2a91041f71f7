//! Localisation only: frames are placed in a map that does not change.
//!
//! A frame without good evidence has no pose; how unsure it is by then where the camera is,
//! [`Pipeline::localization`] says.

use nalgebra::{Matrix6, Vector6};

use super::keyframing::{KeyframeChange, seen_depth_m, shared_frac};
use super::{Location, Pipeline, PreparedFrame};
use crate::dense_residual::RelativeView;
use crate::error::Result;
use crate::frame::{Frame, OdometryPrior};
use crate::geometry::{Se3, se3};
use crate::keyframe::KeyframeId;
use crate::observer::{MapUpdate, TrackingState};
use crate::recognition::Sighting;
use crate::stamp::Stamp;
use crate::tracking::{Tracked, has_left_keyframe};

/// Another keyframe is taken up where it shares this much more with the frame.
const GAIN_FRAC: f64 = 0.05;
/// Drift of odometry that nothing is known about, as a share of the way, and radians for each of a
/// turn.
const ODOMETRY_DRIFT_FRAC: f64 = 0.1;

/// The last frame with a pose.
#[derive(Debug, Clone)]
pub(super) struct Fix {
    stamp: Stamp,
    world_from_camera: Se3,
    /// Covariance of the pose in its own frame, as a right perturbation.
    covariance: Matrix6<f64>,
    odometry: Option<OdometryPrior>,
}

/// Where the camera is in the map, as far as that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Localization {
    /// Whether the frame itself has a pose; otherwise the pose is a guess from the last one.
    pub is_localized: bool,
    /// Why not, in one sentence.
    pub reason: Option<String>,
    /// Pose by the last frame that has one, carried on by odometry where there is any; `None`
    /// before the first.
    pub world_from_camera: Option<Se3>,
    /// Covariance of that pose as a right perturbation `[omega, nu]`, rad² and m²; it grows from
    /// frame to frame for as long as there is no pose.
    pub covariance: Option<Matrix6<f64>>,
}

impl Pipeline {
    /// Places a frame in the map, which stays as it is.
    pub(super) fn localize(
        &mut self,
        frame: &PreparedFrame,
        location: Location,
    ) -> Result<MapUpdate> {
        let (id, stamp) = (frame.frame.id, frame.frame.stamp);
        match location {
            Location::Unmapped => {
                let reason = "there is no map to be localised in: load one, or switch to mapping";
                Ok(self.refuse(id, stamp, reason.to_owned()))
            }
            Location::Lost(reason) => {
                self.lost_frames += 1;
                Ok(self.update(id, stamp, TrackingState::Lost(reason)))
            }
            Location::Recognized(sightings) => Ok(self.place_by_sightings(frame, &sightings)),
            Location::Tracked(tracked) if self.lost_frames == 0 => {
                self.extend_map(frame, &tracked, TrackingState::Tracking)
            }
            Location::Tracked(tracked) | Location::Relocalized(tracked) => {
                self.extend_map(frame, &tracked, TrackingState::Relocalized)
            }
        }
    }

    /// Switches between mapping and localisation in the map that is there.
    pub fn set_localization_only(&mut self, localization_only: bool) {
        self.config.map.localization_only = localization_only;
    }

    /// Goes on from the keyframe that shares most with the frame, once the frame has left its own.
    pub(super) fn follow_map(
        &mut self,
        frame: &PreparedFrame,
        tracked: &Tracked,
    ) -> KeyframeChange {
        let Some(current) = self.current_keyframe() else { return KeyframeChange::default() };
        let depth_m = frame.mean_depth_m.unwrap_or_else(|| seen_depth_m(current));
        let frame_from_current = tracked.view.target_from_reference;
        let shared =
            shared_frac(frame, current, &frame_from_current.inverse()).min(tracked.overlap_frac);
        if !has_left_keyframe(&frame_from_current, shared, depth_m, &self.config.keyframe) {
            return KeyframeChange::default();
        }
        let (current, world_from_current) = (current.id, current.world_from_camera);
        let world_from_frame = world_from_current * frame_from_current.inverse();
        if let Some(better) = self.most_shared(frame, &world_from_frame, current, shared) {
            self.follow(better, &world_from_frame, tracked);
        }
        KeyframeChange::default()
    }

    fn most_shared(
        &self,
        frame: &PreparedFrame,
        world_from_frame: &Se3,
        current: KeyframeId,
        shared: f64,
    ) -> Option<KeyframeId> {
        self.overlaps(frame, world_from_frame)
            .into_iter()
            .filter(|&(id, overlap)| id != current && overlap >= shared + GAIN_FRAC)
            .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
            .map(|(id, _)| id)
    }

    fn follow(&mut self, keyframe: KeyframeId, world_from_frame: &Se3, tracked: &Tracked) {
        let Some(found) = self.map.get(keyframe) else { return };
        let target_from_reference = world_from_frame.inv_mul(&found.world_from_camera);
        self.set_anchor(keyframe);
        self.hang_on(keyframe, RelativeView { target_from_reference, ..tracked.view });
    }

    /// Places a frame that several keyframes recognised from too far for tracking. What follows is
    /// tracked on better evidence only, as after a loss.
    fn place_by_sightings(&mut self, frame: &PreparedFrame, sightings: &[Sighting]) -> MapUpdate {
        let (id, stamp) = (frame.frame.id, frame.frame.stamp);
        let Some(best) = sightings.iter().max_by_key(|s| s.pose.inliers.len()) else {
            self.lost_frames += 1;
            let reason = crate::tracking::LostReason::NotRecognized;
            return self.update(id, stamp, TrackingState::Lost(reason));
        };
        self.set_anchor(best.keyframe);
        self.motion = None;
        let target_from_reference = best.pose.target_from_source.inverse();
        self.place(frame, RelativeView { target_from_reference, ..RelativeView::identity() });
        self.lost_frames = 1;
        let mut update = self.update(id, stamp, TrackingState::Relocalized);
        update.world_from_camera = self.last_pose();
        update.keyframe = Some(best.keyframe);
        update.covariance = best.pose.information.cholesky().map(|factor| factor.inverse());
        update
    }

    /// Remembers where the camera was seen last.
    pub(super) fn note_fix(&mut self, frame: &Frame, update: &MapUpdate) {
        let keyframe = update.keyframe.and_then(|id| self.map.get(id));
        let (Some(world_from_camera), Some(keyframe)) = (update.world_from_camera, keyframe) else {
            return;
        };
        // Left perturbations in the keyframe, seen from the camera.
        let camera_from_keyframe = world_from_camera.inv_mul(&keyframe.world_from_camera);
        let adjoint = se3::adjoint(&camera_from_keyframe);
        let covariance = update.covariance.unwrap_or_else(Matrix6::zeros);
        self.fix = Some(Fix {
            stamp: frame.stamp,
            world_from_camera,
            covariance: adjoint * covariance * adjoint.transpose(),
            odometry: frame.odometry,
        });
    }

    /// Returns where the camera is by `update`, what [`Pipeline::process`] has just returned, and
    /// how sure that is; `odometry` is the frame's.
    pub fn localization(
        &self,
        update: &MapUpdate,
        odometry: Option<&OdometryPrior>,
    ) -> Localization {
        let reason = match &update.state {
            TrackingState::Initializing(reason) => Some(reason.clone()),
            TrackingState::Lost(reason) => Some(reason.to_string()),
            TrackingState::Tracking | TrackingState::Relocalized => None,
        };
        let guess = self.fix.as_ref().map(|fix| self.guessed(fix, update.stamp, odometry));
        Localization {
            is_localized: update.state.has_pose(),
            reason,
            world_from_camera: guess.as_ref().map(|(pose, _)| *pose),
            covariance: guess.map(|(_, covariance)| covariance),
        }
    }

    /// The last pose, moved by odometry, or else left where it was, with what may have happened
    /// since: odometry drifts, and without it the camera moves as cameras do.
    fn guessed(
        &self,
        fix: &Fix,
        stamp: Stamp,
        odometry: Option<&OdometryPrior>,
    ) -> (Se3, Matrix6<f64>) {
        let elapsed_secs = stamp.secs_since(fix.stamp).max(0.0);
        let (step, sigma_rad, sigma_m) = match (odometry, &fix.odometry) {
            (Some(now), Some(then)) => {
                let step = then.odom_from_camera.inv_mul(&now.odom_from_camera);
                let way_m = step.translation.vector.norm();
                (step, ODOMETRY_DRIFT_FRAC * se3::angle_rad(&step), ODOMETRY_DRIFT_FRAC * way_m)
            }
            _ => (
                Se3::identity(),
                self.config.tracking.motion_sigma_rad_per_sec * elapsed_secs,
                self.config.tracking.motion_sigma_m_per_sec * elapsed_secs,
            ),
        };
        let [turn, shift] = [sigma_rad * sigma_rad, sigma_m * sigma_m];
        let grown = Matrix6::from_diagonal(&Vector6::new(turn, turn, turn, shift, shift, shift));
        let adjoint = se3::adjoint(&step.inverse());
        let covariance = adjoint * fix.covariance * adjoint.transpose() + grown;
        (fix.world_from_camera * step, covariance)
    }
}
