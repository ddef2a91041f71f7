//! From whole frames to what is published: decoding, the pipeline, and the frames of REP 105.

mod maps;

use std::collections::BTreeMap;
use std::sync::Arc;

use nalgebra::Matrix6;

use super::config::OdometryInput;
use super::covariance::in_parent;
use super::frames::{FrameTree, Observed, Placement};
use super::graph::{GraphView, graph_view};
use super::inputs::{FrameParts, image_topic};
use super::map_cloud::{MapSamples, MapSnapshot};
use super::mode::Mode;
use super::parameters::Settings;
use super::refinement::Refinements;
use super::report::Report;
use crate::error::Result;
use crate::frame::Frame;
use crate::geometry::Se3;
use crate::inference::Models;
use crate::keyframe::{Keyframe, KeyframeId};
use crate::messages::decoding;
use crate::observer::{MapUpdate, MapView};
use crate::pipeline::{Pipeline, PreparedFrame, Refined, prepare};
use crate::runtime::{Answers, Pace, Stopwatch};
use crate::stamp::Stamp;
use crate::trajectory::{StampedPose, Trajectory};

/// A session: one map, from its first frame until it is reset.
pub struct Session {
    settings: Settings,
    pipeline: Pipeline,
    answers: Answers,
    tree: FrameTree,
    samples: MapSamples,
    next_id: u64,
    report: Report,
    /// The robot in the newest frame's camera.
    camera_from_base: Option<Se3>,
    firmness: Firmness,
    refinements: Refinements,
    /// The map that frames were placed in last, and where the session's others stand.
    map: u32,
    others: BTreeMap<u32, Se3>,
    /// On the model.
    stopwatch: Stopwatch,
}

/// How firmly things stand in the world, as covariances of left perturbations.
#[derive(Debug, Clone, Default)]
struct Firmness {
    /// The keyframe of the newest frame.
    keyframe: Option<KeyframeId>,
    /// That keyframe relative to the first one.
    covariance: Matrix6<f64>,
    /// The newest frame relative to its keyframe.
    frame_covariance: Matrix6<f64>,
}

/// What there is to publish of a frame.
#[derive(Debug, Clone)]
pub struct FrameOutput {
    /// What the pipeline says.
    pub update: MapUpdate,
    /// Where everything is, for a frame with a pose.
    pub placement: Option<Placement>,
}

impl Session {
    /// Returns a session without a map.
    pub fn new(settings: Settings, models: impl Into<Models>) -> Self {
        let tree = FrameTree::new(settings.node.odometry == OdometryInput::None);
        let stopwatch = Stopwatch::default();
        let Models { geometry, features } = models.into();
        let report = Report { model: geometry.name(), ..Report::default() };
        let models = Models { geometry: stopwatch.on(geometry), features };
        let mut pipeline = Pipeline::new(settings.pipeline.clone(), models);
        Self {
            answers: Answers::new(Pace::WhenThere, &mut pipeline),
            pipeline,
            settings,
            tree,
            samples: MapSamples::default(),
            next_id: 0,
            report,
            camera_from_base: None,
            firmness: Firmness::default(),
            refinements: Refinements::default(),
            map: 0,
            others: BTreeMap::new(),
            stopwatch,
        }
    }

    /// Begins anew with an empty map; our own odometry goes on, since it must not jump.
    pub fn restart(&mut self) {
        self.pipeline.restart();
        self.firmness = Firmness::default();
        self.tree.restart_map();
        self.forget_maps();
        self.report.begin_map(0);
    }

    /// Goes on mapping, or leaves the map as it is from now on.
    pub fn set_mode(&mut self, mode: Mode) {
        self.pipeline.set_localization_only(mode == Mode::Localization);
    }

    /// Returns what is done with frames.
    pub fn mode(&self) -> Mode {
        match self.pipeline.config().map.localization_only {
            true => Mode::Localization,
            false => Mode::Mapping,
        }
    }

    /// Takes over settings that may change while the node runs.
    pub fn reconfigure(&mut self, settings: &Settings) {
        self.settings = settings.clone();
    }

