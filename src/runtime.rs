//! Running a pipeline over a source: the only module with threads and a clock.

mod answers;
mod metered;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, TryRecvError, bounded};

use crate::config::Config;
use crate::error::Result;
use crate::observer::{InferenceReport, MapScale, MapUpdate, Observation, Observer};
use crate::pipeline::{Pipeline, PreparedFrame, prepare};
use crate::source::{FrameSource, Skip, SourceItem};
use crate::stamp::Stamp;

pub use answers::{Answers, Pace};
pub use metered::{InferenceFigures, Stopwatch};

/// Frames that are read ahead of the one being tracked.
const READ_AHEAD: usize = 4;

/// What a run was like.
#[derive(Debug, Clone, Default)]
pub struct RunReport {
    /// Frames that came, skipped ones not counted.
    pub frames: usize,
    /// Frames with a pose.
    pub tracked: usize,
    /// Loops closed.
    pub loops: usize,
    /// Time from the first frame to the first with a pose, by their stamps, seconds.
    pub first_pose_secs: Option<f64>,
    /// Inputs that were left out, and why.
    pub skips: Vec<Skip>,
    /// Stamps of all frames that came, in their order.
    pub stamps: Vec<Stamp>,
    /// Time from taking a prepared frame to its pose, for each frame, seconds.
    pub latencies_secs: Vec<f64>,
    /// Time from the first frame asked for to the last one placed, seconds.
    pub wall_secs: f64,
    /// Why the map was not begun, while it was not.
    pub not_begun: Option<String>,
    /// How long the map's unit is, by the last frame.
    pub scale: Option<MapScale>,
    /// What has become of the model's windows, by the last frame.
    pub inference: Option<InferenceReport>,
    /// Whether the run was stopped before the end of the source.
    pub interrupted: bool,
}

/// Work that goes on on a thread of its own, and is looked after without waiting for it.
pub struct Background<T> {
    outcome: Receiver<T>,
}

/// How far work in the background has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<T> {
    /// It goes on.
    Running,
    /// It is done; said once.
    Done(T),
    /// It has panicked, or has been said to be done before.
    Failed,
}

impl<T> Progress<T> {
    /// Returns whether there is nothing to be taken yet.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running)
    }
}

impl<T: Send + 'static> Background<T> {
    /// Starts work; of what it would do on many cores it does all on one, so that whatever goes on
    /// meanwhile keeps the others.
    pub fn start(work: impl FnOnce() -> T + Send + 'static) -> Self {
        Self::start_on(1, work)
    }

    /// Starts work on as many cores.
    pub fn start_on(cores: usize, work: impl FnOnce() -> T + Send + 'static) -> Self {
        let (sender, outcome) = bounded(1);
        std::thread::spawn(move || {
            let found = match rayon::ThreadPoolBuilder::new().num_threads(cores.max(1)).build() {
                Ok(apart) => apart.install(work),
                Err(_) => work(),
            };
            // Nobody may wait for it any more.
            let _ = sender.send(found);
        });
        Self { outcome }
    }

    /// Waits until the work is done; returns what [`Background::progress`] would return then.
    pub fn wait(&self) -> Progress<T> {
        self.outcome.recv().map_or(Progress::Failed, Progress::Done)
    }

    /// Returns how far it has come.
    pub fn progress(&self) -> Progress<T> {
        match self.outcome.try_recv() {
            Ok(found) => Progress::Done(found),
            Err(TryRecvError::Empty) => Progress::Running,
            Err(TryRecvError::Disconnected) => Progress::Failed,
        }
    }
}

/// Work on what is handed over, on a thread of its own: whoever hands over never waits.
pub struct Outlet<T> {
    queue: Sender<T>,
    thread: JoinHandle<()>,
}

impl<T: Send + 'static> Outlet<T> {
    /// Starts a thread that does `work` on each item, in order; up to `capacity` wait for it.
    pub fn start(capacity: usize, mut work: impl FnMut(T) + Send + 'static) -> Self {
        let (queue, waiting) = bounded::<T>(capacity);
        let thread = std::thread::spawn(move || {
            for item in waiting {
                work(item);
            }
        });
        Self { queue, thread }
    }

    /// Hands an item over.
    ///
    /// # Errors
    /// The item itself, where as many are waiting as may.
    pub fn offer(&self, item: T) -> Result<(), T> {
        self.queue.try_send(item).map_err(|refused| refused.into_inner())
    }

    /// Hands over what is left, waits until all of it is worked off, and returns whether the work
    /// has ended in good order.
    pub fn finish(self, rest: impl IntoIterator<Item = T>) -> bool {
        // Nobody takes anything any more where the work has panicked, which joining says.
        rest.into_iter().all(|item| self.queue.send(item).is_ok());
        drop(self.queue);
        self.thread.join().is_ok()
    }
}

/// What the reader hands over.
enum Read {
    Frame(Box<PreparedFrame>),
    /// A frame that cannot be made ready, such as one without calibration.
    Unready(u64, Stamp, String),
    Skipped(Skip),
    Failed(crate::error::Error),
}

