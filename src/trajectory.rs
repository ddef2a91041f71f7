//! Poses over time.

use crate::geometry::Se3;
use crate::stamp::Stamp;

/// The camera's pose at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StampedPose {
    /// Time of the frame.
    pub stamp: Stamp,
    /// Pose of the camera's optical frame in the world.
    pub world_from_camera: Se3,
}

/// Poses in order of strictly increasing stamps.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trajectory {
    poses: Vec<StampedPose>,
}

impl Trajectory {
    /// Returns the poses sorted by stamp; of several with one stamp the first is kept.
    pub fn new(mut poses: Vec<StampedPose>) -> Self {
        poses.sort_by_key(|p| p.stamp);
        poses.dedup_by_key(|p| p.stamp);
        Self { poses }
    }

    /// Returns the poses in order of time.
    pub fn poses(&self) -> &[StampedPose] {
        &self.poses
    }

    /// Returns the pose whose stamp is nearest to `stamp`, if within `max_difference_secs`.
    pub fn nearest(&self, stamp: Stamp, max_difference_secs: f64) -> Option<&StampedPose> {
        let after = self.poses.partition_point(|p| p.stamp < stamp);
        let candidates = &self.poses[after.saturating_sub(1)..self.poses.len().min(after + 1)];
        candidates
            .iter()
            .min_by_key(|p| (p.stamp.nanos() - stamp.nanos()).abs())
            .filter(|p| p.stamp.secs_since(stamp).abs() <= max_difference_secs)
    }
}
