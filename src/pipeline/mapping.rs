//! How the map grows: fusion into keyframes, new keyframes, windows, and their alignment.

use nalgebra::Point3;

use super::locate::covariance_in_keyframe;
use super::{Anchor, FrameRecord, Motion, Pipeline, PreparedFrame};
use crate::alignment::align_window;
use crate::dense_residual::RelativeView;
use crate::error::{Error, Result};
use crate::geometry::Se3;
use crate::inference::View;
use crate::keyframe::{Keyframe, KeyframeId};
use crate::map::fuse;
use crate::observer::{MapUpdate, TrackingState};
use crate::reference::Reference;
use crate::stamp::Stamp;
use crate::tracking::{LostReason, Tracked, has_left_keyframe};
use crate::window::{overlap_frac, sample_window};

/// Keyframes whose cameras are further apart than this many mean depths share nothing.
const REACH_DEPTHS: f64 = 2.0;

impl Pipeline {
    /// The first frame with geometry becomes the first keyframe and fixes the world's frame.
    pub(super) fn begin_map(&mut self, frame: &PreparedFrame) -> Result<MapUpdate> {
        let (id, stamp) = (frame.frame.id, frame.frame.stamp);
        match self.add_keyframe(frame, Se3::identity()) {
            Ok(keyframe) => {
                self.set_anchor(keyframe);
                self.place(frame, RelativeView::identity());
                let mut update = self.update(id, stamp, TrackingState::Tracking);
                update.world_from_camera = Some(Se3::identity());
                update.covariance = Some(nalgebra::Matrix6::zeros());
                (update.overlap_frac, update.inlier_frac) = (1.0, 1.0);
                update.new_keyframe = Some(keyframe);
                Ok(update)
            }
            Err(reason @ Error::MissingInput { .. }) => {
                Ok(self.refuse(id, stamp, reason.to_string()))
            }
            Err(fatal) => Err(fatal),
        }
    }

    /// Returns what has become of a frame that could not be made ready.
    pub fn refuse(&mut self, id: u64, stamp: Stamp, reason: String) -> MapUpdate {
        self.update(id, stamp, TrackingState::Initializing(reason))
    }

    /// What a frame without a pose says; nothing is invented for it.
    pub(super) fn lose(&mut self, frame: &PreparedFrame, reason: LostReason) -> MapUpdate {
        self.is_lost = true;
        self.update(frame.frame.id, frame.frame.stamp, TrackingState::Lost(reason))
    }

    /// A placed frame sharpens its keyframe, and where it has left it, calls for another.
    pub(super) fn extend_map(
        &mut self,
        frame: &PreparedFrame,
        tracked: &Tracked,
        state: TrackingState,
    ) -> Result<MapUpdate> {
        self.place(frame, tracked.view);
        self.fuse_frame(frame, tracked);
        let before = self.map.len();
        let covariance = self.change_keyframe(frame, tracked)?;
        let mut update = self.update(frame.frame.id, frame.frame.stamp, state);
        update.world_from_camera = self.last_pose();
        update.covariance = Some(covariance);
        update.overlap_frac = tracked.overlap_frac;
        update.inlier_frac = tracked.inlier_frac;
        update.depth_inlier_frac = tracked.depth_inlier_frac;
        if self.map.len() > before {
            update.new_keyframe = self.anchor.as_ref().map(|a| a.keyframe);
        }
        Ok(update)
    }

    /// Takes up an older keyframe, or makes a new one, once the frame has left its own. Returns
    /// the covariance of the frame's pose.
    fn change_keyframe(
        &mut self,
        frame: &PreparedFrame,
        tracked: &Tracked,
    ) -> Result<nalgebra::Matrix6<f64>> {
        let frame_from_keyframe = tracked.view.target_from_reference;
        let covariance =
            covariance_in_keyframe(&tracked.covariance, &frame_from_keyframe.inverse());
        let (Some(current), Some(depth_m)) = (self.current_keyframe(), frame.mean_depth_m) else {
            return Ok(covariance);
        };
        let shared = overlap_frac(&frame.pyramid, &current.pyramid, &frame_from_keyframe.inverse())
            .min(tracked.overlap_frac);
        if !has_left_keyframe(&frame_from_keyframe, shared, depth_m, &self.config.keyframe) {
            return Ok(covariance);
        }
        let world_from_camera = current.world_from_camera * frame_from_keyframe.inverse();
        if let Some(older) = self.better_keyframe(frame, &world_from_camera, current.id, shared) {
            self.move_to(older, &world_from_camera, tracked);
        } else if tracked.inlier_frac >= self.config.keyframe.min_inlier_frac {
            let keyframe = self.add_keyframe(frame, world_from_camera)?;
            self.align_around(keyframe);
            self.set_anchor(keyframe);
            self.replace(keyframe);
        }
        Ok(covariance)
    }

    fn fuse_frame(&mut self, frame: &PreparedFrame, tracked: &Tracked) {
        let Some(anchor) = &mut self.anchor else { return };
        let Some(keyframe) = self.map.get_mut(anchor.keyframe) else { return };
        let level = &frame.pyramid.levels()[0];
        let pose = tracked.view.target_from_reference;
        fuse(keyframe, level, &pose, self.config.sensor.noise(), &self.config.map);
        anchor.fused_frames += 1;
    }

    /// The keyframe that shares most with the frame, if clearly more than the current one does.
    fn better_keyframe(
        &self,
        frame: &PreparedFrame,
        world_from_camera: &Se3,
        current: KeyframeId,
        shared: f64,
    ) -> Option<KeyframeId> {
        let least = self.config.keyframe.reuse_overlap_frac.max(shared + 0.02);
        self.overlaps(frame, world_from_camera)
            .into_iter()
            .filter(|&(id, overlap)| id != current && overlap >= least)
            .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
            .map(|(id, _)| id)
    }

