//! Lost frames that are recognised: by keyframes anywhere in the map, seen from elsewhere.

use nalgebra::Vector3;

use super::looping::loop_constraint;
use super::{Location, Pipeline, PreparedFrame};
use crate::constraint::Constraint;
use crate::dense_residual::RelativeView;
use crate::error::{self, Error};
use crate::geometry::Se3;
use crate::keyframe::{Keyframe, KeyframeId};
use crate::observer::{MapUpdate, TrackingState};
use crate::pointmap::Pointmap;
use crate::raster::Raster;
use crate::recognition::{Query, Sighting, ViewFeatures};
use crate::reference::Reference;
use crate::relocalization::Relocalized;
use crate::tracking::{LostReason, Tracked};

/// What keyframes that recognised each other share at least, for windows to bring them together.
const RECOGNIZED_OVERLAP_FRAC: f64 = 0.3;

impl Pipeline {
    /// Returns the frame's features, where there is an extractor and the image has any.
    pub(super) fn describe(&mut self, frame: &PreparedFrame) -> Option<ViewFeatures> {
        self.recognizer.as_mut()?.describe(&frame.full_color, &frame.frame)
    }

    /// Looks for the frame in the whole map: next to a keyframe that the tracker agrees with, or
    /// where several keyframes agree that it is; what contradicts odometry does not count. Returns
    /// why it is not found.
    pub(super) fn recognize(&mut self, frame: &PreparedFrame) -> Result<Location, LostReason> {
        let not_recognized = LostReason::NotRecognized;
        let features = self.describe(frame).ok_or(not_recognized)?;
        let mut sightings = self.sightings(frame, &features);
        let seen = sightings.len();
        let odometry = frame.frame.odometry.as_ref();
        sightings.retain(|s| self.is_reachable(odometry, s.keyframe, &s.world_from_view));
        let reason = match seen - sightings.len() {
            0 => not_recognized,
            _ => LostReason::AgainstOdometry,
        };
        let confirm = |s: &Sighting| Some((s.pose.inliers.len(), self.confirmed(frame, s)?));
        let confirmed: Vec<(usize, Relocalized)> = sightings.iter().filter_map(confirm).collect();
        if let Some((_, found)) = confirmed.first() {
            return match self.is_without_rival(&confirmed, &sightings) {
                true => Ok(self.go_on_from(found)),
                false => Err(reason),
            };
        }
        let agreeing = self.recognizer.as_ref().and_then(|r| r.consensus(&sightings));
        agreeing.map(Location::Recognized).ok_or(reason)
    }

    fn sightings(&self, frame: &PreparedFrame, features: &ViewFeatures) -> Vec<Sighting> {
        let Some(recognizer) = &self.recognizer else { return Vec::new() };
        let pointmap = pointmap_of(frame, self.config.sensor.noise());
        let image = &frame.frame.color;
        let (camera, pointmap) = (&frame.camera, pointmap.as_ref());
        let query = Query { image, features, camera, pointmap, is_up_to_scale: false };
        let candidates = recognizer.candidates(features, |_| false).unwrap_or_default();
        let keyframes = candidates.into_iter().filter_map(|id| self.map.get(id));
        keyframes.filter_map(|keyframe| recognizer.sight(&query, keyframe)).collect()
    }

    /// The frame tracked from where a sighting puts it, if all evidence is good.
    fn confirmed(&self, frame: &PreparedFrame, sighting: &Sighting) -> Option<Relocalized> {
        let keyframe = self.map.get(sighting.keyframe)?;
        let tracked = self.tracked_from(keyframe, frame, sighting);
        self.config
            .relocalization
            .accepts(&tracked)
            .then_some(Relocalized { keyframe: keyframe.id, tracked })
    }

    pub(super) fn tracked_from(
        &self,
        keyframe: &Keyframe,
        frame: &PreparedFrame,
        sighting: &Sighting,
    ) -> Tracked {
        let max_points = self.config.tracking.max_points;
        let reference = Reference::new(&keyframe.pyramid, &keyframe.pointmap, max_points);
        let frame_from_keyframe = sighting.pose.target_from_source.inverse();
        let start = RelativeView { target_from_reference: frame_from_keyframe, ..identity() };
        self.tracker.track(&reference, &frame.pyramid, &[start], None)
    }

    pub(super) fn world_of(&self, found: &Relocalized) -> Option<Se3> {
        let keyframe = self.map.get(found.keyframe)?;
        Some(keyframe.world_from_camera * found.tracked.view.target_from_reference.inverse())
    }

