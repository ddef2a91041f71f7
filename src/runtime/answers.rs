//! A model that answers while frames go on: the pipeline's windows go to a thread of their own, and
//! their answers come back between frames.

use std::time::{Duration, Instant};

use super::{Background, Progress};
use crate::error::{Error, Result};
use crate::pipeline::{Pipeline, WindowOutcome};

/// A window of fewer views says nothing of how they stand to each other.
const MIN_VIEWS: usize = 2;
/// A window grows only where it would then take less than this share of its budget.
const GROWTH_FRAC: f64 = 0.9;
/// Images with shorter sides than this share of the usual show too little.
const MIN_SIDE_FRAC: f64 = 0.5;
/// Images that have been made smaller grow by this factor at a time.
const SIDE_GROWTH: f64 = 1.25;

/// When an answer is taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Before the frame that comes so many frames after the one that was asked about, however long
    /// that takes: what a replay needs to come out the same each time.
    AfterFrames(usize),
    /// Before the first frame that comes when it is there. While one takes longer than
    /// `model.budget_ms`, windows are given fewer views, and where that is not enough smaller images.
    WhenThere,
}

/// The windows of a pipeline, one at a time.
pub struct Answers {
    pace: Pace,
    running: Option<Running>,
    /// What the last question took, seconds.
    last_secs: Option<f64>,
    /// How long the sides of images are that the model sees, as a share of the usual.
    side_frac: f64,
}

struct Running {
    window: Background<(WindowOutcome, Duration)>,
    /// Views of a question, and how many questions there are.
    views: usize,
    questions: usize,
    /// Frames that have come since.
    frames: usize,
}

impl Answers {
    /// Returns what hands out the windows of `pipeline` from now on; with 0 frames the pipeline asks
    /// its model itself, and waits.
    pub fn new(pace: Pace, pipeline: &mut Pipeline) -> Self {
        pipeline.set_late_answers(pace != Pace::AfterFrames(0));
        Self { pace, running: None, last_secs: None, side_frac: 1.0 }
    }

    /// Returns whether an answer is waited for.
    pub fn is_waiting(&self) -> bool {
        self.running.is_some()
    }

    /// Returns how long the model took to answer the last question, seconds; `None` before the first.
    pub fn last_secs(&self) -> Option<f64> {
        self.last_secs
    }

    /// Before each frame: takes up an answer that is due.
    ///
    /// # Errors
    /// As [`Pipeline::apply_window`], and where the model has panicked.
    pub fn before_frame(&mut self, pipeline: &mut Pipeline) -> Result<()> {
        let Some(running) = &mut self.running else { return Ok(()) };
        running.frames += 1;
        let progress = match self.pace {
            Pace::AfterFrames(frames) if running.frames >= frames => running.window.wait(),
            Pace::AfterFrames(_) => Progress::Running,
            Pace::WhenThere => running.window.progress(),
        };
        self.follow(progress, pipeline)
    }

    /// After each frame: hands out the window that it calls for.
    pub fn after_frame(&mut self, pipeline: &mut Pipeline) {
        let Some(job) = pipeline.take_window_job() else { return };
        let (views, questions) = (job.views(), job.questions());
        let window = Background::start_on(spare_cores(), move || {
            let started = Instant::now();
            (job.run(), started.elapsed())
        });
        self.running = Some(Running { window, views, questions, frames: 0 });
    }

    /// After the last frame: waits for what has been asked.
    ///
    /// # Errors
    /// As [`Answers::before_frame`].
    pub fn finish(&mut self, pipeline: &mut Pipeline) -> Result<()> {
        while let Some(running) = &self.running {
            let progress = running.window.wait();
            self.follow(progress, pipeline)?;
            self.after_frame(pipeline);
        }
        Ok(())
    }

    fn follow(
        &mut self,
        progress: Progress<(WindowOutcome, Duration)>,
        pipeline: &mut Pipeline,
    ) -> Result<()> {
        if progress.is_running() {
            return Ok(());
        }
        let running = self.running.take();
        match (progress, running) {
            (Progress::Done((outcome, took)), Some(running)) => {
                let side_frac = self.note_cost(&running, took, pipeline);
                pipeline.apply_window(outcome)?;
                self.set_side_frac(side_frac, pipeline);
                Ok(())
            }
            _ => Err(Error::Inference {
                model: "in use",
                problem: "its thread has panicked".to_owned(),
                remedy: "start again; if it happens twice, report it with the window's images",
            }),
        }
    }

    /// Lets the next window have as many views as the budget allows, by what this one took; returns
    /// how large its images may be.
    fn note_cost(&mut self, running: &Running, took: Duration, pipeline: &mut Pipeline) -> f64 {
        let took_secs = took.as_secs_f64() / running.questions.max(1) as f64;
        self.last_secs = Some(took_secs);
        let budget_secs = 1e-3 * pipeline.config().model.budget_ms;
        if self.pace != Pace::WhenThere || budget_secs <= 0.0 {
            return self.side_frac;
        }
        let is_small = running.views <= MIN_VIEWS;
        let side_frac = affordable_side(self.side_frac, is_small, took_secs, budget_secs);
        // What was taken away last is given back first.
        if self.side_frac >= 1.0 || took_secs > budget_secs {
            let most = pipeline.most_views();
            pipeline.set_most_views(affordable(running.views, most, took_secs, budget_secs));
        }
        side_frac
    }

