//! Frames from a bag, read in one pass.

use std::collections::VecDeque;
use std::sync::Arc;

use image::RgbImage;

use super::choose::Chosen;
use super::storage::{Message, Messages, StorageItem};
use crate::dataset::options::{Selector, Verdict, not_later_reason};
use crate::error::Result;
use crate::frame::{DepthImage, Frame, OdometryPrior};
use crate::geometry::Camera;
use crate::messages::cdr::{self, CameraInfo};
use crate::messages::decoding;
use crate::messages::odometry::OdometrySource;
use crate::messages::pairing::{Pairing, Waiting};
use crate::messages::tf::{NoTransform, TfBuffer};
use crate::source::{FrameSource, Skip, SourceInfo, SourceItem};
use crate::stamp::Stamp;

/// What a message of a topic that is read is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Color,
    Depth,
    CameraInfo,
    Odometry,
    Tf,
    TfStatic,
}

/// The calibration in force.
pub enum CameraState {
    /// From a file, for the whole recording.
    Fixed(Option<Camera>),
    /// From the latest message; rectified images have no distortion.
    Following { latest: Box<CameraInfo>, camera: Option<Camera>, is_rectified: bool },
}

/// Delivers the frames of a bag.
pub struct BagSource {
    pub info: SourceInfo,
    pub chosen: Chosen,
    pub messages: Messages,
    /// The role of each topic that is read.
    pub roles: Vec<Role>,
    pub selector: Selector,
    pub pairing: Pairing,
    pub camera: CameraState,
    pub metres_per_unit: f64,
    pub tf: TfBuffer,
    pub odometry: OdometrySource,
    pub outbox: VecDeque<SourceItem>,
    pub state: State,
    /// Whether it was said that odometry is not used for lack of a transform.
    pub told_no_transform: bool,
}

/// After so many messages nothing more is expected for images that wait.
const CLOSING_MESSAGES: usize = 2000;

/// How far the reading has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// More colour images are wanted.
    Open,
    /// No more colour images are wanted, but what belongs to the waiting ones, within so many
    /// messages.
    Closing(usize),
    /// Nothing more is read.
    Ended,
}

impl FrameSource for BagSource {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn next_item(&mut self) -> Result<Option<SourceItem>> {
        loop {
            if let Some(item) = self.outbox.pop_front() {
                return Ok(Some(item));
            }
            if self.is_next_ready() {
                self.deliver_next();
                continue;
            }
            if self.state == State::Ended {
                return Ok(None);
            }
            self.read_one();
        }
    }
}

impl BagSource {
    fn is_next_ready(&self) -> bool {
        if self.pairing.is_empty() {
            return false;
        }
        if self.state == State::Ended || self.pairing.is_full() {
            return true;
        }
        let odometry_ready = |color: &Waiting| {
            self.odometry.prior(&self.tf, &color.frame_id, color.stamp) != Err(NoTransform::NotYet)
        };
        self.pairing.next_certain().is_some_and(odometry_ready)
    }

    fn read_one(&mut self) {
        if let State::Closing(left) = &mut self.state {
            if *left == 0 || self.pairing.is_empty() {
                self.state = State::Ended;
                return;
            }
            *left -= 1;
        }
        match self.messages.next() {
            Some(StorageItem::Message(message)) => self.take_in(message),
            Some(StorageItem::Damage(reason)) => self.skip(None, reason),
            None => self.state = State::Ended,
        }
    }

    fn take_in(&mut self, message: Message) {
        let taken = match self.roles[message.topic] {
            Role::Color => self.take_color(message.data),
            Role::Depth => self.take_depth(message.data),
            Role::CameraInfo => self.take_camera_info(&message.data),
            Role::Odometry => cdr::decode(&message.data).map(|message| {
                if let OdometrySource::Topic(buffer) = &mut self.odometry {
                    buffer.insert(&message);
                }
            }),
            Role::Tf => cdr::decode(&message.data).map(|m| self.tf.insert(m, false)),
            Role::TfStatic => cdr::decode(&message.data).map(|m| self.tf.insert(m, true)),
        };
        if let Err(reason) = taken {
            self.skip(None, reason);
        }
    }

    fn take_color(&mut self, data: Vec<u8>) -> Result<(), String> {
        if self.state != State::Open {
            return Ok(());
        }
        let name = &self.chosen.image.name;
        let color = waiting(data).map_err(|reason| format!("{name}: {reason}"))?;
        match self.selector.judge(color.stamp) {
            Verdict::Take => self.pairing.push_color(color),
            Verdict::Leave => {}
            Verdict::NotLater(last) => {
                let reason = not_later_reason(name, color.stamp, last);
                self.skip(Some(color.stamp), reason);
            }
            Verdict::Done => {
                self.pairing.close();
                self.state = State::Closing(CLOSING_MESSAGES);
            }
        }
        Ok(())
    }

