//! The way of the camera, in pieces that hang on keyframes.

use nalgebra::Point3;

use super::event::{Pace, What, place};
use crate::geometry::Se3;
use crate::keyframe::KeyframeId;
use crate::observer::{MapView, Observation};
use crate::stamp::Stamp;
use crate::trajectory::{StampedPose, Trajectory};

/// Points of a piece at most: it is shown anew for as long as it grows.
const PIECE_POINTS: usize = 200;
/// A camera that has moved by less has not moved.
const LEAST_STEP_M: f32 = 0.005;
/// How often the piece that grows is shown.
const PIECE_SECS: f64 = 0.5;
/// How often a pose is remembered, to lay the true trajectory over the way.
const SAMPLE_SECS: f64 = 0.1;
/// The truth is laid over the way anew when the way has grown by this share.
const TRUTH_GROWTH: f64 = 1.25;
/// The first time is after so many seconds.
const TRUTH_SECS: f64 = 1.0;

struct Piece {
    keyframe: KeyframeId,
    points_in_keyframe: Vec<[f32; 3]>,
    /// How many of them are shown.
    shown: usize,
}

/// Where a frame was against its keyframe.
struct Sample {
    stamp: Stamp,
    keyframe: KeyframeId,
    keyframe_from_camera: Se3,
}

/// What is shown of the camera's way.
pub(super) struct Way {
    /// The last one grows; those before are to be shown for the last time.
    pieces: Vec<Piece>,
    /// How many came before those.
    begun: usize,
    pace: Pace,
    samples: Vec<Sample>,
    sampling: Pace,
    has_truth: bool,
    /// When the truth is to be laid over the way next, seconds since its beginning.
    truth_due_secs: f64,
}

impl Way {
    pub(super) fn new(has_truth: bool) -> Self {
        Self {
            pieces: Vec::new(),
            begun: 0,
            pace: Pace::every(PIECE_SECS),
            samples: Vec::new(),
            sampling: Pace::every(SAMPLE_SECS),
            has_truth,
            truth_due_secs: TRUTH_SECS,
        }
    }

    /// Takes note of where a frame is.
    pub(super) fn note(&mut self, seen: &Observation<'_>) {
        let update = seen.update;
        let keyframe = update.keyframe.and_then(|id| seen.view.map.get(id));
        let (Some(keyframe), Some(pose)) = (keyframe, &update.world_from_camera) else {
            return self.interrupt();
        };
        let keyframe_from_camera = keyframe.world_from_camera.inv_mul(pose);
        self.step(keyframe.id, &keyframe.world_from_camera, &keyframe_from_camera, seen);
        if self.has_truth && self.sampling.take(update.stamp) {
            let (stamp, keyframe) = (update.stamp, keyframe.id);
            self.samples.push(Sample { stamp, keyframe, keyframe_from_camera });
        }
    }

    /// Nothing leads from where the camera was lost to where it is found.
    fn interrupt(&mut self) {
        if self.pieces.last().is_some_and(|piece| !piece.points_in_keyframe.is_empty()) {
            let keyframe = self.pieces[self.pieces.len() - 1].keyframe;
            self.begin(keyframe, None);
        }
    }

    fn begin(&mut self, keyframe: KeyframeId, first: Option<[f32; 3]>) {
        let points_in_keyframe = first.into_iter().collect();
        self.pieces.push(Piece { keyframe, points_in_keyframe, shown: 0 });
    }

    fn step(
        &mut self,
        keyframe: KeyframeId,
        world_from_keyframe: &Se3,
        keyframe_from_camera: &Se3,
        seen: &Observation<'_>,
    ) {
        let has_room = |piece: &Piece| piece.points_in_keyframe.len() < PIECE_POINTS;
        let last = self.pieces.last();
        if last.is_none_or(|piece| piece.keyframe != keyframe || !has_room(piece)) {
            let end = last.and_then(|piece| {
                let end = Point3::from(*piece.points_in_keyframe.last()?).cast::<f64>();
                let world_from_last = seen.view.map.get(piece.keyframe)?.world_from_camera;
                let end_in_world = world_from_last * end;
                Some(world_from_keyframe.inverse_transform_point(&end_in_world).cast().into())
            });
            self.begin(keyframe, end);
        }
        let Some(piece) = self.pieces.last_mut() else { return };
        let point = place(keyframe_from_camera);
        let step_m = |last: &[f32; 3]| (Point3::from(*last) - Point3::from(point)).norm();
        if piece.points_in_keyframe.last().is_none_or(|last| step_m(last) >= LEAST_STEP_M) {
            piece.points_in_keyframe.push(point);
        }
    }

    /// Returns the pieces that have grown since they were shown, and the whole way where it is time
    /// to lay the truth over it.
    pub(super) fn changes(&mut self, now: Stamp, view: &MapView<'_>, is_last: bool) -> Vec<What> {
        let mut changes = Vec::new();
        if self.pace.take(now) || is_last {
            changes.extend(self.grown());
        }
        changes.extend(self.truth(now, view, is_last));
        changes
    }

    fn grown(&mut self) -> Vec<What> {
        let mut grown = Vec::new();
        for (index, piece) in self.pieces.iter_mut().enumerate() {
            let points = &piece.points_in_keyframe;
            if points.len() > piece.shown.max(1) {
                grown.push(What::Way {
                    keyframe: piece.keyframe,
                    piece: self.begun + index,
                    points_in_keyframe: points.clone(),
                });
                piece.shown = points.len();
            }
        }
        let ended = self.pieces.len().saturating_sub(1);
        self.pieces.drain(..ended);
        self.begun += ended;
        grown
    }

    fn truth(&mut self, now: Stamp, view: &MapView<'_>, is_last: bool) -> Option<What> {
        let secs = now.secs_since(self.samples.first()?.stamp);
        if !(is_last || secs >= self.truth_due_secs) {
            return None;
        }
        self.truth_due_secs = (secs * TRUTH_GROWTH).max(secs + TRUTH_SECS);
        let pose = |sample: &Sample| {
            let world_from_keyframe = view.map.get(sample.keyframe)?.world_from_camera;
            let world_from_camera = world_from_keyframe * sample.keyframe_from_camera;
            Some(StampedPose { stamp: sample.stamp, world_from_camera })
        };
        Some(What::Truth(Trajectory::new(self.samples.iter().filter_map(pose).collect())))
    }
}
