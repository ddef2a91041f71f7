//! What is in a recording.

use std::path::{Path, PathBuf};

use super::calibration::Calibration;
use crate::geometry::Camera;
use crate::stamp::Stamp;

/// What is in a recording, and what would be used of it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct RecordingInfo {
    /// The file or folder.
    pub path: PathBuf,
    /// What it is, e.g. `rosbag2 (mcap)`.
    pub kind: String,
    /// Seconds from the first to the last stamp of any stream.
    pub duration_secs: f64,
    /// The first stamp of any stream, in seconds.
    pub start_secs: Option<f64>,
    /// Its lists or topics.
    pub streams: Vec<StreamInfo>,
    /// The calibration of the colour camera, where known.
    pub camera: Option<Camera>,
    /// Units of stored depth per metre, where known.
    pub depth_scale: Option<f64>,
    /// What would be used, and why.
    pub used: Vec<UsedInput>,
    /// What is missing, ambiguous or damaged, one sentence each.
    pub notes: Vec<String>,
}

/// One list or topic.
#[derive(Debug, Clone, serde::Serialize)]
pub struct StreamInfo {
    /// File or topic.
    pub name: String,
    /// What it holds; for a topic its message type.
    pub content: String,
    /// How many entries it has.
    pub count: usize,
    /// Entries per second, by the median of the intervals.
    pub rate_hz: Option<f64>,
    /// Intervals longer than three times the median.
    pub gaps: Vec<Gap>,
    /// How many entries have a stamp that is not later than the one before.
    pub out_of_order: usize,
    #[serde(skip)]
    span: Option<(Stamp, Stamp)>,
}

/// An interval without entries.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Gap {
    /// Seconds from the stream's first entry to the beginning of the gap.
    pub at_secs: f64,
    /// Its length in seconds.
    pub length_secs: f64,
}

/// One input that would be used.
#[derive(Debug, Clone, serde::Serialize)]
pub struct UsedInput {
    /// What for, e.g. `colour`.
    pub role: String,
    /// File or topic.
    pub name: String,
    /// Why this one.
    pub why: String,
}

impl UsedInput {
    pub(super) fn new(role: &str, name: &str, why: impl Into<String>) -> Self {
        Self { role: role.to_owned(), name: name.to_owned(), why: why.into() }
    }
}

impl StreamInfo {
    /// Returns the count, rate and gaps of entries with these stamps.
    pub(super) fn new(name: &str, content: &str, stamps: &[Stamp]) -> Self {
        let intervals: Vec<f64> =
            stamps.array_windows().map(|[before, after]| after.secs_since(*before)).collect();
        let median_secs = median(intervals.iter().copied().filter(|&secs| secs > 0.0).collect());
        let gaps = median_secs.map_or_else(Vec::new, |median| gaps(stamps, 3.0 * median));
        let span = stamps.iter().min().copied().zip(stamps.iter().max().copied());
        Self {
            name: name.to_owned(),
            content: content.to_owned(),
            count: stamps.len(),
            rate_hz: median_secs.map(|secs| 1.0 / secs),
            gaps,
            out_of_order: intervals.iter().filter(|&&secs| secs <= 0.0).count(),
            span,
        }
    }
}

impl RecordingInfo {
    pub(super) fn new(path: &Path, kind: &str) -> Self {
        Self {
            path: path.to_owned(),
            kind: kind.to_owned(),
            duration_secs: 0.0,
            start_secs: None,
            streams: Vec::new(),
            camera: None,
            depth_scale: None,
            used: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(super) fn set_calibration(&mut self, calibration: Option<Calibration>, file: PathBuf) {
        let Some(calibration) = calibration else {
            return self.notes.push("there is no calibration".to_owned());
        };
        self.camera = Some(calibration.camera);
        self.depth_scale = calibration.depth_scale;
        self.used.push(UsedInput::new("calibration", &file.display().to_string(), "a file"));
    }

    /// Sets the time span from the streams.
    pub(super) fn finish(&mut self) {
        let spans = || self.streams.iter().filter_map(|stream| stream.span);
        let start = spans().map(|(start, _)| start).min();
        let end = spans().map(|(_, end)| end).max();
        self.start_secs = start.map(Stamp::secs);
        self.duration_secs = start.zip(end).map_or(0.0, |(start, end)| end.secs_since(start));
    }
}

fn gaps(stamps: &[Stamp], limit_secs: f64) -> Vec<Gap> {
    stamps
        .array_windows()
        .map(|[before, after]| Gap {
            at_secs: before.secs_since(stamps[0]),
            length_secs: after.secs_since(*before),
        })
        .filter(|gap| gap.length_secs > limit_secs)
        .collect()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_gaps_and_disorder_are_found() {
        let secs = [0.0, 0.1, 0.2, 0.9, 1.0, 1.0, 0.95, 1.05];
        let stamps: Vec<Stamp> = secs.iter().map(|&s| Stamp::from_secs(s)).collect();
        let stream = StreamInfo::new("a", "b", &stamps);
        assert_eq!(stream.count, 8);
        assert!((stream.rate_hz.unwrap() - 10.0).abs() < 1e-6);
        assert_eq!(stream.gaps.len(), 1);
        assert!((stream.gaps[0].at_secs - 0.2).abs() < 1e-9);
        assert!((stream.gaps[0].length_secs - 0.7).abs() < 1e-9);
        assert_eq!(stream.out_of_order, 2);
    }

    #[test]
    fn no_and_one_entry_have_no_rate() {
        for stamps in [vec![], vec![Stamp::from_secs(1.0)]] {
            let stream = StreamInfo::new("a", "b", &stamps);
            assert_eq!((stream.rate_hz, stream.gaps.len()), (None, 0));
        }
    }
}
