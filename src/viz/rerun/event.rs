//! What the pipeline's thread hands over: what has changed, and nothing that costs more than a copy
//! of numbers.

use std::sync::Arc;

use image::RgbImage;

use crate::frame::DepthImage;
use crate::geometry::{Camera, Se3};
use crate::keyframe::KeyframeId;
use crate::pointmap::Pointmap;
use crate::stamp::Stamp;
use crate::trajectory::Trajectory;

/// Something to be shown from a moment on.
pub(super) struct Event {
    pub(super) stamp: Stamp,
    pub(super) what: What,
}

pub(super) enum What {
    /// What was found out about each of some frames.
    Rows(Vec<Row>),
    /// What the camera sees.
    Frame(FrameImages),
    /// What a keyframe looks like.
    Keyframe(KeyframeContent),
    /// Where keyframes stand now.
    Poses(Vec<(KeyframeId, Se3)>),
    /// Keyframes that are no longer in the map.
    Gone(Vec<KeyframeId>),
    /// A piece of the way of the frames that hang on a keyframe, by its number.
    Way { keyframe: KeyframeId, piece: usize, points_in_keyframe: Vec<[f32; 3]> },
    /// What ties keyframes together.
    Edges(Edges),
    /// The turn by which the world's z points up.
    Upright(Se3),
    /// The trajectory so far, to lay the true one over it.
    Truth(Trajectory),
    /// Something to be read.
    Note { text: String, is_warning: bool },
    /// Nothing more comes.
    End,
}

/// What was found out about a frame.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) stamp: Stamp,
    pub(super) world_from_camera: Option<Se3>,
    /// In the order of [`SERIES`](super::figures::SERIES).
    pub(super) figures: [Option<f64>; super::figures::COUNT],
}

pub(super) struct FrameImages {
    pub(super) color: Arc<RgbImage>,
    pub(super) depth: Option<Arc<DepthImage>>,
    pub(super) camera: Option<Camera>,
}

pub(super) struct KeyframeContent {
    pub(super) id: KeyframeId,
    pub(super) color: Arc<RgbImage>,
    pub(super) camera: Camera,
    pub(super) pointmap: Pointmap,
    /// Whether its image has not been shown yet.
    pub(super) is_new: bool,
}

/// Lines between keyframes' places in the world.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Edges {
    /// Between keyframes that see the same things.
    pub(super) covisibility: Vec<[[f32; 3]; 2]>,
    /// From the newest keyframe to those that it was aligned with.
    pub(super) window: Vec<[[f32; 3]; 2]>,
    /// Between keyframes that are tied together across a gap.
    pub(super) loops: Vec<[[f32; 3]; 2]>,
}

/// Something that is done every so often, by the stamps of the data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    every_secs: f64,
    last: Option<Stamp>,
}

impl Pace {
    pub(super) fn every(every_secs: f64) -> Self {
        Self { every_secs, last: None }
    }

    /// Whether it is time, or time went back.
    pub(super) fn is_due(&self, now: Stamp) -> bool {
        let since = self.last.map(|last| now.secs_since(last));
        since.is_none_or(|secs| secs >= self.every_secs || secs < 0.0)
    }

    /// Whether it has never been done.
    pub(super) fn is_due_first(&self) -> bool {
        self.last.is_none()
    }

    /// Returns whether it is time, and takes it that it is done then.
    pub(super) fn take(&mut self, now: Stamp) -> bool {
        let is_due = self.is_due(now);
        if is_due {
            self.last = Some(now);
        }
        is_due
    }
}

/// A place as the viewer takes it.
pub(super) fn place(pose: &Se3) -> [f32; 3] {
    pose.translation.vector.cast::<f32>().into()
}
