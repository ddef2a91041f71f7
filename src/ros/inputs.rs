//! What arrives: messages become whole frames, undecoded, which wait for the mapping.
//!
//! Nothing here takes long, so that a subscription is never held up. When more frames wait than
//! the queue holds, the oldest is dropped and counted: a robot wants to know where it is now.

use std::collections::VecDeque;

use super::config::{NodeConfig, OdometryInput, Transport};
use super::diagnosis::Troubles;
use super::rates::{Durations, GapMeter, RateMeter};
use super::sync::{Synchronizer, Waiting};
use crate::frame::OdometryPrior;
use crate::geometry::{Camera, Se3};
use crate::messages::camera::camera;
use crate::messages::cdr::{self, CameraInfo, Odometry, Stamped, TfMessage};
use crate::messages::decoding::{ImageFormat, ImageTopic};
use crate::messages::odometry::{OdometryBuffer, OdometrySource};
use crate::messages::tf::{NoTransform, TfBuffer};
use crate::stamp::Stamp;

/// The inputs of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Colour images.
    Image,
    /// Their calibration.
    CameraInfo,
    /// Registered depth images.
    Depth,
    /// Odometry by another source.
    Odometry,
    /// Moving transforms.
    Tf,
    /// Fixed transforms.
    TfStatic,
}

/// A whole frame, not decoded yet.
#[derive(Debug, Clone)]
pub struct FrameParts {
    /// The colour image's message.
    pub color: Waiting,
    /// The depth image's message.
    pub depth: Option<Waiting>,
    /// Calibration, `None` for a camera that is not calibrated.
    pub camera: Option<Camera>,
    /// The camera on the robot at that time.
    pub base_from_camera: Se3,
    /// The camera by other odometry.
    pub odometry: Option<OdometryPrior>,
    /// When its last part arrived, in seconds of the caller's clock.
    pub arrived_secs: f64,
    /// Counts the jumps of time before it.
    pub era: u32,
}

/// What has come and what has become of it.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Whole frames that were dropped because newer ones had come.
    pub dropped: u64,
    /// Colour images without depth, calibration or transform in time.
    pub unpaired: u64,
    /// Messages that could not be read, and images whose stamp did not go on.
    pub refused: u64,
    /// Jumps back of time.
    pub jumps: u32,
}

/// Puts frames together from messages.
pub struct Inputs {
    config: NodeConfig,
    sync: Synchronizer,
    info: Option<Result<Calibration, String>>,
    tf: TfBuffer,
    odometry: OdometrySource,
    /// Pairs that wait for a transform or odometry.
    pairs: VecDeque<(Waiting, Option<Waiting>)>,
    ready: VecDeque<FrameParts>,
    last_stamp: Option<Stamp>,
    counts: Counts,
    missing_transform: Option<String>,
    refused: Option<String>,
    camera_frame: Option<String>,
    odometry_stamp: Option<Stamp>,
    /// How often images come.
    pub image_rate: RateMeter,
    /// How often depth images come.
    pub depth_rate: RateMeter,
    /// How often calibrations come.
    pub info_rate: RateMeter,
    /// How often odometry comes.
    pub odometry_rate: RateMeter,
    /// From the stamp of images to their arrival.
    pub stamp_delay: Durations,
    /// How many images are missing between those that come.
    pub image_gaps: GapMeter,
}

#[derive(Debug, Clone)]
struct Calibration {
    message: CameraInfo,
    camera: Option<Camera>,
}

impl Inputs {
    /// Returns the inputs before the first message.
    pub fn new(config: NodeConfig) -> Self {
        let max_difference = if config.approx_sync { config.approx_sync_max_interval } else { 0.0 };
        Self {
            sync: Synchronizer::new(config.subscribe_depth, max_difference, config.sync_queue_size),
            odometry: odometry_source(&config),
            config,
            info: None,
            tf: TfBuffer::default(),
            pairs: VecDeque::new(),
            ready: VecDeque::new(),
            last_stamp: None,
            counts: Counts::default(),
            missing_transform: None,
            refused: None,
            camera_frame: None,
            odometry_stamp: None,
            image_rate: RateMeter::default(),
            depth_rate: RateMeter::default(),
            info_rate: RateMeter::default(),
            odometry_rate: RateMeter::default(),
            stamp_delay: Durations::default(),
            image_gaps: GapMeter::default(),
        }
    }

    /// Takes over settings that may change while the node runs.
    pub fn reconfigure(&mut self, config: &NodeConfig) {
        self.config = config.clone();
    }

