//! Recordings as frame sources: TUM RGB-D folders, image folders and rosbag2.
//!
//! Opening lists what is there; images are decoded one by one as frames are asked for.

mod associate;
mod bag;
mod calibration;
mod files;
mod images;
mod info;
mod kind;
mod numbered;
mod options;
mod repeat;
mod text;
mod tum;

use std::path::Path;

pub use calibration::{Calibration, read_calibration};
pub use info::{Gap, RecordingInfo, StreamInfo, UsedInput};
pub use options::{OpenOptions, Selection, TopicNames};
pub use text::read_trajectory;

use crate::error::{Error, Result};
use crate::source::FrameSource;
use kind::Kind;

/// Returns the frames of a recording: a folder in TUM RGB-D layout, a folder of images, or a
/// rosbag2 (folder, `.mcap` or `.db3`).
///
/// # Errors
/// [`Error::Usage`] where an option does not fit the recording or is
/// needed to choose; the other kinds, with file and place, where the recording cannot be used.
pub fn open(path: &Path, options: &OpenOptions) -> Result<Box<dyn FrameSource>> {
    options.check()?;
    let source: Box<dyn FrameSource> = match kind::detect(path)? {
        Kind::Tum => Box::new(tum::open(path, options)?),
        Kind::Images(images) => Box::new(images::open(path, images, options)?),
        Kind::Bag(at) => Box::new(bag::open(path, at, options)?),
    };
    Ok(Box::new(numbered::Numbered::new(source, path.to_owned())))
}

/// Returns the recording played `rounds` times in a row, with stamps and numbers that go on; the
/// reference, if there is one, covers the first round.
///
/// # Errors
/// As [`open`], and [`Error::Usage`] for no round at all.
pub fn open_repeated(
    path: &Path,
    options: &OpenOptions,
    rounds: usize,
) -> Result<Box<dyn FrameSource>> {
    match rounds {
        0 => Err(Error::Usage("--repeat must be at least 1".to_owned())),
        1 => open(path, options),
        _ => {
            let (path, options) = (path.to_owned(), options.clone());
            Ok(Box::new(repeat::Repeated::new(Box::new(move || open(&path, &options)), rounds)?))
        }
    }
}

/// Returns what is in a recording, and what [`open`] would use of it.
///
/// # Errors
/// As [`open`], but what only stands in the way of using it is a note.
pub fn describe(path: &Path, options: &OpenOptions) -> Result<RecordingInfo> {
    options.check()?;
    match kind::detect(path)? {
        Kind::Tum => tum::describe(path, options),
        Kind::Images(images) => images::describe(path, images, options),
        Kind::Bag(at) => bag::describe(path, at, options),
    }
}

/// Returns the name of a recording: its folder's, or its file's without extension.
fn recording_name(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
    name.unwrap_or_default().to_string_lossy().into_owned()
}