    fn take_depth(&mut self, data: Vec<u8>) -> Result<(), String> {
        let name = self.chosen.depth.as_ref().map_or("", |depth| &depth.name);
        let depth = waiting(data).map_err(|reason| format!("{name}: {reason}"))?;
        self.pairing.push_depth(depth);
        Ok(())
    }

    fn take_camera_info(&mut self, data: &[u8]) -> Result<(), String> {
        let CameraState::Following { latest, camera, is_rectified } = &mut self.camera else {
            return Ok(());
        };
        let mut info: CameraInfo = cdr::decode(data)?;
        // Only the stamp differs from message to message.
        info.header = latest.header.clone();
        if info != **latest {
            *camera = crate::messages::camera::camera(&info, *is_rectified)?;
            **latest = info;
        }
        Ok(())
    }

    fn deliver_next(&mut self) {
        let Some((color, depth)) = self.pairing.pop() else { return };
        if let Err(reason) = self.deliver(&color, depth.as_ref()) {
            self.skip(Some(color.stamp), reason);
        }
    }

    fn deliver(&mut self, waiting: &Waiting, depth: Option<&Waiting>) -> Result<(), String> {
        let color = decoding::color(&self.chosen.image, &waiting.data)?;
        let camera = self.camera_for(&color)?;
        let depth = self.decode_depth(depth, waiting.stamp, &color)?;
        let frame = Frame {
            id: 0,
            stamp: waiting.stamp,
            color: Arc::new(color),
            depth: depth.map(Arc::new),
            camera,
            odometry: self.prior(waiting),
        };
        self.outbox.push_back(SourceItem::Frame(Box::new(frame)));
        Ok(())
    }

    fn camera_for(&self, color: &RgbImage) -> Result<Option<Camera>, String> {
        let (CameraState::Fixed(camera) | CameraState::Following { camera, .. }) = &self.camera;
        match camera {
            Some(camera) if (camera.width(), camera.height()) != color.dimensions() => {
                Err(format!(
                    "{}: the image has {}x{} pixels, the calibration {}x{}",
                    self.chosen.image.name,
                    color.width(),
                    color.height(),
                    camera.width(),
                    camera.height()
                ))
            }
            _ => Ok(*camera),
        }
    }

    /// Returns the depth of a frame; where it cannot be read, that is said and there is none.
    fn decode_depth(
        &mut self,
        waiting: Option<&Waiting>,
        stamp: Stamp,
        color: &RgbImage,
    ) -> Result<Option<DepthImage>, String> {
        let (Some(topic), Some(waiting)) = (&self.chosen.depth, waiting) else {
            return Ok(None);
        };
        match decoding::depth(topic, &waiting.data, self.metres_per_unit) {
            Ok(depth) => {
                let size = (depth.raster().width() as u32, depth.raster().height() as u32);
                if size == color.dimensions() {
                    return Ok(Some(depth));
                }
                Err(format!(
                    "{}: the depth image has {}x{} pixels, its colour image {}x{}",
                    topic.name,
                    size.0,
                    size.1,
                    color.width(),
                    color.height()
                ))
            }
            Err(reason) => {
                self.skip(Some(stamp), format!("{reason}; the frame goes on without depth"));
                Ok(None)
            }
        }
    }

    fn prior(&mut self, color: &Waiting) -> Option<OdometryPrior> {
        match self.odometry.prior(&self.tf, &color.frame_id, color.stamp) {
            Ok(prior) => prior,
            Err(NoTransform::NotYet) => None,
            Err(NoTransform::Unknown(reason)) => {
                if !self.told_no_transform {
                    self.told_no_transform = true;
                    self.skip(
                        Some(color.stamp),
                        format!("odometry is left out where a transform is missing: {reason}"),
                    );
                }
                None
            }
        }
    }

    fn skip(&mut self, stamp: Option<Stamp>, reason: String) {
        self.outbox.push_back(SourceItem::Skipped(Skip { stamp, reason }));
    }
}

fn waiting(data: Vec<u8>) -> Result<Waiting, String> {
    let header = cdr::decode::<cdr::Stamped>(&data)?.header;
    Ok(Waiting { stamp: header.stamp.into(), frame_id: header.frame_id, data })
}