    /// Takes in a message: the bytes as the subscription delivered them, and when, in seconds of
    /// the caller's clock and by the clock that stamps are of.
    pub fn receive(&mut self, input: Input, data: Vec<u8>, now_secs: f64, ros_now: Stamp) {
        let outcome = match input {
            Input::Image => self.receive_image(data, now_secs, ros_now),
            Input::Depth => self.receive_depth(data, now_secs),
            Input::CameraInfo => self.receive_info(&data, now_secs),
            Input::Odometry => self.receive_odometry(&data, now_secs),
            Input::Tf => self.receive_transforms(&data),
            Input::TfStatic => cdr::decode(&data).map(|message| self.tf.insert(message, true)),
        };
        if let Err(reason) = outcome {
            self.refuse(reason);
        }
        self.poll(now_secs);
    }

    /// Moves frames on whose transforms are there by now, or have not come in time.
    pub fn poll(&mut self, now_secs: f64) {
        while let Some(pair) = self.next_pair() {
            self.pairs.push_back(pair);
        }
        while let Some((color, depth)) = self.pairs.front() {
            let arrived_secs = depth
                .as_ref()
                .map_or(color.arrived_secs, |depth| depth.arrived_secs.max(color.arrived_secs));
            let is_late = now_secs - arrived_secs >= self.config.wait_for_transform;
            let Some(outcome) = self.place(color, is_late) else { return };
            let Some((color, depth)) = self.pairs.pop_front() else { return };
            match outcome {
                Ok(place) => self.enqueue(color, depth, place, arrived_secs),
                Err(reason) => {
                    self.counts.unpaired += 1;
                    self.missing_transform = Some(reason);
                }
            }
        }
    }

    /// Returns the oldest whole frame.
    pub fn take(&mut self) -> Option<FrameParts> {
        self.ready.pop_front()
    }

    /// Leaves out all that waits, as when mapping is paused.
    pub fn discard(&mut self) {
        self.ready.clear();
        self.pairs.clear();
        self.sync.clear();
    }

    /// Takes note that an image could not be made a frame of.
    pub fn refuse(&mut self, reason: String) {
        self.counts.refused += 1;
        self.refused = Some(reason);
    }

    /// Returns what has come and what has become of it.
    pub fn counts(&self) -> Counts {
        Counts { unpaired: self.counts.unpaired + self.sync.unpaired(), ..self.counts.clone() }
    }

    /// Returns the frame of the images, once one has come.
    pub fn camera_frame(&self) -> Option<&str> {
        self.camera_frame.as_deref()
    }

    /// Returns the time of the newest odometry by another source.
    pub fn odometry_stamp(&self) -> Option<Stamp> {
        self.odometry_stamp
    }

    /// Returns what went wrong with the messages that came.
    pub fn troubles(&self) -> Troubles {
        let limit =
            if self.config.approx_sync { self.config.approx_sync_max_interval } else { 0.0 };
        Troubles {
            stamp_difference_secs: self
                .sync
                .stamp_difference_secs()
                .filter(|difference| difference.abs() > limit && self.sync.unpaired() > 0),
            max_difference_secs: limit,
            missing_transform: self.missing_transform.clone(),
            calibration: self.calibration_trouble(),
            refused: self.refused.clone(),
        }
    }

    fn calibration_trouble(&self) -> Option<String> {
        match &self.info {
            Some(Ok(Calibration { camera: None, .. })) => Some(
                "camera_info: K[0] is 0, so the camera is not calibrated: calibrate it, or choose \
                 a model that needs no calibration"
                    .to_owned(),
            ),
            Some(Err(reason)) => Some(format!("camera_info: {reason}")),
            _ => None,
        }
    }

    fn receive_image(
        &mut self,
        data: Vec<u8>,
        now_secs: f64,
        ros_now: Stamp,
    ) -> Result<(), String> {
        self.image_rate.tick(now_secs);
        let color = waiting(data, now_secs)?;
        self.stamp_delay.push(ros_now.secs_since(color.stamp));
        self.image_gaps.push(color.stamp);
        if let Some(last) = self.last_stamp.filter(|&last| color.stamp <= last) {
            if last.secs_since(color.stamp) < self.config.time_jump {
                return Err(format!("image: its stamp {} is not after {last}", color.stamp));
            }
            self.begin_era(color.stamp);
        }
        self.last_stamp = Some(color.stamp);
        self.camera_frame = Some(color.frame_id.clone());
        self.sync.push_color(color);
        Ok(())
    }

    /// Time went back: what waits belongs to the past, or to the future.
    fn begin_era(&mut self, stamp: Stamp) {
        self.counts.jumps += 1;
        self.ready.clear();
        self.pairs.clear();
        self.sync.begin_at(stamp);
        self.odometry = odometry_source(&self.config);
        self.odometry_stamp = None;
    }

    fn receive_depth(&mut self, data: Vec<u8>, now_secs: f64) -> Result<(), String> {
        self.depth_rate.tick(now_secs);
        self.sync.push_depth(waiting(data, now_secs)?);
        Ok(())
    }