/// Runs every frame of `source` through `pipeline`, in order and without dropping any; a second
/// thread reads ahead. Ends early, and in good order, once `stop` is set. Observers are told of
/// every frame.
///
/// # Errors
/// Whatever ends the source, the pipeline or an observer.
pub fn replay(
    source: &mut dyn FrameSource,
    pipeline: &mut Pipeline,
    observers: &mut [&mut dyn Observer],
    stop: &AtomicBool,
) -> Result<RunReport> {
    replay_with(source, pipeline, observers, stop, &mut |_, _| Ok(()))
}

/// What is called after every frame, with the pipeline as it is then.
pub type AfterFrame<'a> = &'a mut dyn FnMut(&MapUpdate, &Pipeline) -> Result<()>;

/// The same, with one who looks at the whole pipeline after every frame, such as to save it.
///
/// # Errors
/// As [`replay`], and what `after_frame` returns.
pub fn replay_with(
    source: &mut dyn FrameSource,
    pipeline: &mut Pipeline,
    observers: &mut [&mut dyn Observer],
    stop: &AtomicBool,
    after_frame: AfterFrame<'_>,
) -> Result<RunReport> {
    let config = pipeline.config().clone();
    let (sender, receiver) = bounded(READ_AHEAD);
    let started = Instant::now();
    let mut report = std::thread::scope(|scope| {
        scope.spawn(move || read(source, &config, &sender));
        // The receiver goes out of scope with this call, which ends the reader.
        consume(receiver, pipeline, observers, stop, after_frame)
    })?;
    report.wall_secs = started.elapsed().as_secs_f64();
    Ok(report)
}

/// Reads and prepares frames until the source ends, fails, or nobody listens any more.
fn read(source: &mut dyn FrameSource, config: &Config, sender: &Sender<Read>) {
    loop {
        let read = match source.next_item() {
            Ok(Some(SourceItem::Frame(frame))) => match prepare(&frame, config) {
                Ok(prepared) => Read::Frame(Box::new(prepared)),
                Err(reason) => Read::Unready(frame.id, frame.stamp, reason.to_string()),
            },
            Ok(Some(SourceItem::Skipped(skip))) => Read::Skipped(skip),
            Ok(None) => return,
            Err(error) => Read::Failed(error),
        };
        let is_last = matches!(read, Read::Failed(_));
        if sender.send(read).is_err() || is_last {
            return;
        }
    }
}

fn consume(
    receiver: Receiver<Read>,
    pipeline: &mut Pipeline,
    observers: &mut [&mut dyn Observer],
    stop: &AtomicBool,
    after_frame: AfterFrame<'_>,
) -> Result<RunReport> {
    let mut report = RunReport::default();
    let late_frames = pipeline.config().model.late_frames;
    let mut answers = Answers::new(Pace::AfterFrames(late_frames), pipeline);
    for read in receiver {
        let started = Instant::now();
        answers.before_frame(pipeline)?;
        let (update, frame) = match read {
            Read::Frame(frame) => (pipeline.process_prepared(&frame)?, Some(frame)),
            Read::Unready(id, stamp, reason) => (pipeline.refuse(id, stamp, reason), None),
            Read::Failed(error) => return Err(error),
            Read::Skipped(skip) => {
                report.skips.push(skip);
                continue;
            }
        };
        answers.after_frame(pipeline);
        let latency_secs = started.elapsed().as_secs_f64();
        report.add(&update, latency_secs);
        let frame = frame.as_ref().map(|prepared| &prepared.frame);
        let seen = Observation { frame, update: &update, view: pipeline.view(), latency_secs };
        for observer in observers.iter_mut() {
            observer.observe(&seen)?;
        }
        after_frame(&update, pipeline)?;
        if stop.load(Ordering::Relaxed) {
            report.interrupted = true;
            break;
        }
    }
    answers.finish(pipeline)?;
    Ok(report)
}

impl RunReport {
    fn add(&mut self, update: &MapUpdate, latency_secs: f64) {
        self.frames += 1;
        self.stamps.push(update.stamp);
        self.tracked += usize::from(update.state.has_pose());
        self.loops += update.loops_closed;
        if self.first_pose_secs.is_none() && update.state.has_pose() {
            self.first_pose_secs = self.stamps.first().map(|&s| update.stamp.secs_since(s));
        }
        self.latencies_secs.push(latency_secs);
        (self.scale, self.inference) = (Some(update.scale), update.inference);
        self.not_begun = match &update.state {
            crate::observer::TrackingState::Initializing(reason) => Some(reason.clone()),
            _ => None,
        };
    }

    /// Returns the latency that the share `frac` of all frames stays below, seconds; `None`
    /// without a frame.
    pub fn latency_quantile_secs(&self, frac: f64) -> Option<f64> {
        let mut sorted = self.latencies_secs.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        Some(sorted[(frac.clamp(0.0, 1.0) * last as f64).round() as usize])
    }
}