    fn set_side_frac(&mut self, side_frac: f64, pipeline: &mut Pipeline) {
        if (side_frac - self.side_frac).abs() > 1e-9 && pipeline.set_side_frac(side_frac) {
            self.side_frac = side_frac;
        }
    }
}

/// How long the sides of images may be, as a share of the usual, after a window took so long. What it
/// costs grows by something between the pixels and their square. As long as there are views to leave
/// out, images stay as they are.
fn affordable_side(side_frac: f64, is_small: bool, took_secs: f64, budget_secs: f64) -> f64 {
    if took_secs > budget_secs {
        let kept = side_frac * (budget_secs / took_secs).sqrt();
        return if is_small { kept.clamp(MIN_SIDE_FRAC, side_frac) } else { side_frac };
    }
    let has_room = took_secs * SIDE_GROWTH.powi(4) < GROWTH_FRAC * budget_secs;
    if has_room { (SIDE_GROWTH * side_frac).min(1.0) } else { side_frac }
}

/// How many views a window may have, after one of `views` of at most `most` took so long. What a
/// window costs grows by something between its views and their square: it is cut by what that needs at
/// least, and grows only where it is affordable at most.
fn affordable(views: usize, most: usize, took_secs: f64, budget_secs: f64) -> usize {
    if took_secs > budget_secs {
        let kept = views as f64 * (budget_secs / took_secs).sqrt();
        return (kept as usize).clamp(MIN_VIEWS, views.max(MIN_VIEWS));
    }
    let growth = (views + 1) as f64 / views.max(1) as f64;
    let has_room = took_secs * growth * growth < GROWTH_FRAC * budget_secs;
    if views >= most && has_room { most + 1 } else { most }
}

/// All cores but the one that tracks.
fn spare_cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the size of windows comes to rest, for a model whose cost grows with a power of it.
    fn settled(power: f64, budget_secs: f64) -> Vec<usize> {
        let mut most = 8;
        let mut step = |_| {
            most = affordable(most, most, 0.1 * (most as f64).powf(power), budget_secs).min(8);
            most
        };
        (0..12).map(&mut step).collect()
    }

    #[test]
    fn windows_shrink_to_their_budget_and_rest_there() {
        for power in [1.0, 1.5, 2.0] {
            let sizes = settled(power, 0.5);
            let last = sizes[sizes.len() - 1];
            assert!(0.1 * (last as f64).powf(power) <= 0.5, "{power}: {sizes:?}");
            assert!(sizes[4..].iter().all(|&size| size == last), "{power}: {sizes:?}");
        }
        assert_eq!(settled(1.0, 10.0), [8; 12], "what costs little stays whole");
        assert_eq!(settled(1.0, 0.01)[11], MIN_VIEWS, "and two views it is at least");
    }

    /// Views and side of images where a window comes to rest that costs by views and pixels.
    fn rest(secs_each: f64, budget_secs: f64) -> (usize, f64) {
        let (mut views, mut side) = (8, 1.0f64);
        for _ in 0..40 {
            let took_secs = secs_each * views as f64 * side.powi(3);
            let next = affordable_side(side, views <= MIN_VIEWS, took_secs, budget_secs);
            if side >= 1.0 || took_secs > budget_secs {
                views = affordable(views, views, took_secs, budget_secs).min(8);
            }
            side = next;
        }
        (views, side)
    }

    #[test]
    fn images_grow_smaller_only_where_there_are_no_views_to_leave_out() {
        assert_eq!(rest(0.1, 10.0), (8, 1.0));
        let (views, side) = rest(0.1, 0.45);
        assert!((3..=4).contains(&views) && side >= 1.0, "{views} {side}");
        let (views, side) = rest(0.1, 0.1);
        assert!(views == MIN_VIEWS && (0.6..0.8).contains(&side), "{views} {side}");
        assert!(0.1 * views as f64 * side.powi(3) <= 0.1);
        assert_eq!(rest(0.1, 0.001), (MIN_VIEWS, MIN_SIDE_FRAC));
        assert!((affordable_side(0.6, true, 0.1, 1.0) - 0.75).abs() < 1e-9, "back again with time");
    }

    #[test]
    fn a_small_window_within_its_budget_says_nothing_of_a_large_one() {
        assert_eq!(affordable(2, 6, 0.1, 1.0), 6);
        assert_eq!(affordable(6, 6, 0.1, 1.0), 7);
        assert_eq!(affordable(6, 6, 0.84, 1.0), 6, "one view more would take too long");
    }
}
