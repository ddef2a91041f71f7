//! What all sources have in common: frames are numbered, and no frame at all is an error.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::source::{FrameSource, SourceInfo, SourceItem};

/// If so many images in a row are left out from the beginning, the rest will be, too.
const MAX_SKIPPED_AT_START: usize = 300;

/// Numbers the frames of a source, and ends in an error if there was none.
pub(super) struct Numbered {
    inner: Box<dyn FrameSource>,
    path: PathBuf,
    next_id: u64,
    skipped: usize,
    last_reason: Option<String>,
}

impl Numbered {
    pub fn new(inner: Box<dyn FrameSource>, path: PathBuf) -> Self {
        Self { inner, path, next_id: 0, skipped: 0, last_reason: None }
    }

    fn end(&self) -> Result<Option<SourceItem>> {
        if self.next_id > 0 {
            return Ok(None);
        }
        let problem = match &self.last_reason {
            Some(reason) => format!("not one frame can be used, the last because: {reason}"),
            None => "there is no frame in what was selected".to_owned(),
        };
        Err(Error::input(&self.path, problem, "see what is in it with: recon info"))
    }
}

impl FrameSource for Numbered {
    fn info(&self) -> &SourceInfo {
        self.inner.info()
    }

    fn next_item(&mut self) -> Result<Option<SourceItem>> {
        match self.inner.next_item()? {
            Some(SourceItem::Frame(mut frame)) => {
                frame.id = self.next_id;
                self.next_id += 1;
                Ok(Some(SourceItem::Frame(frame)))
            }
            Some(SourceItem::Skipped(skip)) => {
                self.last_reason = Some(skip.reason.clone());
                self.skipped += 1;
                if self.next_id == 0 && self.skipped > MAX_SKIPPED_AT_START {
                    return self.end();
                }
                Ok(Some(SourceItem::Skipped(skip)))
            }
            None => self.end(),
        }
    }
}
