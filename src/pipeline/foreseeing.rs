//! Looking ahead: a keyframe is asked for so early that the model has answered when it is needed.
//!
//! Time is that of the frames' stamps, so that a replay foresees the same each time.

use super::inferring::Candidate;
use super::keyframing::{seen_depth_m, shared_frac};
use super::stopgap::half_way;
use super::{Pipeline, PreparedFrame};
use crate::geometry::Se3;
use crate::keyframe::Keyframe;
use crate::stamp::Stamp;
use crate::tracking::{Tracked, has_left_keyframe};
use crate::window::seen_frac;

/// How long answers take, in the time of the frames.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Latency {
    /// The newest frame.
    now: Option<Stamp>,
    /// The newest frame when the last question was put.
    asked: Option<Stamp>,
    /// Whether it is answered, and the next frame is the first to profit.
    is_answered: bool,
    secs: f64,
}

impl Latency {
    /// Takes note of a frame.
    pub fn note_frame(&mut self, stamp: Stamp) {
        self.now = Some(stamp);
        if let Some(asked) = self.asked.take_if(|_| self.is_answered) {
            let took_secs = stamp.secs_since(asked).max(0.0);
            // An answer that takes longer is believed at once, a faster one may have been a small one.
            self.secs = took_secs.max(0.5 * (self.secs + took_secs));
        }
    }

    /// Takes note of a question.
    pub fn note_question(&mut self) {
        (self.asked, self.is_answered) = (self.now, false);
    }

    /// Takes note of the answer.
    pub fn note_answer(&mut self) {
        self.is_answered = true;
    }
}

impl Pipeline {
    /// Asks for a keyframe where the frame is, if the view is about to leave its keyframe before
    /// the model could answer a later question.
    pub(super) fn look_ahead(&mut self, frame: &PreparedFrame, tracked: &Tracked) {
        // What the sensor measures is there at once.
        let may_ask = self.late.may_ask() && frame.mean_depth_m.is_none();
        let Some(keyframe) = self.current_keyframe().filter(|_| may_ask) else { return };
        let world_from_camera =
            keyframe.world_from_camera * tracked.view.target_from_reference.inverse();
        let is_good = tracked.inlier_frac >= self.config.keyframe.min_inlier_frac;
        if is_good && self.will_have_left(frame, tracked, keyframe, &world_from_camera) {
            self.ask_for_keyframe(Candidate { frame, world_from_camera });
        }
    }

    /// Whether the camera, if it moves on as it has moved, will by the time of an answer have left
    /// the keyframe, and no other will serve. Before half of the way out is done a frame is too much
    /// like the keyframe to become one.
    fn will_have_left(
        &self,
        frame: &PreparedFrame,
        tracked: &Tracked,
        keyframe: &Keyframe,
        world_from_camera: &Se3,
    ) -> bool {
        let depth_m = frame.mean_depth_m.unwrap_or_else(|| seen_depth_m(keyframe));
        let config = &self.config.keyframe;
        let frame_from_keyframe = &tracked.view.target_from_reference;
        let shared = shared_frac(frame, keyframe, &frame_from_keyframe.inverse());
        let now = shared.min(tracked.overlap_frac);
        if !has_left_keyframe(frame_from_keyframe, now, depth_m, &half_way(config)) {
            return false;
        }
        let Some(world_from_then) = self.foreseen(world_from_camera) else { return false };
        let then_from_keyframe = world_from_then.inv_mul(&keyframe.world_from_camera);
        let then = seen_frac(&keyframe.pyramid, &frame.pyramid, &then_from_keyframe).min(now);
        has_left_keyframe(&then_from_keyframe, then, depth_m, config)
            && self.better_keyframe(frame, &world_from_then, keyframe.id, then).is_none()
    }

    /// Where the camera will be when an answer to a question that is put now is there.
    fn foreseen(&self, world_from_camera: &Se3) -> Option<Se3> {
        let latency = &self.late.latency;
        let before = latency.now?.plus_secs(-latency.secs);
        let record = self.records.iter().rev().find(|record| record.stamp <= before)?;
        let keyframe = self.map.get(record.keyframe)?;
        let world_from_before = keyframe.world_from_camera * record.keyframe_from_camera;
        (latency.secs > 0.0)
            .then(|| world_from_camera * world_from_before.inv_mul(world_from_camera))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_measured_from_the_question_to_the_frame_that_profits() {
        let mut latency = Latency::default();
        let mut answered = |asked: f64, frames: &[f64], answered: f64| {
            latency.note_frame(Stamp::from_secs(asked));
            latency.note_question();
            for &stamp in frames {
                latency.note_frame(Stamp::from_secs(stamp));
            }
            latency.note_answer();
            latency.note_frame(Stamp::from_secs(answered));
            latency.secs
        };
        assert!((answered(1.0, &[1.1, 1.2], 1.3) - 0.3).abs() < 1e-6);
        assert!((answered(2.0, &[2.1, 2.4], 2.5) - 0.5).abs() < 1e-6);
        assert!((answered(3.0, &[], 3.1) - 0.3).abs() < 1e-6, "half of what it fell by");
    }
}
