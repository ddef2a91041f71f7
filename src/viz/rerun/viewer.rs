//! The observer: notes what has changed, and hands it to the thread that writes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use rerun::RecordingStream;

use super::Destination;
use super::event::{Event, FrameImages, Pace, What};
use super::figures::Figures;
use super::keyframes::Keyframes;
use super::scribe::Scribe;
use super::stream;
use super::way::Way;
use crate::error::{Error, Result};
use crate::geometry::Se3;
use crate::observer::{MapUpdate, MapView, Observation, Observer, TrackingState};
use crate::runtime::Outlet;
use crate::source::SourceInfo;
use crate::stamp::Stamp;
use crate::trajectory::{StampedPose, Trajectory};
use crate::viz::{upright_direction, upright_from_world};

/// Events that may wait for the thread that writes.
const QUEUE: usize = 64;
/// How often figures and poses of frames are handed over.
const ROWS_SECS: f64 = 0.25;
/// How often what the camera sees is shown.
const IMAGES_SECS: f64 = 0.5;
/// Which way is up is asked anew when there are so many times more keyframes.
const UPRIGHT_GROWTH: f64 = 1.3;
/// A turn of the world by less is not worth showing.
const LEAST_TILT_RAD: f64 = 0.02;

/// Shows a run in rerun's viewer.
pub struct Viewer {
    outlet: Option<Outlet<Event>>,
    /// What the thread that writes has failed at first.
    failure: Arc<Mutex<Option<String>>>,
    address: Option<String>,
    /// What is served is there for as long as the viewer is.
    _stream: RecordingStream,
    /// What is waiting for its place in the queue.
    backlog: VecDeque<Event>,
    now: Stamp,
    rows: Pace,
    images: Pace,
    figures: Figures,
    keyframes: Keyframes,
    way: Way,
    upright: Option<Upright>,
    /// What the last frame's state was called.
    state: Option<&'static str>,
}

/// How the world was turned last, and of how many keyframes that was known.
struct Upright {
    map_from_world: Se3,
    keyframes: usize,
}

impl Viewer {
    /// Returns a viewer of a run over the source that `info` describes.
    ///
    /// # Errors
    /// Where the destination cannot be written, served at or reached.
    pub fn open(destination: &Destination, info: &SourceInfo) -> Result<Self> {
        let stream = stream::open(destination, &info.name)?;
        let failure = Arc::new(Mutex::new(None));
        let noted = Arc::clone(&failure);
        let mut scribe = Scribe::new(stream.clone(), info.reference.clone());
        let outlet = Outlet::start(QUEUE, move |event| {
            if let Err(problem) = scribe.write(&event) {
                let mut first = noted.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(problem);
            }
        });
        Ok(Self {
            outlet: Some(outlet),
            failure,
            address: stream::address(destination),
            _stream: stream,
            backlog: VecDeque::new(),
            now: Stamp::from_nanos(0),
            rows: Pace::every(ROWS_SECS),
            images: Pace::every(IMAGES_SECS),
            figures: Figures::default(),
            keyframes: Keyframes::new(),
            way: Way::new(info.reference.is_some()),
            upright: None,
            state: None,
        })
    }

    /// Returns where viewers find it, where it is served.
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// Hands over all that is not shown yet, such as what a refinement has moved, and waits until it
    /// is written.
    ///
    /// # Errors
    /// Where something could not be written.
    pub fn finish(&mut self, view: &MapView<'_>) -> Result<()> {
        self.change(view, true);
        self.push(What::End);
        let is_well = self.outlet.take().is_none_or(|outlet| outlet.finish(self.backlog.drain(..)));
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        match failure {
            None if is_well => Ok(()),
            problem => Err(Error::Usage(format!(
                "rerun: the recording is not whole: {}",
                problem.unwrap_or_else(|| "the thread that writes it has ended".to_owned())
            ))),
        }
    }

    fn push(&mut self, what: What) {
        self.backlog.push_back(Event { stamp: self.now, what });
    }

