//! What the ROS thread and the mapping thread share, and how one wakes the other.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use recon_node::geometry::Se3;
use recon_node::ros::files::SavedFile;
use recon_node::ros::inputs::{FrameParts, Input, Inputs};
use recon_node::ros::mode::Mode;
use recon_node::ros::parameters::Settings;
use recon_node::ros::rates::{Durations, RateMeter};
use recon_node::ros::report::Report;
use recon_node::stamp::Stamp;

use crate::map_thread::PlanReply;

/// How long the mapping thread sleeps at most.
const IDLE: Duration = Duration::from_millis(20);

/// Tells a caller how it went.
pub type Reply = Box<dyn FnOnce(Result<String, String>) + Send>;
/// Tells a caller where the file is and how much is in it.
pub type FileReply = Box<dyn FnOnce(Result<SavedFile, String>) + Send>;
/// Tells a caller how many keyframes were loaded, and what there is to say of them.
pub type LoadReply = Box<dyn FnOnce(Result<(u32, String), String>) + Send>;

/// What the mapping thread is asked for.
pub enum Command {
    /// Begin a new map.
    Reset(Reply),
    /// Write the map.
    SaveMap {
        /// The file.
        path: PathBuf,
        /// One of the formats of `files`.
        format: &'static str,
        /// Who asks.
        reply: FileReply,
    },
    /// Take up a map.
    LoadMap {
        /// The file.
        path: PathBuf,
        /// Whether of a damaged map is taken what can be trusted.
        recover: bool,
        /// Who asks.
        reply: LoadReply,
    },
    /// Let the map grow, or leave it as it is.
    SetMode(Mode, Reply),
    /// Write the trajectory.
    SaveTrajectory(PathBuf, FileReply),
    /// Make the next frame a keyframe.
    Keyframe(Reply),
    /// Refine the whole map while frames go on; answered when that is done.
    Refine(Reply),
    /// Make a plan of the map.
    Plan(PlanReply),
    /// The robot is here.
    InitialPose(Se3),
    /// Settings have changed.
    Settings(Box<Settings>),
}

/// What there is to do next.
pub enum Work {
    /// A command.
    Command(Command),
    /// A frame.
    Frame(Box<FrameParts>),
    /// Nothing just now.
    Idle,
    /// The end.
    Stop,
}

/// Figures that both threads look at.
#[derive(Default, Clone)]
pub struct Figures {
    /// What the session has come to.
    pub report: Report,
    /// From the arrival of a frame to its published pose.
    pub latency: Durations,
    /// Frames with a pose.
    pub output_rate: RateMeter,
    /// Why no frame comes.
    pub waiting_for: String,
    /// When the last frame was taken.
    pub last_frame_secs: Option<f64>,
    /// What ended the mapping.
    pub failure: Option<String>,
}

/// The state behind the lock.
pub struct Inner {
    /// What has arrived.
    pub inputs: Inputs,
    /// Whether frames are left out on request.
    pub paused: bool,
    /// Whether the node is active.
    pub active: bool,
    /// Figures that both threads look at.
    pub figures: Figures,
    commands: VecDeque<Command>,
    stop: bool,
}

/// The lock, the bell, and the time both go by.
pub struct Shared {
    inner: Mutex<Inner>,
    wake: Condvar,
    started: Instant,
}

impl Shared {
    /// Returns the state before the first message.
    pub fn new(settings: &Settings) -> Self {
        let inner = Inner {
            inputs: Inputs::new(settings.node.clone()),
            paused: false,
            active: false,
            figures: Figures::default(),
            commands: VecDeque::new(),
            stop: false,
        };
        Self { inner: Mutex::new(inner), wake: Condvar::new(), started: Instant::now() }
    }

    /// Returns the seconds since the start.
    pub fn now_secs(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Returns the state, for a short while.
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic in the other thread has left figures, not structure, half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a message.
    pub fn receive(&self, input: Input, data: Vec<u8>, ros_now: Stamp) {
        let mut inner = self.lock();
        inner.inputs.receive(input, data, self.now_secs(), ros_now);
        if inner.paused || !inner.active {
            inner.inputs.discard();
        }
        self.wake.notify_one();
    }

    /// Asks for something.
    pub fn command(&self, command: Command) {
        self.lock().commands.push_back(command);
        self.wake.notify_one();
    }

    /// Ends the mapping thread after what it is at.
    pub fn stop(&self) {
        self.lock().stop = true;
        self.wake.notify_one();
    }

    /// Returns what there is to do next; waits for a short while.
    pub fn next(&self) -> Work {
        let mut inner = self.lock();
        for attempt in 0..2 {
            inner.inputs.poll(self.now_secs());
            if let Some(work) = inner.work() {
                return work;
            }
            if attempt == 0 {
                let waited = self.wake.wait_timeout(inner, IDLE);
                inner = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        Work::Idle
    }
}

impl Inner {
    fn work(&mut self) -> Option<Work> {
        if let Some(command) = self.commands.pop_front() {
            return Some(Work::Command(command));
        }
        if self.stop {
            return Some(Work::Stop);
        }
        self.inputs.take().map(|frame| Work::Frame(Box::new(frame)))
    }
}
