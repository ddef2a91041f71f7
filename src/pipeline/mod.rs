//! The pipeline: what happens to a frame, in order. Read [`Pipeline::process`] first.
//!
//! A function of its inputs: no files, clocks or threads of its own, so two replays of one
//! recording are identical, bit for bit.

mod asking;
mod calibrating;
mod companions;
mod depth_offset;
mod drift;
mod foreseeing;
mod gating;
mod hindsight;
mod inferring;
mod joining;
mod keyframing;
mod late;
mod learned;
mod localizing;
mod locate;
mod looping;
mod mapping;
mod measuring;
mod merging;
mod odometry;
mod prepare;
mod priors;
mod pruning;
mod recognizing;
mod refine_job;
mod refining;
mod revisits;
mod scale_drift;
mod scaling;
mod snapshot;
mod stopgap;
mod submaps;
mod working_size;

use std::collections::{BTreeMap, BTreeSet};

use nalgebra::{Matrix6, Vector6};

use crate::config::Config;
use crate::constraint::Constraint;
use crate::dense_residual::RelativeView;
use crate::error::{Error, Result};
use crate::frame::{Frame, OdometryPrior};
use crate::geometry::Se3;
use crate::inference::Models;
use crate::keyframe::KeyframeId;
use crate::map::GlobalMap;
use crate::observer::{MapUpdate, MapView, TrackingState};
use crate::pose_graph::PoseGraph;
use crate::recognition::{Recognizer, Sighting};
use crate::reference::Reference;
use crate::stamp::Stamp;
use crate::tracking::{LostReason, Tracked, Tracker};
use crate::trajectory::{StampedPose, Trajectory};
use crate::window::{CovisibilityGraph, Places};

pub use depth_offset::DepthOffset;
use depth_offset::OffsetWatch;
use drift::Travel;
use hindsight::Hindsight;
pub use joining::Joined;
use late::{Late, ModelPlace};
pub use late::{WindowJob, WindowOutcome};
pub use learned::{GeoReference, LearnedSnapshot};
use localizing::Fix;
pub use localizing::Localization;
use odometry::{Odometer, OdometryMark};
pub use prepare::{PreparedFrame, prepare};
use priors::Inferring;
pub use refine_job::{RefineJob, RefineOutcome};
pub use refining::Refined;
pub use snapshot::{GraphSnapshot, KeyframeSnapshot, MapSnapshot};
use stopgap::Stopgap;
use submaps::Submaps;

/// Frames, some seconds of them, after which a keyframe that nothing was compared with gives up its
/// pyramid.
const FRAMES_BETWEEN_SWEEPS: usize = 300;

/// Turns frames into poses and a map.
pub struct Pipeline {
    config: Config,
    model: ModelPlace,
    tracker: Tracker,
    map: GlobalMap,
    covisibility: CovisibilityGraph,
    /// Where the keyframes stand.
    places: Places,
    pose_graph: PoseGraph,
    /// Pairs of keyframes, the newer first, that constraints tie together across a gap.
    long_ties: BTreeSet<(KeyframeId, KeyframeId)>,
    anchor: Option<Anchor>,
    motion: Option<Motion>,
    /// Frames without a pose since the last one with a pose.
    lost_frames: usize,
    records: Vec<FrameRecord>,
    /// Frames that were placed in earlier sessions, by session.
    past_sessions: Vec<Vec<FrameRecord>>,
    /// The world in the frame that is shown to others, where one is chosen.
    map_from_world: Option<Se3>,
    /// Where on Earth that frame's origin is, where it is known.
    georeference: Option<GeoReference>,
    /// The last frame with a pose, as far as it still says where the camera is.
    fix: Option<Fix>,
    /// How far odometry has led the camera, in all maps.
    odometer: Odometer,
    /// The map's last frame with a pose, as far as odometry knows it.
    mark: Option<OdometryMark>,
    /// Frames since pyramids were last looked through.
    frames_since_sweep: usize,
    /// Whether the next frame with a pose is to become a keyframe.
    wants_keyframe: bool,
    /// What knows places again, where there is an extractor of features.
    recognizer: Option<Recognizer>,
    /// What is remembered of the model's windows.
    inferring: Inferring,
    /// The window whose answer is yet to come, where answers are not waited for.
    late: Late,
    /// What is known of the depth sensor's offset.
    offset_watch: OffsetWatch,
    /// Frames of late, for the next keyframe.
    hindsight: Hindsight,
    /// How far the camera has come.
    travel: Travel,
    /// The session's other maps.
    submaps: Submaps,
    /// Loops that keyframes of late saw and nothing has borne out yet, in order.
    suspected: Vec<(KeyframeId, Sighting)>,
}

