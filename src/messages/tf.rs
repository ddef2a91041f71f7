//! The tree of frames that `/tf` and `/tf_static` describe.

use std::collections::{BTreeMap, VecDeque};

use nalgebra::{Translation3, UnitQuaternion};

use super::cdr::{Quaternion, TfMessage, Vector3};
use crate::geometry::{Se3, se3};
use crate::stamp::Stamp;

/// How many samples of a moving transform are kept.
const MAX_SAMPLES: usize = 4096;
/// The longest interval over which is interpolated.
const MAX_INTERVAL_SECS: f64 = 1.0;
/// A step back of more than this is a new beginning, not disorder.
const NEW_BEGINNING_SECS: f64 = 1.0;
/// No robot's tree is deeper; a longer way up is a circle.
const MAX_DEPTH: usize = 64;

/// Transforms over time, by child frame.
#[derive(Debug, Default)]
pub struct TfBuffer {
    edges: BTreeMap<String, Edge>,
}

#[derive(Debug)]
struct Edge {
    parent: String,
    is_static: bool,
    samples: VecDeque<(Stamp, Se3)>,
}

/// Why there is no transform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoTransform {
    /// It may become known when more has been read.
    NotYet,
    /// It is not known, for this reason.
    Unknown(String),
}

impl TfBuffer {
    /// Takes in a message of `/tf_static` or `/tf`; transforms that are none are left out.
    pub fn insert(&mut self, message: TfMessage, is_static: bool) {
        for transform in message.transforms {
            let child = frame_name(&transform.child_frame_id);
            let parent = frame_name(&transform.header.frame_id);
            if let Some(pose) = rigid(&transform.translation, &transform.rotation) {
                self.insert_one(parent, child, (transform.header.stamp.into(), pose), is_static);
            }
        }
    }

    fn insert_one(&mut self, parent: &str, child: &str, sample: (Stamp, Se3), is_static: bool) {
        let edge = self.edges.entry(child.to_owned()).or_insert_with(|| Edge {
            parent: parent.to_owned(),
            is_static,
            samples: VecDeque::new(),
        });
        if edge.parent != parent || edge.is_static != is_static {
            *edge = Edge { parent: parent.to_owned(), is_static, samples: VecDeque::new() };
        }
        edge.push(sample);
    }

    /// Returns whether any transform so far was from or to this frame.
    pub fn knows(&self, frame: &str) -> bool {
        let frame = frame_name(frame);
        self.edges.contains_key(frame) || self.edges.values().any(|edge| edge.parent == frame)
    }

    /// Returns the pose of `source` in `target` at a time.
    pub fn lookup(&self, target: &str, source: &str, stamp: Stamp) -> Result<Se3, NoTransform> {
        let (target, source) = (frame_name(target), frame_name(source));
        let up_from_source = self.ancestors(source);
        let up_from_target = self.ancestors(target);
        let common = up_from_source.iter().find(|frame| up_from_target.contains(frame));
        let common = common.ok_or_else(|| {
            NoTransform::Unknown(format!("no transforms connect '{source}' with '{target}'"))
        })?;
        let common_from_source = self.climb(&up_from_source, common, stamp)?;
        let common_from_target = self.climb(&up_from_target, common, stamp)?;
        Ok(common_from_target.inverse() * common_from_source)
    }

    /// Returns a frame, its parent, and so on.
    fn ancestors<'a>(&'a self, frame: &'a str) -> Vec<&'a str> {
        let parent = |frame: &&'a str| self.edges.get(*frame).map(|edge| edge.parent.as_str());
        std::iter::successors(Some(frame), parent).take(MAX_DEPTH).collect()
    }

    fn climb(&self, frames: &[&str], top: &str, stamp: Stamp) -> Result<Se3, NoTransform> {
        let mut top_from_start = Se3::identity();
        for frame in frames.iter().take_while(|frame| **frame != top) {
            top_from_start = self.edges[*frame].at(frame, stamp)? * top_from_start;
        }
        Ok(top_from_start)
    }
}

impl Edge {
    fn push(&mut self, (stamp, pose): (Stamp, Se3)) {
        if let Some(&(last, _)) = self.samples.back().filter(|(last, _)| stamp <= *last) {
            if !self.is_static && last.secs_since(stamp) < NEW_BEGINNING_SECS {
                return;
            }
            self.samples.clear();
        }
        if self.is_static {
            self.samples.clear();
        }
        if self.samples.len() == MAX_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((stamp, pose));
    }

    fn at(&self, child: &str, stamp: Stamp) -> Result<Se3, NoTransform> {
        if let (true, Some((_, pose))) = (self.is_static, self.samples.back()) {
            return Ok(*pose);
        }
        interpolate(&self.samples, stamp)?.ok_or_else(|| {
            let parent = &self.parent;
            NoTransform::Unknown(format!("'{parent}' from '{child}' is not known at time {stamp}"))
        })
    }
}

