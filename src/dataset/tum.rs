//! Recordings in the layout of the TUM RGB-D benchmark.

use std::path::Path;

use super::associate::associate;
use super::calibration::{Calibration, read_calibration};
use super::files::{FileSource, FrameFiles};
use super::info::{RecordingInfo, StreamInfo, UsedInput};
use super::options::OpenOptions;
use super::recording_name;
use super::text::{ListedImage, read_list, read_trajectory};
use crate::error::{Error, Result};
use crate::source::SourceInfo;
use crate::stamp::Stamp;
use crate::trajectory::Trajectory;

const CALIBRATION_REMEDY: &str = "write it with the keys fx, fy, cx, cy, width, height and \
                                  depth_scale (units per metre), or give --calibration FILE";

/// The lists and small files of a recording.
struct Tum {
    colors: Vec<ListedImage>,
    depths: Vec<ListedImage>,
    frames: Vec<FrameFiles>,
    reference: Option<Trajectory>,
}

pub(super) fn open(path: &Path, options: &OpenOptions) -> Result<FileSource> {
    let tum = read(path, options)?;
    let calibration = calibration(path, options, !tum.depths.is_empty())?;
    let info = SourceInfo {
        name: recording_name(path),
        frame_count: None,
        has_depth: !tum.depths.is_empty(),
        reference: tum.reference,
    };
    FileSource::new(info, calibration, tum.frames, &options.selection)
}

pub(super) fn describe(path: &Path, options: &OpenOptions) -> Result<RecordingInfo> {
    let tum = read(path, options)?;
    let mut info = RecordingInfo::new(path, "TUM RGB-D folder");
    let stamps = |list: &[ListedImage]| list.iter().map(|i| i.stamp).collect::<Vec<_>>();
    info.streams.push(StreamInfo::new("rgb.txt", "colour images", &stamps(&tum.colors)));
    if !tum.depths.is_empty() {
        info.streams.push(StreamInfo::new("depth.txt", "depth images", &stamps(&tum.depths)));
    }
    if let Some(reference) = &tum.reference {
        let stamps: Vec<Stamp> = reference.poses().iter().map(|p| p.stamp).collect();
        info.streams.push(StreamInfo::new("groundtruth.txt", "reference trajectory", &stamps));
    }
    describe_use(&tum, options, &mut info);
    match calibration(path, options, !tum.depths.is_empty()) {
        Ok(calibration) => info.set_calibration(calibration, calibration_file(path, options)),
        Err(error) => info.notes.push(error.to_string()),
    }
    info.finish();
    Ok(info)
}

fn describe_use(tum: &Tum, options: &OpenOptions, info: &mut RecordingInfo) {
    let paired = tum.frames.iter().filter(|frame| frame.depth.is_some()).count();
    info.used.push(UsedInput::new("colour", "rgb.txt", "the recording's list"));
    if !tum.depths.is_empty() {
        let why = format!(
            "{paired} of {} colour images have a depth image within {} s",
            tum.colors.len(),
            options.max_stamp_difference_secs
        );
        info.used.push(UsedInput::new("depth", "depth.txt", why));
    }
    if tum.reference.is_some() {
        info.used.push(UsedInput::new("reference", "groundtruth.txt", "the recording's own"));
    }
    let files = tum.colors.iter().chain(&tum.depths);
    let missing: Vec<_> = files.filter(|image| !image.path.exists()).collect();
    if let Some(first) = missing.first() {
        let count = missing.len();
        info.notes
            .push(format!("{count} listed files are missing, first {}", first.path.display()));
    }
}

fn read(path: &Path, options: &OpenOptions) -> Result<Tum> {
    let colors = read_list(&path.join("rgb.txt"))?;
    if colors.is_empty() {
        let remedy = "record at least one colour image";
        return Err(Error::input(&path.join("rgb.txt"), "it lists no image", remedy));
    }
    let depths = read_if_there(&path.join("depth.txt"), read_list)?.unwrap_or_default();
    let reference = read_if_there(&path.join("groundtruth.txt"), read_trajectory)?;
    let frames = frames(&colors, &depths, options.max_stamp_difference_secs);
    Ok(Tum { colors, depths, frames, reference })
}

fn read_if_there<T>(path: &Path, read: impl Fn(&Path) -> Result<T>) -> Result<Option<T>> {
    if path.exists() { read(path).map(Some) } else { Ok(None) }
}

fn frames(
    colors: &[ListedImage],
    depths: &[ListedImage],
    max_difference_secs: f64,
) -> Vec<FrameFiles> {
    let stamps = |list: &[ListedImage]| list.iter().map(|i| i.stamp).collect::<Vec<_>>();
    let partners = associate(&stamps(colors), &stamps(depths), max_difference_secs);
    colors
        .iter()
        .zip(partners)
        .map(|(color, depth)| FrameFiles {
            stamp: color.stamp,
            color: color.path.clone(),
            depth: depth.map(|index| depths[index].path.clone()),
        })
        .collect()
}

/// Returns the calibration that goes with a folder: the option's, else its `calibration.yaml`.
///
/// # Errors
/// Where there is depth and nothing says how to read it.
pub(super) fn calibration(
    path: &Path,
    options: &OpenOptions,
    has_depth: bool,
) -> Result<Option<Calibration>> {
    let file = calibration_file(path, options);
    if options.calibration.is_none() && !file.exists() {
        let problem = "there is depth, but no calibration";
        let missing = || Error::input(&file, problem, CALIBRATION_REMEDY);
        return if has_depth { Err(missing()) } else { Ok(None) };
    }
    let calibration = read_calibration(&file)?;
    if has_depth && calibration.depth_scale.is_none() {
        let problem = "there is depth, but no depth_scale";
        return Err(Error::input(&file, problem, "add depth_scale: units per metre, e.g. 1000"));
    }
    Ok(Some(calibration))
}

pub(super) fn calibration_file(path: &Path, options: &OpenOptions) -> std::path::PathBuf {
    options.calibration.clone().unwrap_or_else(|| path.join("calibration.yaml"))
}