/// The keyframe that frames are tracked against.
struct Anchor {
    keyframe: KeyframeId,
    /// The points of the keyframe, or of what stands in for one that is yet to come.
    reference: Reference,
    stopgap: Option<Stopgap>,
}

/// The last frame with a pose, and how the camera was moving.
struct Motion {
    stamp: Stamp,
    /// The frame relative to the anchor.
    view: RelativeView,
    /// Twist per second, `frame_from_previous = exp(velocity * seconds)`.
    velocity: Vector6<f64>,
    odometry: Option<OdometryPrior>,
}

/// A placed frame: it hangs on a keyframe, so that it moves when the map is aligned anew.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameRecord {
    /// Time of the frame.
    pub stamp: Stamp,
    /// The keyframe that it hangs on.
    pub keyframe: KeyframeId,
    /// Pose of its camera in that keyframe.
    pub keyframe_from_camera: Se3,
}

/// What tracking says of a frame.
enum Location {
    /// There is no map yet.
    Unmapped,
    Tracked(Tracked),
    Relocalized(Tracked),
    /// Several keyframes agree, from too far for tracking.
    Recognized(Vec<Sighting>),
    Lost(LostReason),
}

impl Pipeline {
    /// Returns a pipeline with an empty map.
    pub fn new(config: Config, models: impl Into<Models>) -> Self {
        let Models { geometry: model, features } = models.into();
        let recognition = &config.recognition;
        let recognizer = features
            .filter(|_| recognition.enabled)
            .map(|extractor| Recognizer::new(recognition.clone(), extractor));
        Self {
            tracker: Tracker::new(config.tracking.clone(), config.sensor.noise()),
            offset_watch: OffsetWatch::new(config.sensor.depth_offset_m),
            map: GlobalMap::of_sensor(config.sensor.noise()),
            config,
            model: ModelPlace::new(model),
            covisibility: CovisibilityGraph::default(),
            places: Places::default(),
            pose_graph: PoseGraph::default(),
            long_ties: BTreeSet::new(),
            anchor: None,
            motion: None,
            lost_frames: 0,
            records: Vec::new(),
            past_sessions: Vec::new(),
            map_from_world: None,
            georeference: None,
            fix: None,
            odometer: Odometer::default(),
            mark: None,
            frames_since_sweep: 0,
            wants_keyframe: false,
            recognizer,
            inferring: Inferring::default(),
            late: Late::default(),
            hindsight: Hindsight::default(),
            travel: Travel::default(),
            submaps: Submaps::default(),
            suspected: Vec::new(),
        }
    }

    /// Places a frame, and grows and corrects the map where the frame calls for it; returns what
    /// has become of it.
    ///
    /// # Errors
    /// What no later frame can mend; a frame that cannot be placed is no error.
    pub fn process(&mut self, frame: &Frame) -> Result<MapUpdate> {
        match prepare(frame, &self.config) {
            Ok(prepared) => self.process_prepared(&prepared),
            Err(reason) => Ok(self.refuse(frame.id, frame.stamp, reason.to_string())),
        }
    }

    /// The same for a frame that [`prepare`] has made ready, maybe on another thread.
    ///
    /// # Errors
    /// As [`Pipeline::process`].
    pub fn process_prepared(&mut self, frame: &PreparedFrame) -> Result<MapUpdate> {
        let corrected = self.corrected(frame);
        let frame = corrected.as_ref().unwrap_or(frame);
        if frame.frame.camera.is_some() {
            return self.process_calibrated(frame);
        }
        match self.calibrated(frame) {
            Ok(calibrated) => self.process_calibrated(&calibrated),
            Err(reason @ Error::MissingInput { .. }) => {
                Ok(self.refuse(frame.frame.id, frame.frame.stamp, reason.to_string()))
            }
            Err(fatal) => Err(fatal),
        }
    }

