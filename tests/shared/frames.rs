//! The frames of a recording, all at once.

use std::path::Path;

use recon_node::dataset::{OpenOptions, open};
use recon_node::frame::Frame;
use recon_node::source::SourceItem;

/// Returns all frames of the recording in a folder that can be used, in order.
pub fn frames(folder: &Path) -> Vec<Frame> {
    let mut source = open(folder, &OpenOptions::default()).unwrap();
    let mut frames = Vec::new();
    while let Some(item) = source.next_item().unwrap() {
        if let SourceItem::Frame(frame) = item {
            frames.push(*frame);
        }
    }
    frames
}
