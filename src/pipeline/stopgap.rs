//! Stopgaps: frames to track against while the model has not answered yet.
//!
//! A camera that moves on leaves its keyframe before the next one is there. A frame of late then
//! stands in: its image, with the depth that the map has where it looks, and beyond the map's edge a
//! guess. A turning camera hardly minds how far away things are, so that the guess serves until the
//! model says better. A stopgap is no part of the map: frames keep hanging on the keyframe that it
//! came from, and what the model says later is merged as if there had been none.

use super::mapping::anchor_reference;
use super::recognizing::pointmap_of;
use super::{Anchor, Pipeline, PreparedFrame};
use crate::dense_residual::RelativeView;
use crate::geometry::Se3;
use crate::keyframe::{Keyframe, KeyframeId};
use crate::map::{Source, completed, guessed, rendered};
use crate::pointmap::Pointmap;
use crate::pyramid::Pyramid;
use crate::tracking::{KeyframeConfig, MotionPrior, Tracked};
use crate::window::seen_frac;

/// Keyframes whose points are shown to the stopgap.
const MAX_SOURCES: usize = 4;
/// Keyframes that share less than this with it have nothing to add.
const MIN_SHARED_FRAC: f64 = 0.1;
/// Of the way from where the camera is lost to where a keyframe is left: below it the end is near.
const ENDING_SHARE: f64 = 0.3;
/// Standard deviation of a guessed depth, as a share of it.
const GUESS_SIGMA_FRAC: f32 = 0.3;

/// A frame that stands in for a keyframe.
pub(super) struct Stopgap {
    /// The frame as it was tracked, seen from the anchor's keyframe.
    view: RelativeView,
    pyramid: Pyramid,
    pointmap: Pointmap,
}

impl Anchor {
    /// Tracks by `track`, which is given starts and prior of the frame as seen from the anchor's
    /// reference, and returns what comes of it as seen from its keyframe.
    pub(super) fn tracked(
        &self,
        starts: [RelativeView; 2],
        prior: &MotionPrior,
        track: impl FnOnce([RelativeView; 2], &MotionPrior) -> Tracked,
    ) -> Tracked {
        let Some(Stopgap { view, .. }) = &self.stopgap else { return track(starts, prior) };
        let back = view.inverse();
        let frame_from_reference = prior.frame_from_reference * back.target_from_reference;
        let prior = MotionPrior { frame_from_reference, ..*prior };
        let tracked = track(starts.map(|start| start.by_way_of(&back)), &prior);
        Tracked { view: tracked.view.by_way_of(view), ..tracked }
    }
}

impl Pipeline {
    /// Lets a frame stand in for the keyframe that is waited for, before what it is tracked against
    /// is out of sight. As long as enough of that is in view nothing is as accurate.
    pub(super) fn bridge(&mut self, frame: &PreparedFrame, tracked: &Tracked) {
        let is_ending = tracked.overlap_frac < self.ending_overlap_frac();
        let Some(keyframe) = self.current_keyframe().filter(|_| is_ending) else { return };
        let world_from_camera =
            keyframe.world_from_camera * tracked.view.target_from_reference.inverse();
        let gap = self.stopgap(frame, &world_from_camera, tracked.view);
        self.stand_in(gap);
    }

    /// Where less than this of a reference's points is in view, the camera will soon be lost.
    fn ending_overlap_frac(&self) -> f64 {
        let (lost, left) =
            (self.config.tracking.min_overlap_frac, self.config.keyframe.min_overlap_frac);
        lost + ENDING_SHARE * (left - lost).max(0.0)
    }

    /// A frame with what is known, or may be guessed, of its depth.
    fn stopgap(
        &self,
        frame: &PreparedFrame,
        world_from_camera: &Se3,
        view: RelativeView,
    ) -> Option<Stopgap> {
        let by_map = self.rendered_at(frame, world_from_camera, 1)?;
        let measured = pointmap_of(frame, self.config.sensor.noise());
        let known = measured.map_or_else(|| by_map.clone(), |known| completed(&known, &by_map));
        let known = match self.rendered_before(frame, &view) {
            Some(before) => completed(&known, &before),
            None => known,
        };
        let pointmap = guessed(&known, &frame.camera.rays(), GUESS_SIGMA_FRAC);
        Some(Stopgap { view, pyramid: frame.pyramid.clone(), pointmap })
    }

