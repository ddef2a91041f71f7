//! Hindsight: what frames saw of a keyframe's surfaces before it was one.
//!
//! A keyframe is made where the camera has left the one before, so that what has come into view
//! meanwhile was measured by many frames already, of which no keyframe took note. The last of them
//! sharpen the new keyframe as those do that follow it.

use std::collections::VecDeque;

use super::{Pipeline, PreparedFrame};
use crate::keyframe::KeyframeId;
use crate::map::fuse;
use crate::pyramid::Pyramid;
use crate::stamp::Stamp;

/// Frames that are kept for it: a quarter of what is fused at most, so that most of it is of frames that
/// follow, which see the keyframe's surfaces from elsewhere.
const MAX_FRAMES: usize = 8;

/// A frame that was placed.
struct Seen {
    stamp: Stamp,
    pyramid: Pyramid,
    /// What has been added to its depths, metres.
    depth_offset_m: f64,
}

/// Frames of late with depth, oldest first.
#[derive(Default)]
pub(super) struct Hindsight {
    frames: VecDeque<Seen>,
}

impl Hindsight {
    /// Keeps a frame that has been placed.
    pub(super) fn note(&mut self, frame: &PreparedFrame) {
        if frame.mean_depth_m.is_none() {
            return;
        }
        if self.frames.len() == MAX_FRAMES {
            self.frames.pop_front();
        }
        let (stamp, pyramid) = (frame.frame.stamp, frame.pyramid.clone());
        self.frames.push_back(Seen { stamp, pyramid, depth_offset_m: frame.depth_offset_m });
    }

    /// Forgets all frames: the map that they were placed in is no more.
    pub(super) fn forget(&mut self) {
        self.frames.clear();
    }
}

impl Pipeline {
    /// Fuses what frames before measured into a new keyframe.
    pub(super) fn look_back(&mut self, keyframe: KeyframeId) {
        let (noise, offset_m) = (self.config.sensor.noise(), self.config.sensor.depth_offset_m);
        let Some(found) = self.map.get(keyframe) else { return };
        let (stamp, world_from_keyframe) = (found.frame.stamp, found.world_from_camera);
        let is_of_use =
            |seen: &&Seen| seen.stamp != stamp && (seen.depth_offset_m - offset_m).abs() < 1e-9;
        let placed: Vec<_> = self
            .hindsight
            .frames
            .iter()
            .filter(is_of_use)
            .filter_map(|seen| {
                let world_from_frame = self.pose_at(seen.stamp)?;
                Some((&seen.pyramid, world_from_frame.inv_mul(&world_from_keyframe)))
            })
            .collect();
        let Some(found) = self.map.get_mut(keyframe).filter(|k| k.frame.depth.is_some()) else {
            return;
        };
        for (pyramid, frame_from_keyframe) in placed {
            fuse(found, &pyramid.levels()[0], &frame_from_keyframe, noise, &self.config.map);
        }
    }
}
