//! Refinements of the whole map while frames go on: one at a time, on request or when nothing new
//! has come for a while.

use crate::error::Result;
use crate::pipeline::{Pipeline, RefineOutcome, Refined};
use crate::runtime::{Background, Progress};

/// Fewer keyframes have nothing to agree on.
const MIN_KEYFRAMES: usize = 2;

/// What is being refined, and what has been.
#[derive(Default)]
pub struct Refinements {
    running: Option<Background<Result<RefineOutcome>>>,
    /// Whether the map that is being refined is no longer that of the pipeline.
    is_given_up: bool,
    /// Keyframes when a refinement was begun last.
    refined_keyframes: usize,
    /// Keyframes when they were counted last, and when there came to be so many, seconds of the
    /// caller's clock.
    counted: (usize, f64),
}

impl Refinements {
    /// Begins to refine the map as it is now; returns the number of its keyframes.
    ///
    /// # Errors
    /// One sentence, where there is too little to refine or a refinement is under way.
    pub fn begin(&mut self, pipeline: &Pipeline) -> Result<usize, String> {
        if self.running.is_some() {
            return Err("a refinement is under way: ask again when it is done".to_owned());
        }
        if pipeline.config().map.localization_only {
            return Err("in localization the map does not change: set the mode mapping".to_owned());
        }
        let count = pipeline.map().len();
        if count < MIN_KEYFRAMES {
            return Err(format!("{count} keyframes are too few to refine: at least 2 are needed"));
        }
        let job = pipeline.refine_job();
        self.is_given_up = false;
        self.refined_keyframes = count;
        self.running = Some(Background::start(move || job.run()));
        Ok(count)
    }

    /// Leaves the map as it is, whatever the refinement under way may find: it is another map now.
    pub fn give_up(&mut self) {
        self.is_given_up = true;
        self.refined_keyframes = 0;
    }

    /// Returns whether a refinement is under way.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Returns whether it is time for a refinement that nobody has asked for: no keyframe has been
    /// added for `after_secs` (0 for never), and the map has grown since it was refined.
    pub fn is_due(&mut self, keyframes: usize, now_secs: f64, after_secs: f64) -> bool {
        if self.counted.0 != keyframes {
            // A map that is smaller than the one that was refined is another one.
            self.refined_keyframes = self.refined_keyframes.min(keyframes);
            self.counted = (keyframes, now_secs);
        }
        let has_grown = keyframes >= MIN_KEYFRAMES && keyframes > self.refined_keyframes;
        let is_quiet = now_secs - self.counted.1 >= after_secs;
        after_secs > 0.0 && has_grown && is_quiet && self.running.is_none()
    }

    /// Moves the map once a refinement is done; returns what came of it, or why nothing did, and
    /// `None` while there is none or it is still under way.
    pub fn finish(&mut self, pipeline: &mut Pipeline) -> Option<Result<Refined, String>> {
        let progress = self.running.as_ref()?.progress();
        let outcome = match progress {
            Progress::Running => return None,
            Progress::Done(outcome) => outcome.map_err(|error| error.to_string()),
            Progress::Failed => Err("the refinement has panicked".to_owned()),
        };
        self.running = None;
        if self.is_given_up {
            return Some(Err("the map was given up meanwhile".to_owned()));
        }
        if pipeline.config().map.localization_only {
            return Some(Err("in localization the map does not change".to_owned()));
        }
        Some(outcome.and_then(|outcome| match pipeline.apply_refinement(&outcome) {
            Refined { keyframes: 0, .. } => Err("the map was given up meanwhile".to_owned()),
            refined => Ok(refined),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_grown_is_refined_once_it_is_quiet() {
        let mut refinements = Refinements::default();
        let mut is_due = |keyframes, now_secs| refinements.is_due(keyframes, now_secs, 5.0);
        assert!(!is_due(1, 0.0) && !is_due(1, 9.0), "one keyframe has nothing to agree with");
        assert!(!is_due(3, 10.0) && !is_due(4, 12.0) && !is_due(4, 16.9), "keyframes still come");
        assert!(is_due(4, 17.1));
        refinements.refined_keyframes = 4;
        assert!(!refinements.is_due(4, 99.0, 5.0), "nothing has come since");
        assert!(!refinements.is_due(2, 100.0, 5.0) && !refinements.is_due(2, 106.0, 5.0));
        assert!(!refinements.is_due(3, 107.0, 5.0) && refinements.is_due(3, 112.5, 5.0));
        assert!(!refinements.is_due(9, 200.0, 0.0) && !refinements.is_due(9, 300.0, 0.0), "never");
    }
}
