//! How the map begins and grows: frames are placed, and sharpen the keyframe they hang on.

use super::depth_offset::OffsetWatch;
use super::locate::covariance_in_keyframe;
use super::priors::Inferring;
use super::{Anchor, FrameRecord, Pipeline, PreparedFrame};
use crate::dense_residual::RelativeView;
use crate::error::{Error, Result};
use crate::geometry::Se3;
use crate::keyframe::KeyframeId;
use crate::map::fuse;
use crate::observer::{MapUpdate, TrackingState};
use crate::pointmap::Pointmap;
use crate::pose_graph::PoseGraph;
use crate::pyramid::Pyramid;
use crate::reference::Reference;
use crate::stamp::Stamp;
use crate::tracking::{LostReason, Tracked, TrackingConfig};
use crate::window::{CovisibilityGraph, Places};

/// A map of one keyframe is given up when this many times more frames were lost than placed.
const STILLBORN_RATIO: usize = 5;

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
                update.keyframe = Some(keyframe);
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
        self.lost_frames += 1;
        if self.is_stillborn() {
            self.begin_anew();
        } else {
            self.set_aside_if_lost_for_long(frame.frame.stamp);
        }
        self.update(frame.frame.id, frame.frame.stamp, TrackingState::Lost(reason))
    }

    /// Whether the map has never been of use: it began with a frame, a dark or a covered one, say,
    /// that hardly any other could be placed against.
    fn is_stillborn(&self) -> bool {
        self.map.len() == 1
            && self.past_sessions.is_empty()
            && self.records.len() < self.lost_frames / STILLBORN_RATIO
    }

    /// Forgets all maps and what hangs on them: the next frame begins a new one. The model stays,
    /// since it may have taken minutes to load.
    pub fn restart(&mut self) {
        self.submaps = super::submaps::Submaps::default();
        self.begin_anew();
    }

    /// Forgets the map that frames are placed in.
    fn begin_anew(&mut self) {
        self.map.clear();
        self.covisibility = CovisibilityGraph::default();
        self.places = Places::default();
        self.pose_graph = PoseGraph::default();
        self.long_ties.clear();
        (self.anchor, self.motion, self.lost_frames) = (None, None, 0);
        self.wants_keyframe = false;
        self.records.clear();
        self.past_sessions.clear();
        (self.map_from_world, self.georeference, self.fix) = (None, None, None);
        self.mark = None;
        self.suspected.clear();
        self.inferring = Inferring::default();
        self.offset_watch = OffsetWatch::new(self.offset_watch.stated_m);
        self.late.forget();
        self.hindsight.forget();
        if let Some(recognizer) = &mut self.recognizer {
            recognizer.clear();
        }
    }

    /// A placed frame sharpens its keyframe, and where it has left it, calls for another.
    pub(super) fn extend_map(
        &mut self,
        frame: &PreparedFrame,
        tracked: &Tracked,
        state: TrackingState,
    ) -> Result<MapUpdate> {
        let frame_from_keyframe = tracked.view.target_from_reference;
        let previous_from_camera = self
            .motion
            .as_ref()
            .map(|last| last.view.target_from_reference * frame_from_keyframe.inverse());
        if let Some(step) = &previous_from_camera {
            self.travel.add(step);
        }
        let tracked_against = self.anchor.as_ref().map(|anchor| anchor.keyframe);
        self.place(frame, tracked.view);
        let change = match self.config.map.localization_only {
            true => self.follow_map(frame, tracked),
            false => {
                self.fuse_frame(frame, tracked);
                self.confirm_first(frame)?;
                self.change_keyframe(frame, tracked)?
            }
        };
        if let Some(keyframe) = change.new_keyframe {
            self.settle_units(keyframe)?;
        }
        let mut update = self.update(frame.frame.id, frame.frame.stamp, state);
        update.world_from_camera = self.last_pose();
        update.previous_from_camera = previous_from_camera;
        update.keyframe = tracked_against;
        let keyframe_from_frame = frame_from_keyframe.inverse();
        update.covariance = Some(covariance_in_keyframe(&tracked.covariance, &keyframe_from_frame));
        update.overlap_frac = tracked.overlap_frac;
        update.inlier_frac = tracked.inlier_frac;
        update.depth_inlier_frac = tracked.depth_inlier_frac;
        update.new_keyframe = change.new_keyframe;
        update.loops_closed = usize::from(change.loop_closed);
        Ok(update)
    }

    /// What a new keyframe tells of the focal length, the map's unit and the sensor of depth.
    pub(super) fn settle_units(&mut self, newest: KeyframeId) -> Result<()> {
        self.settle_focal()?;
        self.settle_scale(newest);
        self.settle_depth_offset();
        Ok(())
    }

    fn fuse_frame(&mut self, frame: &PreparedFrame, tracked: &Tracked) {
        let Some(anchor) = &self.anchor else { return };
        let Some(keyframe) = self.map.get_mut(anchor.keyframe) else { return };
        let level = &frame.pyramid.levels()[0];
        let pose = tracked.view.target_from_reference;
        fuse(keyframe, level, &pose, self.config.sensor.noise(), &self.config.map);
        self.hindsight.note(frame);
    }

    pub(super) fn set_anchor(&mut self, keyframe: KeyframeId) {
        let Some(found) = self.map.get(keyframe) else { return };
        let reference = anchor_reference(&found.pyramid, &found.pointmap, &self.config.tracking);
        self.anchor = Some(Anchor { keyframe, reference, stopgap: None });
    }

    /// Hangs the frame on the anchor.
    pub(super) fn place(&mut self, frame: &PreparedFrame, view: RelativeView) {
        self.remember_motion(frame, view);
        self.lost_frames = 0;
        self.submaps.note_placed();
        if let Some(anchor) = &self.anchor {
            self.records.push(FrameRecord {
                stamp: frame.frame.stamp,
                keyframe: anchor.keyframe,
                keyframe_from_camera: view.target_from_reference.inverse(),
            });
        }
    }

    pub(super) fn last_pose(&self) -> Option<Se3> {
        let record = self.records.last()?;
        Some(self.map.get(record.keyframe)?.world_from_camera * record.keyframe_from_camera)
    }

    pub(super) fn update(&self, frame_id: u64, stamp: Stamp, state: TrackingState) -> MapUpdate {
        MapUpdate {
            frame_id,
            stamp,
            state,
            world_from_camera: None,
            previous_from_camera: None,
            keyframe: None,
            covariance: None,
            overlap_frac: 0.0,
            inlier_frac: 0.0,
            depth_inlier_frac: None,
            new_keyframe: None,
            loops_closed: 0,
            keyframes: self.map.len(),
            map: self.submaps.current(),
            scale: self.scale(),
            inference: self.inference(),
        }
    }
}

/// The points of what frames are tracked against, with the patches that they look for.
pub(super) fn anchor_reference(
    pyramid: &Pyramid,
    pointmap: &Pointmap,
    config: &TrackingConfig,
) -> Reference {
    let reference = Reference::new(pyramid, pointmap, config.max_points);
    match config.max_patches {
        0 => reference,
        count => reference.with_patches(pyramid, pointmap, count),
    }
}
