//! Windows whose answers are not waited for: a frame that calls for a keyframe becomes a question,
//! frames after it are tracked against the older keyframe, and the answer is merged at the frame
//! that it is about, with the map as it is by then.
//!
//! The first window of a map is waited for all the same: there is nothing to track against before.

use super::asking::Question;
use super::companions::Companions;
use super::drift::Travel;
use super::foreseeing::Latency;
use super::inferring::Candidate;
use super::keyframing::KeyframeChange;
use super::merging::Window;
use super::{FrameRecord, Pipeline, PreparedFrame};
use crate::dense_residual::RelativeView;
use crate::error::{Error, Result};
use crate::geometry::Se3;
use crate::inference::{Prediction, ReconstructionModel};
use crate::keyframe::KeyframeId;
use crate::observer::MapUpdate;
use crate::stamp::Stamp;

/// The model, while it is not out with a window.
pub(super) struct ModelPlace {
    name: &'static str,
    max_views: usize,
    model: Option<Box<dyn ReconstructionModel>>,
}

impl ModelPlace {
    pub fn new(model: Box<dyn ReconstructionModel>) -> Self {
        Self { name: model.name(), max_views: model.max_views(), model: Some(model) }
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn max_views(&self) -> usize {
        self.max_views
    }

    fn is_here(&self) -> bool {
        self.model.is_some()
    }

    /// The model, to be asked at once.
    pub fn here(&mut self) -> Result<&mut dyn ReconstructionModel> {
        match &mut self.model {
            Some(model) => Ok(model.as_mut()),
            None => Err(Error::MissingInput {
                model: self.name,
                missing: "time to answer what it was asked before",
                remedy: "go on: a later frame is asked instead",
            }),
        }
    }
}

/// What a window is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// The frame is to become a keyframe.
    Keyframe,
    /// The map's first keyframe is to be confirmed.
    Confirmation,
    /// A keyframe is to be known where its sensor says nothing.
    Filling(KeyframeId),
}

/// A window whose answer is yet to come.
struct Pending {
    frame: PreparedFrame,
    others: Companions,
    purpose: Purpose,
    /// Whether somebody has asked for this keyframe.
    is_requested: bool,
}

/// What is remembered of answers that are yet to come.
#[derive(Default)]
pub(super) struct Late {
    is_on: bool,
    pending: Option<Pending>,
    /// What is to be asked, until a job takes it.
    questions: Vec<Question>,
    /// Whether tracking has weakened while an answer was waited for: the next window is asked for at
    /// once then.
    is_urgent: bool,
    /// How long answers take.
    pub(super) latency: Latency,
    /// What has come of answers since the last frame.
    arrived: KeyframeChange,
    /// Most views that a window is given, where there is less time for it than the model could use.
    most_views: Option<usize>,
}

impl Late {
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Whether no answer is waited for, where answers come late.
    pub fn may_ask(&self) -> bool {
        self.is_on && self.pending.is_none()
    }

    pub fn is_urgent(&self) -> bool {
        self.is_urgent
    }

    /// Takes note of tracking that grows weak while an answer is waited for.
    pub fn note_weakness(&mut self, is_weak: bool) {
        self.is_urgent |= is_weak && self.pending.is_some();
    }

    /// Leaves whatever may come as it is: the map that was asked about is no more.
    pub fn forget(&mut self) {
        *self = Self { is_on: self.is_on, most_views: self.most_views, ..Self::default() };
    }
}

/// A window with the model that is to be asked about it: the model is out of the pipeline until
/// [`Pipeline::apply_window`] brings it back.
pub struct WindowJob {
    model: Box<dyn ReconstructionModel>,
    questions: Vec<Question>,
}

/// A window's answers, and the model.
pub struct WindowOutcome {
    model: Box<dyn ReconstructionModel>,
    questions: Vec<Question>,
    answers: Result<Vec<Prediction>>,
}

impl WindowJob {
    /// Returns how many views the model is asked about at once.
    pub fn views(&self) -> usize {
        self.questions.iter().map(Question::views).max().unwrap_or(0)
    }

    /// Returns how often the model is asked: twice where a prior is put to the test.
    pub fn questions(&self) -> usize {
        self.questions.len()
    }

    /// Returns what the model says, which may take as long as it takes. The outcome depends on
    /// nothing but the job.
    pub fn run(mut self) -> WindowOutcome {
        let answers = self.questions.iter().map(|question| question.put(self.model.as_mut()));
        let answers = answers.collect();
        WindowOutcome { model: self.model, questions: self.questions, answers }
    }
}

