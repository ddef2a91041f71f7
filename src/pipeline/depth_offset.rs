//! What the depth sensor gets wrong throughout, found while the map grows: structured light and
//! time of flight measure some centimetres too little or too much.
//!
//! From time to time the newest keyframes are asked for the offset under which they look most alike
//! ([`alignment::depth_offset`]). It is taken over where it is sharp and the time before said the
//! same; frames from then on are corrected, and so is all that the map holds, which is aligned anew.

use super::refine_job::RefineJob;
use super::{Pipeline, PreparedFrame};
use crate::alignment::{self, AlignmentConfig, RefinementConfig};
use crate::keyframe::Keyframe;

/// Keyframes at first, at most, and at last.
const FIRST_KEYFRAMES: usize = 5;
const MAX_VIEWS: usize = 16;
const LAST_KEYFRAMES: usize = 64;
/// By how much there are more keyframes each time.
const GROWTH: f64 = 1.25;
/// Rounds in which the keyframes are aligned with a new offset.
const ROUNDS: usize = 8;
/// What offsets of sensors are like: standard deviation, metres.
const PRIOR_SIGMA_M: f64 = 0.02;
/// How far from the best single offset a sensor's errors at this or that depth lead: standard
/// deviation, metres. Less than that is not worth a correction. On recordings what is found at
/// different times differs by one to two centimetres, whatever the views say of themselves.
const MODEL_SIGMA_M: f64 = 0.02;
/// An offset that the views leave more open than this is not believed, metres.
const MAX_SIGMA_M: f64 = 0.004;
/// An offset of fewer standard deviations may be none.
const MIN_SIGMAS: f64 = 3.0;
/// Corrections by less than this change nothing, metres.
const NOTABLE_M: f64 = 0.002;

/// The offset that the views call for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DepthOffset {
    /// What is to be added to each depth as the sensor measures it, metres.
    pub offset_m: f64,
    /// Its standard deviation as far as views differ about it, metres.
    pub sigma_m: f64,
}

impl DepthOffset {
    /// Returns whether the views tell.
    pub fn is_sharp(&self) -> bool {
        self.sigma_m <= MAX_SIGMA_M
    }

    /// Returns the offset to work with where the sensor was said to have another: that one where
    /// there is no evidence against it, else the mean of both by their variances.
    pub fn believed_m(&self, stated_m: f64) -> f64 {
        let change_m = self.offset_m - stated_m;
        if change_m.abs() < MODEL_SIGMA_M.max(MIN_SIGMAS * self.sigma_m) {
            return stated_m;
        }
        let variance = self.sigma_m.powi(2) + MODEL_SIGMA_M.powi(2);
        let prior = PRIOR_SIGMA_M.powi(2);
        stated_m + change_m * prior / (prior + variance)
    }

    fn agrees_with(&self, other: &Self) -> bool {
        let sigma_m = self.sigma_m.hypot(other.sigma_m).hypot(MODEL_SIGMA_M);
        (self.offset_m - other.offset_m).abs() <= 2.0 * sigma_m
    }
}

/// What is known of the offset so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct OffsetWatch {
    /// What the sensor was said to have, metres.
    pub stated_m: f64,
    /// Keyframes at which it is looked for again.
    due: usize,
    last: Option<DepthOffset>,
}

impl OffsetWatch {
    pub fn new(stated_m: f64) -> Self {
        Self { stated_m, due: FIRST_KEYFRAMES, last: None }
    }

    fn is_due(&self, keyframes: usize) -> bool {
        (self.due..=LAST_KEYFRAMES).contains(&keyframes)
    }

    /// Takes note of what the views call for; returns it if it was the same the time before.
    fn confirmed(&mut self, keyframes: usize, found: Option<DepthOffset>) -> Option<DepthOffset> {
        self.due = (keyframes as f64 * GROWTH).ceil() as usize;
        let found = found.filter(DepthOffset::is_sharp)?;
        let before = self.last.replace(found)?;
        found.agrees_with(&before).then_some(found)
    }
}

