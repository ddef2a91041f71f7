//! A recording played several times in a row, as one long recording.

use crate::error::Result;
use crate::source::{FrameSource, SourceInfo, SourceItem};
use crate::stamp::Stamp;

/// Opens the recording anew.
pub(super) type Open = Box<dyn FnMut() -> Result<Box<dyn FrameSource>> + Send>;

/// Plays what `open` returns `rounds` times; stamps and numbers go on where a round ends.
pub(super) struct Repeated {
    open: Open,
    source: Box<dyn FrameSource>,
    info: SourceInfo,
    rounds_left: usize,
    clock: Clock,
}

/// How far stamps and numbers of this round are moved on.
#[derive(Default)]
struct Clock {
    shift_nanos: i64,
    shift_id: u64,
    /// Stamps of the first and the last two frames of this round, unmoved.
    first: Option<Stamp>,
    last: Option<Stamp>,
    step_nanos: i64,
    frames: u64,
}

impl Repeated {
    pub(super) fn new(mut open: Open, rounds: usize) -> Result<Self> {
        let source = open()?;
        let mut info = source.info().clone();
        info.frame_count = info.frame_count.map(|count| count * rounds);
        Ok(Self { open, source, info, rounds_left: rounds - 1, clock: Clock::default() })
    }
}

impl FrameSource for Repeated {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn next_item(&mut self) -> Result<Option<SourceItem>> {
        match self.source.next_item()? {
            Some(item) => Ok(Some(self.clock.moved(item))),
            None if self.rounds_left == 0 => Ok(None),
            None => {
                self.rounds_left -= 1;
                self.clock.next_round();
                self.source = (self.open)()?;
                self.next_item()
            }
        }
    }
}

impl Clock {
    fn moved(&mut self, item: SourceItem) -> SourceItem {
        let SourceItem::Frame(mut frame) = item else { return item };
        let stamp = frame.stamp;
        self.first.get_or_insert(stamp);
        if let Some(last) = self.last {
            self.step_nanos = stamp.nanos() - last.nanos();
        }
        self.last = Some(stamp);
        self.frames += 1;
        frame.stamp = Stamp::from_nanos(stamp.nanos() + self.shift_nanos);
        frame.id += self.shift_id;
        SourceItem::Frame(frame)
    }

    /// The next round begins one step after the last frame of this one.
    fn next_round(&mut self) {
        if let (Some(first), Some(last)) = (self.first, self.last) {
            self.shift_nanos += last.nanos() - first.nanos() + self.step_nanos.max(1);
        }
        self.shift_id += self.frames;
        *self = Self { shift_nanos: self.shift_nanos, shift_id: self.shift_id, ..Self::default() };
    }
}
