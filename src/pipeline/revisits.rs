//! Places that the model recognises: a window in which a view and a keyframe from elsewhere in the map
//! stand side by side says how the two stand to each other, where no keypoint of theirs may match.
//!
//! It is no more than another opinion: a sighting, as by keypoints, which closes a loop if others
//! agree, if the way can have drifted as much, and if the tracker bears it out.

use nalgebra::Matrix6;

use super::drift::Suspicion;
use super::inferring::Candidate;
use super::merging::{Alike, Comparison, Window, log_ratios};
use super::scaling::scaled;
use super::{Pipeline, PreparedFrame};
use crate::geometry::Se3;
use crate::keyframe::KeyframeId;
use crate::matching::two_view::{TwoViewPose, VerifiedView, fitting};
use crate::recognition::Sighting;
use crate::stamp::Stamp;

/// Standard deviation of a model's relative pose: radians, and shares of the depth that is seen. The
/// tracker's own stands in its place wherever it counts.
const MODEL_SIGMA: f64 = 0.02;

/// Where a window puts its newest view by a keyframe that looks like it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Revisit {
    /// Of the view.
    stamp: Stamp,
    keyframe: KeyframeId,
    /// In the lengths that the map has at the keyframe.
    keyframe_from_view: Se3,
}

impl Pipeline {
    /// Remembers where a window puts its newest view among keyframes that look like it, until the view
    /// has become a keyframe.
    pub(super) fn note_revisits(&mut self, candidate: Candidate<'_>, window: &Window) {
        let revisit = |alike: &Alike| self.revisit(candidate, window, alike);
        self.inferring.revisits = window.alike.iter().filter_map(revisit).collect();
    }

    /// A place that is seen again, if the model sees there what the map has, and what both views see
    /// by that fits together.
    fn revisit(&self, candidate: Candidate<'_>, window: &Window, alike: &Alike) -> Option<Revisit> {
        let keyframe = self.map.get(alike.id)?;
        let known = &keyframe.pointmap;
        let logs = log_ratios(&alike.pointmap, |x, y| known.point(x, y).map_or(0.0, |p| p.z));
        let factor = Comparison::of(logs).filter(Comparison::is_good)?.log_scale.exp();
        let keyframe_from_view = scaled(alike.keyframe_from_newest, factor);
        let newest = window.newest.scaled(factor);
        let view = VerifiedView { camera: &candidate.frame.camera, pointmap: &newest };
        let known = VerifiedView { camera: &keyframe.camera, pointmap: known };
        fitting(&view, &known, &keyframe_from_view, &self.config.recognition.two_view).ok()?;
        let stamp = candidate.frame.frame.stamp;
        Some(Revisit { stamp, keyframe: alike.id, keyframe_from_view })
    }

    /// What the model said of places that a keyframe is of, too, as far as the way between them can
    /// have drifted that much.
    pub(super) fn sightings_by_model(&self, newest: KeyframeId) -> Vec<Sighting> {
        let stamp = self.map.get(newest).map(|keyframe| keyframe.frame.stamp);
        let of_newest = self.inferring.revisits.iter().filter(|r| Some(r.stamp) == stamp);
        let sightings = of_newest.filter_map(|revisit| self.sighting(revisit));
        sightings.filter(|s| self.suspicion(newest, s) != Suspicion::Absurd).collect()
    }

    fn sighting(&self, revisit: &Revisit) -> Option<Sighting> {
        let keyframe = self.map.get(revisit.keyframe)?;
        let way = keyframe.pointmap.mean_depth_m()? * MODEL_SIGMA;
        let mut information = Matrix6::identity() * MODEL_SIGMA.powi(-2);
        information.fixed_view_mut::<3, 3>(3, 3).fill_diagonal(way.powi(-2));
        let target_from_source = revisit.keyframe_from_view;
        Some(Sighting {
            keyframe: keyframe.id,
            pose: TwoViewPose { target_from_source, information, inliers: vec![], rms_sigmas: 1.0 },
            world_from_view: keyframe.world_from_camera * target_from_source,
        })
    }

    /// Closes the loop that a model has seen at a keyframe after it had been tied in.
    pub(super) fn close_loop_of_revisit(&mut self, id: KeyframeId, frame: &PreparedFrame) -> bool {
        !self.sightings_by_model(id).is_empty() && self.close_loop(id, frame)
    }
}