impl Pipeline {
    /// Chooses whether the answers of a model that looks at several views are waited for, which is
    /// so at first. If not, whoever drives the pipeline takes [`Pipeline::take_window_job`] after
    /// each frame, and brings what comes of it to [`Pipeline::apply_window`].
    pub fn set_late_answers(&mut self, is_on: bool) {
        self.late.is_on = is_on && self.model.max_views() > 1;
    }

    /// Returns how many views a window is given at most.
    pub fn most_views(&self) -> usize {
        let most = self.config.window.max_keyframes.min(self.model.max_views());
        self.late.most_views.map_or(most, |views| views.min(most))
    }

    /// Gives windows at most so many views from now on, and no more than they had at first.
    pub fn set_most_views(&mut self, most_views: usize) {
        self.late.most_views = Some(most_views);
    }

    /// Lets the model see images with sides of `side_frac` times the usual length from now on, where it
    /// can and is not out with a window; returns whether it does.
    pub fn set_side_frac(&mut self, side_frac: f64) -> bool {
        self.model.model.as_mut().is_some_and(|model| model.set_side_frac(side_frac))
    }

    /// Returns the window that is to be asked for now, with the model; `None` while there is none.
    /// No further window comes before [`Pipeline::apply_window`] has brought the model back.
    pub fn take_window_job(&mut self) -> Option<WindowJob> {
        if self.late.questions.is_empty() {
            return None;
        }
        let model = self.model.model.take()?;
        Some(WindowJob { model, questions: std::mem::take(&mut self.late.questions) })
    }

    /// Takes the model back, and merges what it says of the window at the frame that it is about.
    /// Of a map that was given up meanwhile, or is not to change any more, nothing is changed. A
    /// keyframe that comes of it is told of with the next frame's update.
    ///
    /// # Errors
    /// What no later frame can mend.
    pub fn apply_window(&mut self, outcome: WindowOutcome) -> Result<()> {
        let WindowOutcome { model, questions, answers } = outcome;
        self.model.model = Some(model);
        let Some(pending) = self.late.pending.take() else { return Ok(()) };
        self.late.latency.note_answer();
        if self.config.map.localization_only {
            return Ok(());
        }
        let is_requested = pending.is_requested;
        match answers.and_then(|answers| self.merge_late(pending, &questions, answers)) {
            // As with answers that are waited for, a later frame is asked instead.
            Err(Error::MissingInput { .. }) => self.wants_keyframe |= is_requested,
            merged => merged?,
        }
        Ok(())
    }

    fn merge_late(
        &mut self,
        mut pending: Pending,
        questions: &[Question],
        answers: Vec<Prediction>,
    ) -> Result<()> {
        if pending.frame.frame.camera.is_none() {
            pending.frame = self.calibrated(&pending.frame)?;
        }
        let Some(world_from_camera) = self.pose_at(pending.frame.frame.stamp) else {
            return Ok(());
        };
        let frame = pending.frame.clone();
        let candidate = Candidate { frame: &frame, world_from_camera };
        let window = self.weighed(candidate, questions, answers)?;
        match pending.purpose {
            Purpose::Confirmation => self.take_confirmation(candidate, window),
            Purpose::Filling(keyframe) => {
                self.take_filling(keyframe, &window.newest);
                self.late.arrived.loop_closed |= self.close_loop_of_revisit(keyframe, &frame);
            }
            Purpose::Keyframe => self.merge_keyframe(pending, candidate, window)?,
        }
        Ok(())
    }

    fn merge_keyframe(
        &mut self,
        pending: Pending,
        candidate: Candidate<'_>,
        window: Window,
    ) -> Result<()> {
        let Some(pointmap) = self.merge(candidate, window) else {
            // The camera has moved on: the next frame is a better one to ask about than this.
            self.wants_keyframe |= pending.is_requested;
            self.late.is_urgent = true;
            return Ok(());
        };
        let pointmap = self.dense_enough(pointmap)?;
        let way = self.last_pose().map(|last| last.inv_mul(&candidate.world_from_camera));
        let keyframe = self.insert_keyframe(candidate, pointmap)?;
        self.hang_nearer(keyframe, candidate);
        let loop_closed = self.tie_in(keyframe, candidate.frame);
        self.hang_at(candidate.frame.frame.stamp, keyframe);
        self.go_on_nearer(keyframe, way);
        self.settle_units(keyframe)?;
        self.late.arrived = KeyframeChange { new_keyframe: Some(keyframe), loop_closed };
        Ok(())
    }

