//! Folders of colour images.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::files::{FileSource, FrameFiles};
use super::info::{RecordingInfo, StreamInfo, UsedInput};
use super::options::OpenOptions;
use super::recording_name;
use super::tum::{calibration, calibration_file};
use crate::error::Result;
use crate::source::SourceInfo;
use crate::stamp::Stamp;

pub(super) fn open(path: &Path, images: Vec<PathBuf>, options: &OpenOptions) -> Result<FileSource> {
    let calibration = calibration(path, options, false)?;
    let info = SourceInfo { name: recording_name(path), ..SourceInfo::default() };
    let (frames, _) = stamped(images, options.rate_hz);
    FileSource::new(info, calibration, frames, &options.selection)
}

pub(super) fn describe(
    path: &Path,
    images: Vec<PathBuf>,
    options: &OpenOptions,
) -> Result<RecordingInfo> {
    let mut info = RecordingInfo::new(path, "image folder");
    let (frames, named_by_time) = stamped(images, options.rate_hz);
    let stamps: Vec<Stamp> = frames.iter().map(|frame| frame.stamp).collect();
    info.streams.push(StreamInfo::new("*.png, *.jpg", "colour images", &stamps));
    let why = if named_by_time {
        "times from the file names".to_owned()
    } else {
        format!("in order of the file names, at {} images per second", options.rate_hz)
    };
    info.used.push(UsedInput::new("colour", "*.png, *.jpg", why));
    match calibration(path, options, false) {
        Ok(calibration) => info.set_calibration(calibration, calibration_file(path, options)),
        Err(error) => info.notes.push(error.to_string()),
    }
    info.finish();
    Ok(info)
}

/// Returns the images in order of time, and whether the times are from their names.
fn stamped(images: Vec<PathBuf>, rate_hz: f64) -> (Vec<FrameFiles>, bool) {
    let files = |stamp, color| FrameFiles { stamp, color, depth: None };
    let by_name: Option<Vec<Stamp>> = images.iter().map(|image| stamp_of_name(image)).collect();
    if let Some(stamps) = by_name {
        let mut frames: Vec<_> = stamps.into_iter().zip(images).collect();
        frames.sort_by_key(|(stamp, _)| *stamp);
        return (frames.into_iter().map(|(stamp, color)| files(stamp, color)).collect(), true);
    }
    let stamp = |index: usize| Stamp::from_secs(index as f64 / rate_hz);
    let frames = images.into_iter().enumerate().map(|(index, color)| files(stamp(index), color));
    (frames.collect(), false)
}

/// Returns the time in a file's name: seconds if there is a decimal point, else nano-, micro- or
/// milliseconds since 1970 by the number of digits. A plain counter is no time.
fn stamp_of_name(image: &Path) -> Option<Stamp> {
    let name = image.file_stem()?.to_str()?;
    if name.contains('.') {
        return Stamp::from_str(name).ok();
    }
    let value: i64 = name.parse().ok().filter(|&value| value > 0)?;
    let unit_nanos = match name.len() {
        18 | 19 => 1,
        16 => 1_000,
        13 => 1_000_000,
        _ => return None,
    };
    value.checked_mul(unit_nanos).map(Stamp::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamps(names: &[&str]) -> (Vec<String>, bool) {
        let (frames, by_name) = stamped(names.iter().map(PathBuf::from).collect(), 10.0);
        (frames.iter().map(|frame| frame.stamp.to_string()).collect(), by_name)
    }

    #[test]
    fn names_that_look_like_times_are_times() {
        let cases = [
            (["1.5.png", "1.25.png"], ["1.250000", "1.500000"]),
            (
                ["1403636579763555584.png", "1403636579813555456.png"],
                ["1403636579.763555584", "1403636579.813555456"],
            ),
            (
                ["1403636579763555.jpg", "1403636579813555.jpg"],
                ["1403636579.763555", "1403636579.813555"],
            ),
            (
                ["1403636579763.jpg", "1403636579813.jpg"],
                ["1403636579.763000", "1403636579.813000"],
            ),
        ];
        for (names, expected) in cases {
            assert_eq!(stamps(&names), (expected.map(String::from).to_vec(), true));
        }
    }

    #[test]
    fn other_names_are_counted_at_the_given_rate() {
        for names in [["000000.png", "000001.png"], ["a.png", "b.png"], ["1.5.png", "x.png"]] {
            assert_eq!(stamps(&names), (vec!["0.000000".into(), "0.100000".into()], false));
        }
    }
}