/// Returns the pose at a time between two samples, or `None` before the first and in a gap.
///
/// # Errors
/// [`NoTransform::NotYet`] after the last sample.
pub fn interpolate(
    samples: &VecDeque<(Stamp, Se3)>,
    stamp: Stamp,
) -> Result<Option<Se3>, NoTransform> {
    let after = samples.partition_point(|(sample, _)| *sample < stamp);
    let &(end, end_pose) = samples.get(after).ok_or(NoTransform::NotYet)?;
    if end == stamp {
        return Ok(Some(end_pose));
    }
    let Some(&(start, start_pose)) = after.checked_sub(1).and_then(|before| samples.get(before))
    else {
        return Ok(None);
    };
    let interval = end.secs_since(start);
    let fraction = stamp.secs_since(start) / interval;
    let near = interval <= MAX_INTERVAL_SECS;
    Ok(near.then(|| se3::interpolate(&start_pose, &end_pose, fraction)))
}

/// Returns the transform of ROS's parts, or `None` where they are none.
pub fn rigid(translation: &Vector3, rotation: &Quaternion) -> Option<Se3> {
    let Quaternion { x, y, z, w } = *rotation;
    let rotation = UnitQuaternion::try_new(nalgebra::Quaternion::new(w, x, y, z), 1e-6)?;
    let translation = Translation3::new(translation.x, translation.y, translation.z);
    let finite = translation.vector.iter().chain(rotation.coords.iter()).all(|v| v.is_finite());
    finite.then(|| Se3::from_parts(translation, rotation))
}

/// Returns the frame's name without the slash that ROS 1 put before it.
pub fn frame_name(name: &str) -> &str {
    name.trim_start_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn along_x(x: f64) -> Se3 {
        Se3::translation(x, 0.0, 0.0)
    }

    fn secs(secs: f64) -> Stamp {
        Stamp::from_secs(secs)
    }

    fn buffer() -> TfBuffer {
        let mut buffer = TfBuffer::default();
        buffer.insert_one("base", "camera", (secs(0.0), along_x(0.5)), true);
        for t in 0..10 {
            let t = f64::from(t) * 0.1;
            buffer.insert_one("odom", "base", (secs(10.0 + t), along_x(t)), false);
        }
        buffer
    }

    #[test]
    fn chains_are_composed_and_interpolated_both_ways() {
        let buffer = buffer();
        let odom_from_camera = buffer.lookup("/odom", "camera", secs(10.25)).unwrap();
        assert!((odom_from_camera.translation.x - 0.75).abs() < 1e-12);
        let camera_from_odom = buffer.lookup("camera", "odom", secs(10.25)).unwrap();
        assert!((camera_from_odom.translation.x + 0.75).abs() < 1e-12);
        let same = buffer.lookup("camera", "camera", secs(99.0)).unwrap();
        assert_eq!(same, Se3::identity());
    }

    #[test]
    fn what_is_not_known_is_said_and_never_identity() {
        let buffer = buffer();
        let unknown = |result: Result<Se3, NoTransform>| match result {
            Err(NoTransform::Unknown(reason)) => reason,
            other => panic!("{other:?}"),
        };
        let reason = unknown(buffer.lookup("odom", "lidar", secs(10.2)));
        assert_eq!(reason, "no transforms connect 'lidar' with 'odom'");
        let reason = unknown(buffer.lookup("odom", "camera", secs(9.0)));
        assert!(reason.contains("'odom' from 'base' is not known at time 9.0"), "{reason}");
        assert_eq!(buffer.lookup("odom", "camera", secs(12.0)), Err(NoTransform::NotYet));
    }

    #[test]
    fn gaps_are_not_bridged_and_a_new_beginning_forgets() {
        let mut buffer = buffer();
        buffer.insert_one("odom", "base", (secs(20.0), along_x(9.0)), false);
        assert!(matches!(buffer.lookup("odom", "base", secs(15.0)), Err(NoTransform::Unknown(_))));
        buffer.insert_one("odom", "base", (secs(19.9), along_x(7.0)), false);
        assert_eq!(buffer.lookup("odom", "base", secs(20.0)).unwrap(), along_x(9.0));
        buffer.insert_one("odom", "base", (secs(1.0), along_x(1.0)), false);
        assert_eq!(buffer.lookup("odom", "base", secs(20.0)), Err(NoTransform::NotYet));
    }

    #[test]
    fn a_circle_of_frames_ends() {
        let mut buffer = TfBuffer::default();
        buffer.insert_one("a", "b", (secs(0.0), along_x(1.0)), true);
        buffer.insert_one("b", "a", (secs(0.0), along_x(1.0)), true);
        assert!(buffer.lookup("c", "a", secs(0.0)).is_err());
        assert!(buffer.lookup("b", "a", secs(0.0)).is_ok());
    }

    #[test]
    fn transforms_that_are_none_are_left_out() {
        let zero = Quaternion { x: 0.0, y: 0.0, z: 0.0, w: 0.0 };
        let good = Quaternion { w: 2.0, ..zero };
        let origin = Vector3 { x: 0.0, y: 0.0, z: 0.0 };
        assert!(rigid(&origin, &zero).is_none());
        assert!(rigid(&Vector3 { x: f64::NAN, ..origin }, &good).is_none());
        assert_eq!(rigid(&origin, &good), Some(Se3::identity()));
    }
}