    /// Goes on from a keyframe that has come late, if the last frame with a pose is nearer to it than
    /// to the one that it was tracked against; `frame_from_keyframe` as it was tracked.
    fn go_on_nearer(&mut self, keyframe: KeyframeId, frame_from_keyframe: Option<Se3>) {
        let length = |pose: &Se3| Travel::of(pose).length();
        let tracked = self.motion.as_ref().map(|motion| motion.view);
        match (tracked, frame_from_keyframe) {
            (Some(view), Some(pose)) if length(&pose) <= length(&view.target_from_reference) => {
                let view = RelativeView { target_from_reference: pose, ..view };
                self.set_anchor_behind(keyframe, &pose);
                self.hang_on(keyframe, view);
            }
            // The window may have moved the surface of the keyframe that is tracked.
            _ => self.renew_anchor(1.0),
        }
    }

    /// Asks for a keyframe where a frame is, unless an earlier answer is waited for.
    pub(super) fn ask_for_keyframe(&mut self, candidate: Candidate<'_>) {
        if self.is_asked() {
            return;
        }
        self.late.is_urgent = false;
        let is_requested = std::mem::take(&mut self.wants_keyframe);
        let others = self.companions(&candidate);
        let frame = candidate.frame.clone();
        let pending = Pending { frame, others, purpose: Purpose::Keyframe, is_requested };
        self.ask(pending, candidate.world_from_camera);
    }

    /// Asks about the first keyframe once more, together with a frame beside it.
    pub(super) fn ask_to_confirm(&mut self, candidate: Candidate<'_>) {
        if self.is_asked() {
            return;
        }
        let others = Companions::covisible(self.map.keyframes().map(|k| k.id).collect());
        let (frame, purpose) = (candidate.frame.clone(), Purpose::Confirmation);
        let pending = Pending { frame, others, purpose, is_requested: false };
        self.ask(pending, candidate.world_from_camera);
    }

    /// Asks about a new keyframe that has the sensor's geometry, together with others.
    pub(super) fn ask_to_fill(
        &mut self,
        keyframe: KeyframeId,
        candidate: Candidate<'_>,
        others: Companions,
    ) {
        if self.is_asked() {
            return;
        }
        let (frame, purpose) = (candidate.frame.clone(), Purpose::Filling(keyframe));
        let pending = Pending { frame, others, purpose, is_requested: false };
        self.ask(pending, candidate.world_from_camera);
    }

    fn ask(&mut self, pending: Pending, world_from_camera: Se3) {
        let candidate = Candidate { frame: &pending.frame, world_from_camera };
        self.late.questions = self.questions(candidate, &pending.others);
        self.late.pending = Some(pending);
        self.late.latency.note_question();
    }

    /// Whether an answer is waited for.
    fn is_asked(&self) -> bool {
        self.late.pending.is_some() || !self.model.is_here()
    }

    /// Where a frame of late is by the map as it is now.
    pub(super) fn pose_at(&self, stamp: Stamp) -> Option<Se3> {
        let record = self.records.iter().rev().find(|record| record.stamp == stamp)?;
        Some(self.map.get(record.keyframe)?.world_from_camera * record.keyframe_from_camera)
    }

    /// Hangs the frame on the keyframe that it has become.
    fn hang_at(&mut self, stamp: Stamp, keyframe: KeyframeId) {
        let place = self.records.iter().rposition(|record| record.stamp == stamp);
        if let Some(place) = place {
            let keyframe_from_camera = Se3::identity();
            self.records[place] = FrameRecord { stamp, keyframe, keyframe_from_camera };
        }
    }

    /// Hangs the frames that have come since on the new keyframe, as far as they are nearer to it: as
    /// they were tracked, before the map moves.
    fn hang_nearer(&mut self, keyframe: KeyframeId, candidate: Candidate<'_>) {
        let Self { map, records, .. } = self;
        let stamp = candidate.frame.frame.stamp;
        for record in records.iter_mut().rev().take_while(|record| record.stamp > stamp) {
            let Some(before) = map.get(record.keyframe) else { continue };
            let world_from_frame = before.world_from_camera * record.keyframe_from_camera;
            let pose = candidate.world_from_camera.inv_mul(&world_from_frame);
            if Travel::of(&pose).length() <= Travel::of(&record.keyframe_from_camera).length() {
                (record.keyframe, record.keyframe_from_camera) = (keyframe, pose);
            }
        }
    }

    /// An update that tells of keyframes that have come late, too.
    pub(super) fn with_arrivals(&mut self, mut update: MapUpdate) -> MapUpdate {
        let arrived = std::mem::take(&mut self.late.arrived);
        update.new_keyframe = update.new_keyframe.or(arrived.new_keyframe);
        update.loops_closed += usize::from(arrived.loop_closed);
        update
    }
}
