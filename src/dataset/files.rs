//! Frames whose images lie in files of their own: TUM layout and image folders.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;

use super::calibration::Calibration;
use super::options::{Selection, Selector, Verdict, not_later_reason};
use crate::decode::{self, color_from_file, depth_from_png, size_of_file};
use crate::error::{Error, Result};
use crate::frame::{DepthImage, Frame};
use crate::source::{FrameSource, Skip, SourceInfo, SourceItem};
use crate::stamp::Stamp;

/// The files of one frame.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FrameFiles {
    pub stamp: Stamp,
    pub color: PathBuf,
    pub depth: Option<PathBuf>,
}

enum Planned {
    Frame(FrameFiles),
    Skip(Skip),
}

/// Delivers frames from files, each read when its turn comes.
pub(super) struct FileSource {
    info: SourceInfo,
    calibration: Option<Calibration>,
    plan: std::vec::IntoIter<Planned>,
    /// A frame that waits behind the report that its depth could not be read.
    waiting: Option<Box<Frame>>,
}

impl FileSource {
    /// Returns a source of the selected frames.
    ///
    /// # Errors
    /// [`Error::Usage`] where the selection leaves none.
    pub fn new(
        mut info: SourceInfo,
        calibration: Option<Calibration>,
        frames: Vec<FrameFiles>,
        selection: &Selection,
    ) -> Result<Self> {
        let count = frames.len();
        let plan = plan(frames, selection);
        let selected = plan.iter().filter(|item| matches!(item, Planned::Frame(_))).count();
        if selected == 0 {
            return Err(Error::Usage(format!(
                "{}: of {count} frames the selection leaves none: choose an earlier --start",
                info.name
            )));
        }
        info.frame_count = Some(selected);
        Ok(Self { info, calibration, plan: plan.into_iter(), waiting: None })
    }

    fn load(&mut self, files: FrameFiles) -> SourceItem {
        let skipped =
            |reason: String| SourceItem::Skipped(Skip { stamp: Some(files.stamp), reason });
        let color = match self.load_color(&files.color) {
            Ok(color) => color,
            Err(reason) => return skipped(reason),
        };
        match self.load_depth(&files, &color) {
            Ok(depth) => SourceItem::Frame(self.frame(files.stamp, color, depth)),
            Err(DepthProblem::OtherSize(reason)) => skipped(reason),
            Err(DepthProblem::Unreadable(reason)) => {
                self.waiting = Some(self.frame(files.stamp, color, None));
                skipped(format!("{reason}; the frame goes on without depth"))
            }
        }
    }

    fn frame(&self, stamp: Stamp, color: RgbImage, depth: Option<DepthImage>) -> Box<Frame> {
        Box::new(Frame {
            id: 0,
            stamp,
            color: Arc::new(color),
            depth: depth.map(Arc::new),
            camera: self.calibration.map(|calibration| calibration.camera),
            odometry: None,
        })
    }

    fn load_color(&self, path: &Path) -> Result<RgbImage, String> {
        let bytes = read(path)?;
        if let Some(Calibration { camera, .. }) = &self.calibration {
            let (width, height) = size_of_file(&bytes).map_err(about(path))?;
            if (width, height) != (camera.width(), camera.height()) {
                return Err(format!(
                    "{}: the image has {width}x{height} pixels, the calibration {}x{}",
                    path.display(),
                    camera.width(),
                    camera.height()
                ));
            }
        }
        color_from_file(&bytes).map_err(about(path))
    }

    fn load_depth(
        &self,
        files: &FrameFiles,
        color: &RgbImage,
    ) -> Result<Option<DepthImage>, DepthProblem> {
        let scale = self.calibration.and_then(|calibration| calibration.metres_per_unit());
        let (Some(path), Some(metres_per_unit)) = (&files.depth, scale) else {
            return Ok(None);
        };
        let bytes = read(path).map_err(DepthProblem::Unreadable)?;
        let unreadable = |error| DepthProblem::Unreadable(about(path)(error));
        let (width, height) = size_of_file(&bytes).map_err(unreadable)?;
        if (width, height) != color.dimensions() {
            return Err(DepthProblem::OtherSize(format!(
                "{}: the depth image has {width}x{height} pixels, its colour image {}x{}",
                path.display(),
                color.width(),
                color.height()
            )));
        }
        depth_from_png(&bytes, metres_per_unit).map(Some).map_err(unreadable)
    }
}

impl FrameSource for FileSource {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn next_item(&mut self) -> Result<Option<SourceItem>> {
        if let Some(frame) = self.waiting.take() {
            return Ok(Some(SourceItem::Frame(frame)));
        }
        Ok(self.plan.next().map(|planned| match planned {
            Planned::Frame(files) => self.load(files),
            Planned::Skip(skip) => SourceItem::Skipped(skip),
        }))
    }
}

/// Why a frame has no depth: an image of another size spoils the frame, since it says that colour
/// and depth do not belong together; one that cannot be read is only missing.
enum DepthProblem {
    OtherSize(String),
    Unreadable(String),
}

fn plan(frames: Vec<FrameFiles>, selection: &Selection) -> Vec<Planned> {
    let mut selector = Selector::new(selection.clone());
    let mut plan = Vec::new();
    for files in frames {
        match selector.judge(files.stamp) {
            Verdict::Take => plan.push(Planned::Frame(files)),
            Verdict::Leave => {}
            Verdict::NotLater(last) => {
                let what = files.color.display().to_string();
                let reason = not_later_reason(&what, files.stamp, last);
                plan.push(Planned::Skip(Skip { stamp: Some(files.stamp), reason }));
            }
            Verdict::Done => break,
        }
    }
    plan
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: cannot read it: {error}", path.display()))
}

fn about(path: &Path) -> impl Fn(decode::DecodeError) -> String {
    move |error| format!("{}: {error}", path.display())
}
