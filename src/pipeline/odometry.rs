//! What another sensor's odometry says of where the camera can have come to while it had no pose: a
//! place that looks right, but that the way has not led to, is another one that looks alike.

use super::drift::{Suspicion, Way, judge};
use super::{FrameRecord, Pipeline};
use crate::frame::{Frame, OdometryPrior};
use crate::geometry::Se3;
use crate::keyframe::KeyframeId;

/// How far odometry has led the camera in a session, whatever maps it was in.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Odometer {
    way: Way,
    last: Option<Se3>,
}

/// The last frame that had a pose in a map, where there was odometry.
#[derive(Debug, Clone, Copy)]
pub(super) struct OdometryMark {
    record: FrameRecord,
    odom_from_camera: Se3,
    /// What the odometer said.
    way: Way,
}

impl Odometer {
    fn go_on_to(&mut self, odom_from_camera: Se3) {
        if let Some(last) = self.last.replace(odom_from_camera) {
            self.way = self.way.further(&last, &last.inv_mul(&odom_from_camera));
        }
    }
}

impl Pipeline {
    /// Takes note of how far odometry has led the camera to a frame that is yet to be placed.
    pub(super) fn follow_odometry(&mut self, frame: &Frame) {
        if let Some(prior) = &frame.odometry {
            self.odometer.go_on_to(prior.odom_from_camera);
        }
    }

    /// Takes note of where the map has a frame, if it has it: from there on odometry says where the
    /// camera is in it.
    pub(super) fn mark_by_odometry(&mut self, frame: &Frame) {
        let placed = self.records.last().filter(|record| record.stamp == frame.stamp);
        if let (Some(&record), Some(prior)) = (placed, &frame.odometry) {
            let odom_from_camera = prior.odom_from_camera;
            self.mark = Some(OdometryMark { record, odom_from_camera, way: self.odometer.way });
        }
    }

    /// Returns whether the camera can be at `world_from_camera`, where it was recognised by a
    /// keyframe, by the odometry since the map's last frame with a pose: by the way of that, and the
    /// way between the keyframes of both, it may have drifted. Without odometry, or where the map
    /// has no metres of a depth sensor's, it can be anywhere.
    pub(super) fn is_reachable(
        &self,
        odometry: Option<&OdometryPrior>,
        keyframe: KeyframeId,
        world_from_camera: &Se3,
    ) -> bool {
        let config = &self.config.recognition;
        let mark = self.mark.as_ref().filter(|_| config.ask_odometry);
        let (Some(now), Some(mark)) = (odometry, mark) else { return true };
        let last = self.map.get(mark.record.keyframe).filter(|k| k.frame.depth.is_some());
        let Some(last) = last else { return true };
        let Some(in_map) = self.shortest_way(last.id, keyframe) else { return true };
        let world_from_last = last.world_from_camera * mark.record.keyframe_from_camera;
        let last_from_now = mark.odom_from_camera.inv_mul(&now.odom_from_camera);
        let gap = (world_from_last * last_from_now).inv_mul(world_from_camera);
        let way = self.odometer.way.since(&mark.way).and(&in_map);
        judge(&way, &gap, config) != Suspicion::Absurd
    }
}
