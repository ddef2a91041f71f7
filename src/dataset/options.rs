//! What a user can say about a recording when opening it.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::stamp::Stamp;

/// Which frames of a recording are wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// Only every how-many-th colour image; 1 for all.
    pub every: usize,
    /// Seconds after the first colour image before which frames are left out.
    pub start_secs: f64,
    /// Seconds after the start from which on frames are left out.
    pub duration_secs: Option<f64>,
    /// The most frames to deliver.
    pub max_frames: Option<usize>,
}

impl Default for Selection {
    fn default() -> Self {
        Self { every: 1, start_secs: 0.0, duration_secs: None, max_frames: None }
    }
}

/// Names of topics in a bag; those not given are found by type and name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TopicNames {
    /// Topic of the colour images.
    pub image: Option<String>,
    /// Topic of the calibration.
    pub camera_info: Option<String>,
    /// Topic of the registered depth images, or `none` to leave depth out.
    pub depth: Option<String>,
    /// Topic of the odometry, or `none` to leave it out.
    pub odom: Option<String>,
    /// Frame in which `/tf` gives odometry where no topic does; `odom` if not given.
    pub odom_frame: Option<String>,
}

/// How a recording is to be read.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenOptions {
    /// Which frames are wanted.
    pub selection: Selection,
    /// Which topics of a bag are used.
    pub topics: TopicNames,
    /// A calibration file that goes before what the recording says.
    pub calibration: Option<PathBuf>,
    /// The most seconds between the stamps of a colour image and its depth image.
    pub max_stamp_difference_secs: f64,
    /// Images per second of an image folder whose file names are not times.
    pub rate_hz: f64,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            selection: Selection::default(),
            topics: TopicNames::default(),
            calibration: None,
            max_stamp_difference_secs: 0.02,
            rate_hz: 30.0,
        }
    }
}

impl OpenOptions {
    /// Returns whether the values can be used at all.
    pub(super) fn check(&self) -> Result<()> {
        let Selection { every, start_secs, duration_secs, max_frames } = self.selection;
        let positive = |value: f64| value > 0.0 && value < 1e9;
        let not_negative = |value: f64| (0.0..1e9).contains(&value);
        let checks = [
            (every >= 1, "--every must be at least 1"),
            (not_negative(start_secs), "--start must be zero or more seconds"),
            (duration_secs.is_none_or(positive), "--duration must be more than zero seconds"),
            (max_frames != Some(0), "--max-frames must be at least 1"),
            (
                not_negative(self.max_stamp_difference_secs),
                "the largest difference of stamps must be zero or more seconds",
            ),
            (positive(self.rate_hz), "the rate of images must be more than zero per second"),
        ];
        match checks.iter().find(|(good, _)| !good) {
            Some((_, complaint)) => Err(Error::Usage((*complaint).to_owned())),
            None => Ok(()),
        }
    }
}

/// What becomes of an image, judged by its stamp alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Verdict {
    /// It is wanted.
    Take,
    /// It is not wanted.
    Leave,
    /// Its stamp is not later than the stamp before it, given here.
    NotLater(Stamp),
    /// Neither it nor any later one is wanted.
    Done,
}

/// Applies a [`Selection`] to stamps as they come, and lets only increasing ones through.
#[derive(Debug)]
pub(super) struct Selector {
    selection: Selection,
    first: Option<Stamp>,
    last: Option<Stamp>,
    in_range: usize,
    taken: usize,
}

impl Selector {
    pub fn new(selection: Selection) -> Self {
        Self { selection, first: None, last: None, in_range: 0, taken: 0 }
    }

    pub fn judge(&mut self, stamp: Stamp) -> Verdict {
        if let Some(last) = self.last.filter(|&last| stamp <= last) {
            return Verdict::NotLater(last);
        }
        self.last = Some(stamp);
        let first = *self.first.get_or_insert(stamp);
        let start = first.plus_secs(self.selection.start_secs);
        let ended = |secs: f64| stamp >= start.plus_secs(secs);
        if stamp < start {
            return Verdict::Leave;
        }
        if self.selection.duration_secs.is_some_and(ended)
            || self.selection.max_frames == Some(self.taken)
        {
            return Verdict::Done;
        }
        self.in_range += 1;
        if !(self.in_range - 1).is_multiple_of(self.selection.every) {
            return Verdict::Leave;
        }
        self.taken += 1;
        Verdict::Take
    }
}

/// Returns the sentence about a stamp that does not go on.
pub(super) fn not_later_reason(what: &str, stamp: Stamp, last: Stamp) -> String {
    let how = if stamp == last { "repeats that" } else { "goes back behind that" };
    format!("{what}: its stamp {stamp} {how} of the image before it ({last})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(selection: Selection, secs: &[f64]) -> Vec<f64> {
        let mut selector = Selector::new(selection);
        secs.iter()
            .copied()
            .filter(|&s| selector.judge(Stamp::from_secs(s)) == Verdict::Take)
            .collect()
    }

    #[test]
    fn selections_take_what_they_say() {
        let all = Selection::default();
        let cases = [
            (all.clone(), vec![5.0, 6.0, 7.0, 8.0, 9.0]),
            (Selection { every: 2, ..all.clone() }, vec![5.0, 7.0, 9.0]),
            (Selection { start_secs: 1.5, ..all.clone() }, vec![7.0, 8.0, 9.0]),
            (Selection { duration_secs: Some(2.0), ..all.clone() }, vec![5.0, 6.0]),
            (Selection { max_frames: Some(1), ..all.clone() }, vec![5.0]),
            (
                Selection {
                    every: 2,
                    start_secs: 1.0,
                    duration_secs: Some(9.0),
                    max_frames: Some(2),
                },
                vec![6.0, 8.0],
            ),
        ];
        for (selection, expected) in cases {
            assert_eq!(taken(selection, &[5.0, 6.0, 7.0, 8.0, 9.0]), expected);
        }
    }

    #[test]
    fn stamps_that_repeat_or_go_back_are_not_taken() {
        assert_eq!(taken(Selection::default(), &[1.0, 1.0, 2.0, 1.5, 3.0]), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn values_without_meaning_are_refused_by_name() {
        let with = |selection| OpenOptions { selection, ..OpenOptions::default() };
        let default = Selection::default;
        let cases = [
            (with(Selection { every: 0, ..default() }), "--every"),
            (with(Selection { start_secs: -1.0, ..default() }), "--start"),
            (with(Selection { duration_secs: Some(f64::NAN), ..default() }), "--duration"),
            (with(Selection { max_frames: Some(0), ..default() }), "--max-frames"),
            (OpenOptions { rate_hz: 0.0, ..OpenOptions::default() }, "rate"),
            (
                OpenOptions { max_stamp_difference_secs: -1.0, ..OpenOptions::default() },
                "difference",
            ),
        ];
        for (options, name) in cases {
            let error = options.check().unwrap_err();
            assert!(matches!(&error, Error::Usage(text) if text.contains(name)), "{error}");
        }
    }
}