    /// Returns the frame that the messages hold.
    ///
    /// # Errors
    /// One sentence, where an image cannot be read or does not fit the others.
    pub fn decode(&self, parts: &FrameParts) -> Result<Frame, String> {
        let node = &self.settings.node;
        let topic = image_topic("image", node.image_transport, false);
        let color = decoding::color(&topic, &parts.color.data)?;
        let topic = image_topic("depth", node.depth_transport, true);
        let depth = parts
            .depth
            .as_ref()
            .map(|depth| decoding::depth(&topic, &depth.data, node.depth_scale))
            .transpose()?;
        let frame = Frame {
            id: self.next_id,
            stamp: parts.color.stamp,
            color: Arc::new(color),
            depth: depth.map(Arc::new),
            camera: parts.camera,
            odometry: parts.odometry,
        };
        frame.checked().map_err(|error| error.to_string())
    }

    /// Returns the frame at working size, or why that cannot be; see [`prepare`].
    ///
    /// # Errors
    /// As [`prepare`].
    pub fn prepare(&self, frame: &Frame) -> Result<PreparedFrame> {
        prepare(frame, self.pipeline.config())
    }

    /// Places a frame in the map and on the robot.
    ///
    /// # Errors
    /// What no later frame can mend.
    pub fn process(
        &mut self,
        parts: &FrameParts,
        prepared: Result<PreparedFrame>,
    ) -> Result<FrameOutput> {
        self.answers.before_frame(&mut self.pipeline)?;
        let update = match prepared {
            Ok(frame) => self.pipeline.process_prepared(&frame)?,
            Err(reason) => {
                self.pipeline.refuse(self.next_id, parts.color.stamp, reason.to_string())
            }
        };
        self.answers.after_frame(&mut self.pipeline);
        self.next_id += 1;
        self.report.note(&update, self.stopwatch.figures());
        if update.map != self.map {
            self.change_map(update.map);
        }
        let placement = update.world_from_camera.map(|pose| self.place(parts, &update, pose));
        Ok(FrameOutput { update, placement })
    }

    /// Makes a keyframe of the next frame with a pose.
    pub fn request_keyframe(&mut self) {
        self.pipeline.request_keyframe();
    }

    /// Begins to refine the whole map while frames go on; returns the number of its keyframes.
    ///
    /// # Errors
    /// As [`Refinements::begin`].
    pub fn begin_refinement(&mut self) -> Result<usize, String> {
        self.refinements.begin(&self.pipeline)
    }

    /// Returns whether a refinement is under way.
    pub fn is_refining(&self) -> bool {
        self.refinements.is_running()
    }

    /// Returns whether it is time for a refinement that nobody has asked for.
    pub fn refinement_is_due(&mut self, now_secs: f64) -> bool {
        let (count, after_secs) = (self.pipeline.map().len(), self.settings.node.refine_when_idle);
        self.refinements.is_due(count, now_secs, after_secs)
    }

    /// Takes over a refinement that is done, if there is one; the next frame's correction of
    /// odometry is by the refined map. See [`Refinements::finish`].
    pub fn finish_refinement(&mut self) -> Option<Result<Refined, String>> {
        let finished = self.refinements.finish(&mut self.pipeline)?;
        self.firmness.keyframe = None;
        Some(finished)
    }

    /// Moves the map so that the robot is where somebody says.
    ///
    /// # Errors
    /// One sentence, before the first frame, and in localization: there the map stands where it
    /// stands, and the robot is looked for in it.
    pub fn set_pose(&mut self, map_from_base: &Se3) -> Result<(), String> {
        if self.mode() == Mode::Localization {
            return Err("in localization the robot is recognised in the map".to_owned());
        }
        let moved = self.tree.set_pose(map_from_base);
        moved.then_some(()).ok_or_else(|| "there is no map yet that could be moved".to_owned())
    }

