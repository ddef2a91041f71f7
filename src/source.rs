//! The socket for input: whatever delivers frames in order of time.

use crate::error::Result;
use crate::frame::Frame;
use crate::stamp::Stamp;
use crate::trajectory::Trajectory;

/// What comes next from a source.
#[derive(Debug)]
pub enum SourceItem {
    /// The next frame.
    Frame(Box<Frame>),
    /// Something that should have been a frame and is not; the source goes on after it.
    Skipped(Skip),
}

/// An input that was left out, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Skip {
    /// Its stamp, where known.
    pub stamp: Option<Stamp>,
    /// One sentence that names the file and place and says what is wrong.
    pub reason: String,
}

/// What is known of a source before its first frame.
#[derive(Debug, Clone, Default)]
pub struct SourceInfo {
    /// A short name, fit for a folder: the recording's, or the simulation's.
    pub name: String,
    /// How many frames will come, where known.
    pub frame_count: Option<usize>,
    /// Whether frames come with depth, as far as can be seen before the first one.
    pub has_depth: bool,
    /// The true trajectory of the camera, where known.
    pub reference: Option<Trajectory>,
}

/// Delivers frames in order of their stamps. Implemented by the edges.
pub trait FrameSource: Send {
    /// Returns what is known before the first frame.
    fn info(&self) -> &SourceInfo;

    /// Returns the next item, or `None` at the end.
    ///
    /// # Errors
    /// Only what ends the whole source; a single bad frame is a [`SourceItem::Skipped`].
    fn next_item(&mut self) -> Result<Option<SourceItem>>;
}
