//! A model that answers while frames go on: the pipeline's windows go to a thread of their own, and
//! their answers come back between frames.

use super::{Background, Progress};
use crate::error::{Error, Result};
use crate::pipeline::{Pipeline, WindowOutcome};

/// When an answer is taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Before the frame that comes so many frames after the one that was asked about, however long
    /// that takes: what a replay needs to come out the same each time.
    AfterFrames(usize),
    /// Before the first frame that comes when it is there.
    WhenThere,
}

/// The windows of a pipeline, one at a time.
pub struct Answers {
    pace: Pace,
    running: Option<Running>,
}

struct Running {
    window: Background<WindowOutcome>,
    /// Frames that have come since.
    frames: usize,
}

impl Answers {
    /// Returns what hands out the windows of `pipeline` from now on; with 0 frames the pipeline asks
    /// its model itself, and waits.
    pub fn new(pace: Pace, pipeline: &mut Pipeline) -> Self {
        pipeline.set_late_answers(pace != Pace::AfterFrames(0));
        Self { pace, running: None }
    }

    /// Returns whether an answer is waited for.
    pub fn is_waiting(&self) -> bool {
        self.running.is_some()
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
        if let Some(job) = pipeline.take_window_job() {
            let window = Background::start_on(spare_cores(), move || job.run());
            self.running = Some(Running { window, frames: 0 });
        }
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

    fn follow(&mut self, progress: Progress<WindowOutcome>, pipeline: &mut Pipeline) -> Result<()> {
        if !matches!(progress, Progress::Running) {
            self.running = None;
        }
        match progress {
            Progress::Running => Ok(()),
            Progress::Done(outcome) => pipeline.apply_window(outcome),
            Progress::Failed => Err(Error::Inference {
                model: "in use",
                problem: "its thread has panicked".to_owned(),
                remedy: "start again; if it happens twice, report it with the window's images",
            }),
        }
    }
}

/// All cores but the one that tracks.
fn spare_cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() - 1)
}