    fn receive_info(&mut self, data: &[u8], now_secs: f64) -> Result<(), String> {
        self.info_rate.tick(now_secs);
        let mut message: CameraInfo = cdr::decode(data)?;
        if let Some(Ok(known)) = &self.info {
            // Only the stamp differs from message to message.
            message.header = known.message.header.clone();
            if message == known.message {
                return Ok(());
            }
        }
        let camera = camera(&message, self.config.image_rectified);
        self.info = Some(camera.map(|camera| Calibration { message, camera }));
        Ok(())
    }

    fn receive_odometry(&mut self, data: &[u8], now_secs: f64) -> Result<(), String> {
        self.odometry_rate.tick(now_secs);
        let message: Odometry = cdr::decode(data)?;
        if let OdometrySource::Topic(buffer) = &mut self.odometry {
            buffer.insert(&message);
            let stamp = message.header.stamp.into();
            self.odometry_stamp = self.odometry_stamp.max(Some(stamp));
        }
        Ok(())
    }

    fn receive_transforms(&mut self, data: &[u8]) -> Result<(), String> {
        let message: TfMessage = cdr::decode(data)?;
        if self.config.odometry == OdometryInput::Tf {
            let moved = message.transforms.iter().map(|transform| &transform.header);
            let odometry = moved
                .filter(|header| header.frame_id.trim_start_matches('/') == self.config.odom_frame);
            let newest = odometry.map(|header| header.stamp.into()).max();
            self.odometry_stamp = self.odometry_stamp.max(newest);
        }
        self.tf.insert(message, false);
        Ok(())
    }

    /// The next pair of images; none before the calibration is there.
    fn next_pair(&mut self) -> Option<(Waiting, Option<Waiting>)> {
        match &self.info {
            Some(Ok(_)) => self.sync.take(),
            _ => None,
        }
    }

    /// Where the camera is on the robot, and by odometry; `None` while that may still come.
    fn place(&self, color: &Waiting, is_late: bool) -> Option<Result<Place, String>> {
        let (base, camera) = (self.config.base_frame.as_str(), color.frame_id.as_str());
        let base_from_camera = match self.tf.lookup(base, camera, color.stamp) {
            Ok(base_from_camera) => base_from_camera,
            Err(_) if !is_late => return None,
            Err(NoTransform::Unknown(reason)) => return Some(Err(reason)),
            Err(NoTransform::NotYet) => {
                let at = color.stamp;
                return Some(Err(format!("'{camera}' in '{base}' has not come for time {at}")));
            }
        };
        match self.odometry.prior(&self.tf, camera, color.stamp) {
            Ok(Some(odometry)) => Some(Ok(Place { base_from_camera, odometry: Some(odometry) })),
            Err(_) | Ok(None) if is_late || matches!(self.odometry, OdometrySource::None) => {
                Some(Ok(Place { base_from_camera, odometry: None }))
            }
            _ => None,
        }
    }

    fn enqueue(&mut self, color: Waiting, depth: Option<Waiting>, place: Place, arrived_secs: f64) {
        self.missing_transform = None;
        if self.ready.len() >= self.config.frame_queue_size {
            self.ready.pop_front();
            self.counts.dropped += 1;
        }
        let camera = match &self.info {
            Some(Ok(calibration)) => calibration.camera,
            _ => None,
        };
        self.ready.push_back(FrameParts {
            color,
            depth,
            camera,
            base_from_camera: place.base_from_camera,
            odometry: place.odometry,
            arrived_secs,
            era: self.counts.jumps,
        });
    }
}

struct Place {
    base_from_camera: Se3,
    odometry: Option<OdometryPrior>,
}

/// Returns how the images of a topic are to be read.
pub fn image_topic(name: &str, transport: Transport, is_depth: bool) -> ImageTopic {
    let format = match transport {
        Transport::Raw => ImageFormat::Raw,
        Transport::Compressed => ImageFormat::File,
        Transport::CompressedDepth => ImageFormat::CompressedDepth,
    };
    ImageTopic { name: name.to_owned(), format, is_depth, frame_id: None }
}

fn odometry_source(config: &NodeConfig) -> OdometrySource {
    match config.odometry {
        OdometryInput::None => OdometrySource::None,
        OdometryInput::Topic => OdometrySource::Topic(OdometryBuffer::default()),
        OdometryInput::Tf => OdometrySource::Tf(config.odom_frame.clone()),
    }
}

fn waiting(data: Vec<u8>, arrived_secs: f64) -> Result<Waiting, String> {
    let header = cdr::decode::<Stamped>(&data)?.header;
    Ok(Waiting { stamp: header.stamp.into(), frame_id: header.frame_id, data, arrived_secs })
}

#[cfg(test)]
mod tests;