    /// What the map shows where a frame looks, as far as so many keyframes agree on it.
    pub(super) fn rendered_at(
        &self,
        frame: &PreparedFrame,
        world_from_camera: &Se3,
        least: usize,
    ) -> Option<Pointmap> {
        let mut near = self.overlaps(frame, world_from_camera);
        near.retain(|&(_, overlap)| overlap >= MIN_SHARED_FRAC);
        near.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
        let near = near.into_iter().take(MAX_SOURCES).filter_map(|(id, _)| self.map.get(id));
        let sources: Vec<Source<'_>> = near.map(|k| source(k, world_from_camera)).collect();
        rendered(&sources, &frame.camera, least).ok()
    }

    /// What the stopgap before shows of it.
    fn rendered_before(&self, frame: &PreparedFrame, view: &RelativeView) -> Option<Pointmap> {
        let before = self.anchor.as_ref()?.stopgap.as_ref()?;
        let view_from_source =
            view.target_from_reference * before.view.target_from_reference.inverse();
        let source = Source { pointmap: &before.pointmap, view_from_source };
        rendered(&[source], &frame.camera, 1).ok()
    }

    fn stand_in(&mut self, gap: Option<Stopgap>) {
        if let (Some(anchor), Some(gap)) = (&mut self.anchor, gap) {
            anchor.reference = anchor_reference(&gap.pyramid, &gap.pointmap, &self.config.tracking);
            anchor.stopgap = Some(gap);
        }
    }

    /// Tracks on against a keyframe, of which the last frame is seen at `frame_from_keyframe`; the
    /// stopgap stays where the frame has left the keyframe already.
    pub(super) fn set_anchor_behind(&mut self, keyframe: KeyframeId, frame_from_keyframe: &Se3) {
        let before = self
            .motion
            .as_ref()
            .map(|motion| motion.view.target_from_reference.inv_mul(frame_from_keyframe));
        let gap = self.anchor.as_mut().and_then(|anchor| anchor.stopgap.take());
        self.set_anchor(keyframe);
        let Some(found) = self.map.get(keyframe) else { return };
        let in_view = seen_frac(&found.pyramid, &found.pyramid, frame_from_keyframe);
        if in_view >= self.ending_overlap_frac() {
            return;
        }
        if let Some((mut gap, old_from_new)) = gap.zip(before) {
            gap.view.target_from_reference *= old_from_new;
            self.stand_in(Some(gap));
        }
    }

    /// Tracks on against the same keyframe, whose points have changed or been multiplied by
    /// `factor`, and the same stopgap.
    pub(super) fn renew_anchor(&mut self, factor: f64) {
        let Some(keyframe) = self.anchor.as_ref().map(|anchor| anchor.keyframe) else { return };
        let gap = self.anchor.as_mut().and_then(|anchor| anchor.stopgap.take());
        self.set_anchor(keyframe);
        if let Some(mut gap) = gap {
            gap.view.target_from_reference.translation.vector *= factor;
            gap.pointmap = gap.pointmap.scaled(factor);
            self.stand_in(Some(gap));
        }
    }
}

fn source<'a>(keyframe: &'a Keyframe, world_from_view: &Se3) -> Source<'a> {
    let view_from_source = world_from_view.inv_mul(&keyframe.world_from_camera);
    Source { pointmap: &keyframe.pointmap, view_from_source }
}

/// When half of the way out of a keyframe is done.
pub(super) fn half_way(config: &KeyframeConfig) -> KeyframeConfig {
    KeyframeConfig {
        min_overlap_frac: 0.5 * (1.0 + config.min_overlap_frac),
        max_translation_frac: 0.5 * config.max_translation_frac,
        max_rotation_deg: 0.5 * config.max_rotation_deg,
        ..config.clone()
    }
}