    /// What each keyframe near the frame shares with it.
    fn overlaps(&self, frame: &PreparedFrame, world_from_camera: &Se3) -> Vec<(KeyframeId, f64)> {
        let reach_m = REACH_DEPTHS * frame.mean_depth_m.unwrap_or(0.0);
        let here = world_from_camera.translation.vector;
        self.map
            .keyframes()
            .filter(|k| (k.world_from_camera.translation.vector - here).norm() <= reach_m)
            .map(|keyframe| {
                let keyframe_from_frame = keyframe.world_from_camera.inv_mul(world_from_camera);
                let there = overlap_frac(&frame.pyramid, &keyframe.pyramid, &keyframe_from_frame);
                let back =
                    overlap_frac(&keyframe.pyramid, &frame.pyramid, &keyframe_from_frame.inverse());
                (keyframe.id, there.min(back))
            })
            .collect()
    }

    fn add_keyframe(
        &mut self,
        frame: &PreparedFrame,
        world_from_camera: Se3,
    ) -> Result<KeyframeId> {
        let view = View { frame: &frame.frame, world_from_camera: Some(world_from_camera) };
        let prediction = self.model.infer(&[view])?;
        let Some(geometry) = prediction.views.into_iter().next() else {
            let what = "views of a prediction";
            return Err(Error::ShapeMismatch { what, expected: "1".into(), found: "0".into() });
        };
        let overlaps = self.overlaps(frame, &world_from_camera);
        let id = self.map.take_id();
        self.map.insert(Keyframe {
            id,
            frame: frame.frame.clone(),
            camera: geometry.camera,
            pyramid: frame.pyramid.clone(),
            pointmap: geometry.pointmap,
            world_from_camera,
        });
        self.covisibility.insert(id);
        for (other, overlap) in overlaps.into_iter().filter(|&(_, overlap)| overlap > 0.1) {
            self.covisibility.connect(id, other, overlap);
        }
        Ok(id)
    }

    /// Aligns the window around a keyframe, and lets the pose graph carry the result on.
    fn align_around(&mut self, newest: KeyframeId) {
        let looks_at = |id| self.map.get(id).map_or_else(Point3::origin, looks_at);
        let ids = sample_window(&self.covisibility, newest, looks_at, &self.config.window);
        let window: Vec<&Keyframe> = ids.iter().filter_map(|&id| self.map.get(id)).collect();
        // A window in which nothing matches teaches nothing: the tracked pose stands.
        let Ok(aligned) = align_window(&window, self.config.sensor.noise(), &self.config.alignment)
        else {
            return;
        };
        self.map.set_poses(&aligned.world_from_camera);
        self.pose_graph.update(&aligned.constraints);
        let poses = self.map.keyframes().map(|k| (k.id, k.world_from_camera)).collect();
        let optimized = self.pose_graph.optimize(poses, &self.config.pose_graph);
        self.map.set_poses(&optimized);
    }

    /// Makes an existing keyframe the anchor and expresses the last frame relative to it.
    fn move_to(&mut self, keyframe: KeyframeId, world_from_camera: &Se3, tracked: &Tracked) {
        let Some(target) = self.map.get(keyframe) else { return };
        let frame_from_keyframe = world_from_camera.inv_mul(&target.world_from_camera);
        self.set_anchor(keyframe);
        if let Some(motion) = &mut self.motion {
            motion.view =
                RelativeView { target_from_reference: frame_from_keyframe, ..tracked.view };
        }
    }

    pub(super) fn set_anchor(&mut self, keyframe: KeyframeId) {
        let Some(found) = self.map.get(keyframe) else { return };
        let max_points = self.config.tracking.max_points;
        let reference = Reference::new(&found.pyramid, &found.pointmap, max_points);
        self.anchor = Some(Anchor { keyframe, reference, fused_frames: 0 });
    }

    /// Hangs the frame on the anchor.
    fn place(&mut self, frame: &PreparedFrame, view: RelativeView) {
        self.remember_motion(frame, view);
        self.is_lost = false;
        if let Some(anchor) = &self.anchor {
            self.records.push(FrameRecord {
                stamp: frame.frame.stamp,
                keyframe: anchor.keyframe,
                keyframe_from_camera: view.target_from_reference.inverse(),
            });
        }
    }

    /// Hangs the last frame on the keyframe that it became.
    fn replace(&mut self, keyframe: KeyframeId) {
        if let Some(record) = self.records.last_mut() {
            record.keyframe = keyframe;
            record.keyframe_from_camera = Se3::identity();
        }
        if let Some(Motion { view, .. }) = &mut self.motion {
            *view = RelativeView::identity();
        }
    }

    fn current_keyframe(&self) -> Option<&Keyframe> {
        self.map.get(self.anchor.as_ref()?.keyframe)
    }

    fn last_pose(&self) -> Option<Se3> {
        let record = self.records.last()?;
        Some(self.map.get(record.keyframe)?.world_from_camera * record.keyframe_from_camera)
    }

    fn update(&self, frame_id: u64, stamp: Stamp, state: TrackingState) -> MapUpdate {
        MapUpdate {
            frame_id,
            stamp,
            state,
            world_from_camera: None,
            covariance: None,
            overlap_frac: 0.0,
            inlier_frac: 0.0,
            depth_inlier_frac: None,
            new_keyframe: None,
            loops_closed: 0,
            keyframes: self.map.len(),
        }
    }
}

/// The point in the world that a keyframe looks at: two metres ahead.
fn looks_at(keyframe: &Keyframe) -> Point3<f64> {
    keyframe.world_from_camera * Point3::new(0.0, 0.0, 2.0)
}