    /// Returns what the session has come to.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Returns the pipeline.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Returns the map with all that observers may look at.
    pub fn view(&self) -> MapView<'_> {
        MapView { map_from_world: self.map_from_world(), ..self.pipeline.view() }
    }

    /// Returns the pipeline's world in the map, once there is a map.
    pub fn map_from_world(&self) -> Option<Se3> {
        self.tree.map_from_world().copied()
    }

    /// Returns the latest correction of odometry, once there is one.
    pub fn map_from_odom(&self) -> Option<Se3> {
        self.tree.map_from_odom().copied()
    }

    /// Returns all that is needed to put the published map together; an empty one before there is
    /// a map.
    pub fn map_snapshot(&mut self) -> MapSnapshot {
        let map_from_world = self.tree.map_from_world().copied().unwrap_or_else(Se3::identity);
        let voxel_m = self.settings.node.map_voxel_size;
        self.samples.snapshot(self.pipeline.map(), &map_from_world, voxel_m)
    }

    /// Returns the cameras of all keyframes in the map.
    pub fn map_from_keyframes(&self) -> BTreeMap<KeyframeId, Se3> {
        let Some(map_from_world) = self.tree.map_from_world() else { return BTreeMap::new() };
        let keyframes = self.pipeline.map().keyframes();
        keyframes.map(|k| (k.id, map_from_world * k.world_from_camera)).collect()
    }

    /// Returns the graph of keyframes in the map.
    pub fn graph(&self) -> GraphView {
        let covisible = self.pipeline.covisibility().edges();
        graph_view(&self.map_from_keyframes(), covisible, self.pipeline.constraints())
    }

    /// Returns the poses of all frames by the map as it is now: the camera in the map.
    pub fn trajectory_in_map(&self) -> Trajectory {
        self.thinned_trajectory(usize::MAX)
    }

    /// Returns the robot's path in the map, thinned out evenly to at most `max_poses`; the newest
    /// pose is always in it.
    pub fn path(&self, max_poses: usize) -> Vec<(Stamp, Se3)> {
        let Some(camera_from_base) = self.camera_from_base else { return Vec::new() };
        let trajectory = self.thinned_trajectory(max_poses);
        let robot = |pose: &StampedPose| (pose.stamp, pose.world_from_camera * camera_from_base);
        trajectory.poses().iter().map(robot).collect()
    }

    fn thinned_trajectory(&self, max_poses: usize) -> Trajectory {
        let Some(map_from_world) = self.tree.map_from_world() else { return Trajectory::default() };
        let in_map = |pose: &StampedPose| StampedPose {
            world_from_camera: map_from_world * pose.world_from_camera,
            ..*pose
        };
        let thinned = self.pipeline.thinned_trajectory(max_poses);
        Trajectory::new(thinned.poses().iter().map(in_map).collect())
    }

    /// Returns the newest keyframe.
    pub fn newest_keyframe(&self) -> Option<&Keyframe> {
        self.pipeline.map().keyframes().last()
    }

    fn place(&mut self, parts: &FrameParts, update: &MapUpdate, pose: Se3) -> Placement {
        if update.keyframes == 1 && update.new_keyframe.is_some() {
            // A map that takes the place of one that was of no use: its world begins here.
            self.tree.change_map(None);
            self.firmness = Firmness::default();
        }
        self.camera_from_base = Some(parts.base_from_camera.inverse());
        let odom_from_camera = parts.odometry.map(|prior| prior.odom_from_camera);
        let keyframe_covariance_in_world = self.keyframe_covariance(update);
        self.tree.update(&Observed {
            stamp: update.stamp,
            world_from_camera: pose,
            previous_from_camera: update.previous_from_camera,
            base_from_camera: parts.base_from_camera,
            odom_from_base: odom_from_camera.map(|odom| odom * parts.base_from_camera.inverse()),
            covariance_in_world: self.covariance_in_world(update),
            keyframe_covariance_in_world,
            is_keyframe: update.new_keyframe.is_some(),
        })
    }

    /// How firmly the frame's keyframe stands. What it takes to know that is done again only where
    /// the graph or the keyframe has changed. A keyframe that no constraint ties to the others was
    /// placed by a frame, and stands no firmer than that frame did.
    fn keyframe_covariance(&mut self, update: &MapUpdate) -> Matrix6<f64> {
        let Some(id) = update.keyframe else { return self.firmness.covariance };
        let has_changed = update.new_keyframe.is_some() || update.loops_closed > 0;
        if self.firmness.keyframe != Some(id) || has_changed {
            let last = self.firmness.covariance + self.firmness.frame_covariance;
            let covariance = self.pipeline.keyframe_covariance(id).unwrap_or(last);
            (self.firmness.keyframe, self.firmness.covariance) = (Some(id), covariance);
        }
        self.firmness.frame_covariance = self.covariance_in_world(update);
        self.firmness.covariance
    }

    fn covariance_in_world(&self, update: &MapUpdate) -> Matrix6<f64> {
        let keyframe = update.keyframe.and_then(|id| self.pipeline.map().get(id));
        match (keyframe, &update.covariance) {
            (Some(keyframe), Some(covariance)) => {
                in_parent(covariance, &keyframe.world_from_camera)
            }
            _ => Matrix6::zeros(),
        }
    }
}