impl RefineJob {
    /// Returns the depth offset under which the newest views agree best, or `None` where they have
    /// nothing in common, or no offset is looked for.
    pub fn depth_offset(&self) -> Option<DepthOffset> {
        if !self.sensor.estimate_depth_offset {
            return None;
        }
        let views: Vec<&Keyframe> = self.newest().collect();
        let (pairs, noise) = (self.covisible(), self.sensor.noise());
        let found = alignment::depth_offset(&views, &pairs, noise, PRIOR_SIGMA_M, &self.alignment)?;
        let offset_m = self.sensor.depth_offset_m + found.offset_m;
        Some(DepthOffset { offset_m, sigma_m: found.sigma_m })
    }

    fn newest(&self) -> impl Iterator<Item = &Keyframe> {
        self.map.keyframes().rev().take(MAX_VIEWS)
    }
}

impl Pipeline {
    /// Looks for the depth offset if it is time, and corrects the map by what is found. While
    /// another map is set aside all stays as it is: the two are to be joined.
    pub(super) fn settle_depth_offset(&mut self) {
        let keyframes = self.map.len();
        if !self.config.sensor.estimate_depth_offset
            || self.map.keyframes().any(|keyframe| keyframe.frame.depth.is_none())
            || self.maps_aside() > 0
            || !self.offset_watch.is_due(keyframes)
        {
            return;
        }
        let job = self.refine_job();
        let Some(found) = self.offset_watch.confirmed(keyframes, job.depth_offset()) else {
            return;
        };
        let stated_m = self.offset_watch.stated_m;
        let change_m = found.believed_m(stated_m) - self.config.sensor.depth_offset_m;
        if change_m.abs() < NOTABLE_M {
            return;
        }
        let max_points = self.config.alignment.max_points;
        let quick = AlignmentConfig {
            refinement: RefinementConfig { max_points, max_rounds: ROUNDS },
            ..self.config.alignment.clone()
        };
        if let Ok(outcome) = job.aligned(job.newest(), change_m, &quick) {
            self.apply_refinement(&outcome);
        }
    }

    /// The frame with the depth offset that is known by now, if it was made ready with another.
    pub(super) fn corrected(&self, frame: &PreparedFrame) -> Option<PreparedFrame> {
        let missing_m = self.config.sensor.depth_offset_m - frame.depth_offset_m;
        (missing_m != 0.0).then(|| frame.with_depth_offset(missing_m))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(offset_cm: f64, sigma_cm: f64) -> DepthOffset {
        DepthOffset { offset_m: 0.01 * offset_cm, sigma_m: 0.01 * sigma_cm }
    }

    #[test]
    fn what_was_stated_stands_until_the_evidence_is_against_it() {
        let stays = |found: DepthOffset, stated_m: f64| {
            (found.believed_m(stated_m) - stated_m).abs() < 1e-12
        };
        assert!(stays(offset(0.6, 0.1), 0.0), "less than sensors err in other ways");
        assert!(stays(offset(2.2, 0.8), 0.0), "less than three standard deviations");
        assert!(stays(offset(2.5, 0.2), 0.02), "about what was stated");
        let found_m = offset(3.0, 0.2).believed_m(0.0);
        assert!((0.014..0.016).contains(&found_m), "drawn towards the prior: {found_m}");
    }

    #[test]
    fn an_offset_counts_when_it_is_found_twice() {
        let mut watch = OffsetWatch::new(0.0);
        assert!(!watch.is_due(FIRST_KEYFRAMES - 1) && watch.is_due(FIRST_KEYFRAMES));
        assert_eq!(watch.confirmed(5, Some(offset(3.0, 0.2))), None);
        assert!(!watch.is_due(6) && watch.is_due(7));
        assert_eq!(watch.confirmed(7, Some(offset(9.0, 1.0))), None, "too blurred");
        assert_eq!(watch.confirmed(9, Some(offset(-2.0, 0.2))), None, "another than before");
        assert_eq!(watch.confirmed(12, Some(offset(-1.2, 0.2))), Some(offset(-1.2, 0.2)));
        assert_eq!(watch.confirmed(15, None), None);
        assert!(!watch.is_due(LAST_KEYFRAMES + 1));
    }
}