    /// Whether all that the tracker bears out is of one place, and no other place has as many matches for
    /// it: of two that look alike it may bear out the wrong one.
    fn is_without_rival(&self, confirmed: &[(usize, Relocalized)], seen: &[Sighting]) -> bool {
        let most = confirmed.iter().map(|(matches, _)| *matches).max().unwrap_or(0);
        let rivals = seen.iter().filter(|s| s.pose.inliers.len() >= most);
        let worlds = confirmed.iter().filter_map(|(_, found)| self.world_of(found));
        let worlds: Vec<Se3> = worlds.chain(rivals.map(|s| s.world_from_view)).collect();
        self.is_one_place(&worlds)
    }

    /// Whether all put the frame at one place, as far as the map may have drifted.
    fn is_one_place(&self, worlds: &[Se3]) -> bool {
        let config = &self.config.recognition;
        let drift_m = config.max_drift_frac * self.travel.metres;
        let limit_m = config.max_disagreement_m + drift_m.min(1.0);
        let first = worlds.first().map_or_else(Vector3::zeros, |w| w.translation.vector);
        worlds.iter().all(|world| (world.translation.vector - first).norm() <= limit_m)
    }

    /// Goes on from the keyframe by which the frame was found.
    pub(super) fn go_on_from(&mut self, found: &Relocalized) -> Location {
        self.set_anchor(found.keyframe);
        // The last motion was relative to another keyframe: there is none to go on from.
        self.motion = None;
        Location::Relocalized(found.tracked)
    }

    /// Makes a keyframe of a frame that several keyframes recognised from too far for tracking.
    pub(super) fn take_up(
        &mut self,
        frame: &PreparedFrame,
        sightings: &[Sighting],
    ) -> error::Result<MapUpdate> {
        let Some(best) = sightings.iter().max_by_key(|s| s.pose.inliers.len()) else {
            return Ok(self.lose(frame, LostReason::NotRecognized));
        };
        let id = match self.add_keyframe(frame, best.world_from_view) {
            Err(Error::MissingInput { .. }) => {
                return Ok(self.lose(frame, LostReason::NotRecognized));
            }
            added => added?,
        };
        let constraints: Vec<Constraint> =
            sightings.iter().map(|s| loop_constraint(id, s)).collect();
        self.tie(&constraints);
        self.align_around(id, Some(best.keyframe));
        self.motion = None;
        self.set_anchor(id);
        self.place(frame, RelativeView::identity());
        let mut update = self.update(frame.frame.id, frame.frame.stamp, TrackingState::Relocalized);
        update.world_from_camera = self.last_pose();
        update.keyframe = Some(id);
        update.covariance = best.pose.information.cholesky().map(|factor| factor.inverse());
        (update.overlap_frac, update.inlier_frac) = (1.0, 1.0);
        update.new_keyframe = Some(id);
        Ok(update)
    }

    /// Ties keyframes together that recognised each other.
    pub(super) fn tie(&mut self, constraints: &[Constraint]) {
        self.pose_graph.update_loops(constraints);
        for constraint in constraints {
            let (a, b) = (constraint.target, constraint.source);
            let shared = self.covisibility.overlap_frac(a, b).max(RECOGNIZED_OVERLAP_FRAC);
            self.covisibility.connect(a, b, shared);
        }
    }

    /// Keyframes near the one that was tracked last.
    pub(super) fn near_anchor(&self) -> Vec<KeyframeId> {
        let Some(anchor) = &self.anchor else { return Vec::new() };
        let neighbours = self.covisibility.neighbours(anchor.keyframe);
        let nearest = neighbours.into_iter().take(self.config.window.max_keyframes);
        std::iter::once(anchor.keyframe).chain(nearest.map(|(id, _)| id)).collect()
    }
}

fn identity() -> RelativeView {
    RelativeView::identity()
}

/// The geometry of a frame's own depth, or `None` without.
pub(super) fn pointmap_of(
    frame: &PreparedFrame,
    noise: crate::sensor::DepthNoise,
) -> Option<Pointmap> {
    frame.mean_depth_m?;
    let level = frame.pyramid.levels().first()?;
    let (width, height) = (level.width(), level.height());
    let depth_m = |i: usize| level.depth_m(i % width, i / width);
    let rays = frame.camera.rays();
    let points = rays.iter().enumerate().map(|(i, ray)| ray * depth_m(i)).collect();
    let confidence = |i: usize| match depth_m(i) {
        z if z > 0.0 => noise.sigma_m(f64::from(z)).powi(-2) as f32,
        _ => 0.0,
    };
    let confidence = (0..width * height).map(confidence).collect();
    let points = Raster::new(width, height, points).ok()?;
    Pointmap::new(points, Raster::new(width, height, confidence).ok()?).ok()
}