    /// Hands over what waits, and returns whether nothing waits any more.
    fn deliver(&mut self) -> bool {
        let Some(outlet) = &self.outlet else { return true };
        while let Some(event) = self.backlog.pop_front() {
            if let Err(event) = outlet.offer(event) {
                self.backlog.push_front(event);
                return false;
            }
        }
        true
    }

    /// Puts what has changed since the last time into the backlog.
    fn change(&mut self, view: &MapView<'_>, is_last: bool) {
        let now = self.now;
        if self.rows.take(now) || is_last {
            let rows = self.figures.take();
            rows.into_iter().for_each(|rows| self.push(What::Rows(rows)));
        }
        self.stand_upright(view);
        let keyframes = self.keyframes.changes(now, view, is_last);
        let way = self.way.changes(now, view, is_last);
        keyframes.into_iter().chain(way).for_each(|what| self.push(what));
    }

    /// What the camera sees: left out where it is not time, and where others wait.
    fn show_frame(&mut self, seen: &Observation<'_>) {
        let Some(frame) = seen.frame.filter(|frame| self.images.take(frame.stamp)) else { return };
        self.push(What::Frame(FrameImages {
            color: Arc::clone(&frame.color),
            depth: frame.depth.clone(),
            camera: frame.camera,
        }));
    }

    /// What is told in words: loops, and when tracking begins and ends.
    fn tell(&mut self, update: &MapUpdate) {
        let (state, text) = told(&update.state);
        if self.state.replace(state) != Some(state) {
            let is_warning = !update.state.has_pose();
            self.push(What::Note { text, is_warning });
        }
        if update.loops_closed > 0 {
            let newest = update.new_keyframe.or(update.keyframe);
            let at = newest.map_or_else(String::new, |id| format!(" at keyframe {id}"));
            self.push(What::Note { text: format!("loop closed{at}"), is_warning: false });
        }
    }

    /// Turns the world so that z points up, by the frame that is chosen or by how the camera was held.
    fn stand_upright(&mut self, view: &MapView<'_>) {
        let keyframes = view.map.len();
        let is_known = |last: &Upright| (keyframes as f64) < UPRIGHT_GROWTH * last.keyframes as f64;
        if keyframes == 0 || self.upright.as_ref().is_some_and(is_known) {
            return;
        }
        let map_from_world = view.map_from_world.unwrap_or_else(|| upright(view));
        let last = self.upright.as_ref().map(|last| last.map_from_world);
        let tilt_rad = |last: Se3| last.rotation.angle_to(&map_from_world.rotation);
        let is_shown = last.is_some_and(|last| tilt_rad(last) < LEAST_TILT_RAD);
        let shown = last.filter(|_| is_shown).unwrap_or(map_from_world);
        self.upright = Some(Upright { map_from_world: shown, keyframes });
        if !is_shown {
            self.push(What::Upright(map_from_world));
        }
    }
}

impl Observer for Viewer {
    fn observe(&mut self, seen: &Observation<'_>) -> Result<()> {
        self.now = seen.update.stamp;
        self.figures.note(seen);
        self.way.note(seen);
        self.keyframes.note(seen.update.keyframe);
        self.tell(seen.update);
        if self.deliver() {
            self.change(&seen.view, false);
            self.show_frame(seen);
            self.deliver();
        }
        Ok(())
    }
}

fn upright(view: &MapView<'_>) -> Se3 {
    let pose = |(order, world_from_camera)| {
        let stamp = Stamp::from_nanos(order);
        StampedPose { stamp, world_from_camera }
    };
    let poses = (0..).zip(view.map.keyframes().map(|keyframe| keyframe.world_from_camera));
    let about = upright_direction(&Trajectory::new(poses.map(pose).collect()));
    upright_from_world(&view.map.up(&about))
}

/// What a state is called, and what is said when it begins.
fn told(state: &TrackingState) -> (&'static str, String) {
    match state {
        TrackingState::Initializing(reason) => ("initializing", format!("no map yet: {reason}")),
        TrackingState::Tracking => ("tracking", "tracking".to_owned()),
        TrackingState::Relocalized => ("tracking", "found again".to_owned()),
        TrackingState::Lost(reason) => ("lost", format!("lost: {reason}")),
    }
}
