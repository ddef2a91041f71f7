//! rosbag2: folders, MCAP files and SQLite files.
//!
//! A bag is read twice: a short first look finds topics, encodings, calibration and fixed
//! transforms; the second reading streams, holding only the images that wait for their partner.

mod choose;
mod mcap_file;
mod mcap_records;
mod source;
mod sqlite_file;
mod storage;
mod survey;

use std::collections::VecDeque;
use std::path::Path;

use super::calibration::{Calibration, read_calibration};
use super::info::{RecordingInfo, StreamInfo};
use super::kind::BagAt;
use super::options::{OpenOptions, Selector};
use super::recording_name;
use crate::error::{Error, Result};
use crate::messages::camera;
use crate::messages::odometry::{OdometryBuffer, OdometrySource};
use crate::messages::pairing::Pairing;
use crate::source::{Skip, SourceInfo, SourceItem};
use choose::{Chosen, choose};
use source::{BagSource, CameraState, Role, State};
use storage::Bag;
use survey::Survey;

/// REP 118: depth of 16 bits is in millimetres.
const METRES_PER_UNIT: f64 = 0.001;

const NO_CALIBRATION_REMEDY: &str = "record the camera_info beside the images, name it with \
                                     --camera-info-topic, or give --calibration FILE";

pub(super) fn open(path: &Path, at: BagAt, options: &OpenOptions) -> Result<BagSource> {
    let bag = Bag::open(path, at)?;
    let survey = Survey::of(&bag);
    let chosen = choose(&bag, &survey, &options.topics)?;
    let calibration = options.calibration.as_deref().map(read_calibration).transpose()?;
    let camera = camera_state(&bag, &survey, &chosen, calibration)?;
    let odometry = odometry_source(&survey, &chosen, options);
    let (names, roles) = topics_to_read(&chosen, &odometry);
    let info = SourceInfo {
        name: recording_name(path),
        frame_count: frame_count(&bag, &chosen, options),
        has_depth: chosen.depth.is_some(),
        reference: None,
    };
    let damaged = bag.damaged.iter().cloned();
    Ok(BagSource {
        info,
        messages: bag.messages(names),
        roles,
        selector: Selector::new(options.selection.clone()),
        pairing: Pairing::new(chosen.depth.is_some(), options.max_stamp_difference_secs),
        camera,
        metres_per_unit: calibration.and_then(|c| c.metres_per_unit()).unwrap_or(METRES_PER_UNIT),
        tf: survey.tf,
        odometry,
        outbox: damaged
            .map(|reason| SourceItem::Skipped(Skip { stamp: None, reason }))
            .collect::<VecDeque<_>>(),
        state: State::Open,
        told_no_transform: false,
        chosen,
    })
}

pub(super) fn describe(path: &Path, at: BagAt, options: &OpenOptions) -> Result<RecordingInfo> {
    let bag = Bag::open(path, at)?;
    let survey = Survey::of(&bag);
    let mut info = RecordingInfo::new(path, "rosbag2");
    let times = bag.times();
    for topic in &bag.topics {
        let stamps = times.by_topic.get(&topic.name).map_or(&[][..], Vec::as_slice);
        info.streams.push(StreamInfo::new(&topic.name, &topic.type_name, stamps));
    }
    info.notes.extend(bag.damaged.iter().cloned().chain(times.damage));
    if let Err(error) = describe_use(&bag, &survey, options, &mut info) {
        info.notes.push(error.to_string());
    }
    info.finish();
    Ok(info)
}

fn describe_use(
    bag: &Bag,
    survey: &Survey,
    options: &OpenOptions,
    info: &mut RecordingInfo,
) -> Result<()> {
    let chosen = choose(bag, survey, &options.topics)?;
    info.used = chosen.used(&options.topics);
    if let OdometrySource::Tf(frame) = odometry_source(survey, &chosen, options) {
        info.notes.push(format!("odometry is looked up in /tf, in frame '{frame}'"));
    }
    let calibration = options.calibration.as_deref().map(read_calibration).transpose()?;
    if let (Some(_), Some(file)) = (calibration, &options.calibration) {
        info.used.retain(|used| used.role != "calibration");
        info.set_calibration(calibration, file.clone());
        return Ok(());
    }
    let (CameraState::Fixed(camera) | CameraState::Following { camera, .. }) =
        camera_state(bag, survey, &chosen, None)?;
    info.camera = camera;
    if camera.is_none() {
        info.notes.push("the camera is not calibrated".to_owned());
    }
    Ok(())
}

/// Returns the calibration to begin with.
///
/// # Errors
/// [`Error::Input`] where there is depth without one.
fn camera_state(
    bag: &Bag,
    survey: &Survey,
    chosen: &Chosen,
    calibration: Option<Calibration>,
) -> Result<CameraState> {
    if let Some(calibration) = calibration {
        return Ok(CameraState::Fixed(Some(calibration.camera)));
    }
    let latest = chosen.camera_info.as_ref().and_then(|name| survey.infos.get(name));
    let is_rectified = chosen.image.name.contains("rect");
    let camera = match latest {
        Some(info) => camera::camera(info, is_rectified).map_err(|problem| {
            let problem = format!("{}: {problem}", chosen.camera_info.as_deref().unwrap_or(""));
            Error::input(&bag.path, problem, NO_CALIBRATION_REMEDY)
        })?,
        None => None,
    };
    if let (None, Some(depth)) = (camera, &chosen.depth) {
        let problem =
            format!("there is depth ({}), but no calibration of {}", depth.name, chosen.image.name);
        return Err(Error::input(&bag.path, problem, NO_CALIBRATION_REMEDY));
    }
    Ok(match latest {
        Some(latest) => {
            CameraState::Following { latest: Box::new(latest.clone()), camera, is_rectified }
        }
        None => CameraState::Fixed(None),
    })
}

fn odometry_source(survey: &Survey, chosen: &Chosen, options: &OpenOptions) -> OdometrySource {
    if chosen.odometry.is_some() {
        return OdometrySource::Topic(OdometryBuffer::default());
    }
    let wanted = options.topics.odom.as_deref() != Some("none");
    let frame = options.topics.odom_frame.clone().unwrap_or_else(|| "odom".to_owned());
    if wanted && survey.has_tf { OdometrySource::Tf(frame) } else { OdometrySource::None }
}

fn topics_to_read(chosen: &Chosen, odometry: &OdometrySource) -> (Vec<String>, Vec<Role>) {
    let with_tf = !matches!(odometry, OdometrySource::None);
    let tf = |name: &str| with_tf.then(|| name.to_owned());
    let topics = [
        (Some(chosen.image.name.clone()), Role::Color),
        (chosen.depth.as_ref().map(|depth| depth.name.clone()), Role::Depth),
        (chosen.camera_info.clone(), Role::CameraInfo),
        (chosen.odometry.clone(), Role::Odometry),
        (tf("/tf"), Role::Tf),
        (tf("/tf_static"), Role::TfStatic),
    ];
    topics.into_iter().filter_map(|(name, role)| Some((name?, role))).unzip()
}

/// Returns how many frames will come, where no time decides on it.
fn frame_count(bag: &Bag, chosen: &Chosen, options: &OpenOptions) -> Option<usize> {
    let selection = &options.selection;
    if selection.start_secs > 0.0 || selection.duration_secs.is_some() {
        return None;
    }
    let images = bag.topic(&chosen.image.name)?.count? as usize;
    let count = images.div_ceil(selection.every);
    Some(selection.max_frames.map_or(count, |most| count.min(most)))
}