    fn process_calibrated(&mut self, frame: &PreparedFrame) -> Result<MapUpdate> {
        self.late.latency.note_frame(frame.frame.stamp);
        self.follow_odometry(&frame.frame);
        let location = self.locate(frame);
        let update = match self.config.map.localization_only {
            true => self.localize(frame, location)?,
            false => self.map_frame(frame, location)?,
        };
        self.note_fix(&frame.frame, &update);
        let mut update = self.with_arrivals(update);
        self.join_what_is_seen(&mut update);
        self.mark_by_odometry(&frame.frame);
        self.forget_what_is_far_away();
        Ok(update)
    }

    /// Gives up the pyramids that no frame of late had to do with.
    fn forget_what_is_far_away(&mut self) {
        self.frames_since_sweep += 1;
        if self.frames_since_sweep >= FRAMES_BETWEEN_SWEEPS {
            self.frames_since_sweep = 0;
            self.map.forget_unused_pyramids();
            self.submaps.forget_unused_pyramids();
        }
    }

    /// Places a frame, and grows the map by it.
    fn map_frame(&mut self, frame: &PreparedFrame, location: Location) -> Result<MapUpdate> {
        let location = match location {
            Location::Unmapped | Location::Lost(_) => self.found_aside(frame).unwrap_or(location),
            placed => placed,
        };
        match location {
            Location::Unmapped => self.begin_map(frame),
            Location::Recognized(sightings) => self.take_up(frame, &sightings),
            Location::Lost(reason) => Ok(self.lose(frame, reason)),
            Location::Tracked(tracked) if self.lost_frames == 0 => {
                self.extend_map(frame, &tracked, TrackingState::Tracking)
            }
            Location::Tracked(tracked) | Location::Relocalized(tracked) => {
                self.extend_map(frame, &tracked, TrackingState::Relocalized)
            }
        }
    }

    /// Makes a keyframe of the next frame that has a pose and good evidence for it.
    pub fn request_keyframe(&mut self) {
        self.wants_keyframe = true;
    }

    /// Returns the map.
    pub fn map(&self) -> &GlobalMap {
        &self.map
    }

    /// Returns the map with all that observers may look at.
    pub fn view(&self) -> MapView<'_> {
        MapView {
            map: &self.map,
            covisibility: &self.covisibility,
            pose_graph: &self.pose_graph,
            loops: &self.long_ties,
            map_from_world: self.map_from_world,
        }
    }

    /// Returns which keyframes see the same things.
    pub fn covisibility(&self) -> &CovisibilityGraph {
        &self.covisibility
    }

    /// Returns what ties the keyframes together.
    pub fn constraints(&self) -> impl Iterator<Item = &Constraint> {
        self.pose_graph.constraints()
    }

    /// Returns how firmly a keyframe stands relative to the first one, as the covariance of a left
    /// perturbation of its pose, `[omega, nu]`; `None` where no constraints tie the two.
    pub fn keyframe_covariance(&self, id: KeyframeId) -> Option<Matrix6<f64>> {
        let poses: BTreeMap<KeyframeId, Se3> =
            self.map.keyframes().map(|k| (k.id, k.world_from_camera)).collect();
        let first = *poses.keys().next()?;
        if id == first {
            return Some(Matrix6::zeros());
        }
        self.pose_graph.marginals(&poses, first, &self.config.pose_graph)?.covariance(id)
    }

    /// Returns the configuration in use.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the poses of all frames of this session that have one, by the map as it is now.
    pub fn trajectory(&self) -> Trajectory {
        self.thinned_trajectory(usize::MAX)
    }

    /// Returns the same, thinned out evenly to at most `max_poses`, the newest among them; what is
    /// left out costs nothing.
    pub fn thinned_trajectory(&self, max_poses: usize) -> Trajectory {
        let every = self.records.len().div_ceil(max_poses.max(1)).max(1);
        let placed = self.records.iter().rev().step_by(every).filter_map(|record| {
            let keyframe = self.map.get(record.keyframe)?;
            Some(StampedPose {
                stamp: record.stamp,
                world_from_camera: keyframe.world_from_camera * record.keyframe_from_camera,
            })
        });
        let mut poses: Vec<StampedPose> = placed.collect();
        // Of several with one stamp the first counts, and the sort keeps their order.
        poses.reverse();
        Trajectory::new(poses)
    }
}
