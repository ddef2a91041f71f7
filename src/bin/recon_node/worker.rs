//! The mapping thread: takes frames, maps them, publishes what comes of it.

mod refining;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use recon_node::geometry::Se3;
use recon_node::ros::config::OdometryInput;
use recon_node::ros::files::WHOLE_MAP;
use recon_node::ros::inputs::FrameParts;
use recon_node::ros::mode::Mode;
use recon_node::ros::parameters::Settings;
use recon_node::ros::session::{FrameOutput, Session};
use recon_node::stamp::Stamp;

use crate::map_thread::{MapOutputs, Maps};
use crate::node::NAME;
use crate::outputs::Outputs;
use crate::saving::{load_map, save_at_end, save_map, save_trajectory, save_whole_map};
use crate::shared::{Command, Reply, Shared, Work};
use crate::status::{self, Steps};
use crate::watching::Watching;

/// Seconds between two status messages while no frame comes.
const STATUS_SECS: f64 = 0.5;
/// Seconds that a correction of other odometry holds before it is said again.
const CORRECTION_SECS: f64 = 0.1;
/// How often it is looked whether the threads have ended.
const JOIN_STEP: Duration = Duration::from_millis(5);

/// A mapping thread that runs.
pub struct Worker {
    mapping: JoinHandle<()>,
    map: JoinHandle<()>,
}

struct Mapping {
    shared: Arc<Shared>,
    session: Session,
    settings: Settings,
    outputs: Outputs,
    maps: Maps,
    watching: Watching,
    era: u32,
    sessions: u32,
    steps: Steps,
    camera_frame: String,
    path_is_stale: bool,
    last_path_secs: f64,
    last_status_secs: f64,
    /// Time of the newest frame or odometry with which map from odom was published.
    last_correction: Option<Stamp>,
    /// Who has asked for the refinement that is under way.
    refinement_reply: Option<Reply>,
}

impl Worker {
    /// Starts the threads.
    pub fn start(
        shared: &Arc<Shared>,
        settings: &Settings,
        session: Session,
        outputs: Outputs,
        maps: MapOutputs,
        watching: Watching,
    ) -> Self {
        let (mut maps, map) = Maps::start(maps);
        if session.map_from_world().is_some() {
            maps.note_change();
        }
        let mut mapping = Mapping {
            shared: Arc::clone(shared),
            session,
            settings: settings.clone(),
            outputs,
            maps,
            watching,
            era: shared.lock().inputs.counts().jumps,
            sessions: 0,
            steps: Steps::default(),
            camera_frame: String::new(),
            path_is_stale: false,
            last_path_secs: f64::NEG_INFINITY,
            last_status_secs: f64::NEG_INFINITY,
            last_correction: None,
            refinement_reply: None,
        };
        Self { mapping: std::thread::spawn(move || mapping.run()), map }
    }

    /// Waits for the threads, which end when [`Shared::stop`] was called; returns whether they did
    /// within `patience`, where it has an end.
    pub fn join(self, patience: Option<Duration>) -> bool {
        let begun = Instant::now();
        while !(self.mapping.is_finished() && self.map.is_finished()) {
            if patience.is_some_and(|most| begun.elapsed() > most) {
                return false;
            }
            std::thread::sleep(JOIN_STEP);
        }
        for thread in [self.mapping, self.map] {
            if thread.join().is_err() {
                r2r::log_error!(NAME, "a mapping thread has panicked");
            }
        }
        true
    }
}

impl Mapping {
    fn run(&mut self) {
        loop {
            match self.shared.next() {
                Work::Command(command) => self.obey(command),
                Work::Frame(parts) => {
                    if let Err(error) = self.map_frame(&parts) {
                        self.shared.lock().figures.failure = Some(error.to_string());
                        return;
                    }
                }
                Work::Idle => {}
                Work::Stop => return self.end(),
            }
            self.keep_up();
        }
    }

    fn end(&mut self) {
        if let Some(reply) = self.refinement_reply.take() {
            reply(Err("the mapping has ended".to_owned()));
        }
        save_at_end(&mut self.session, &self.settings.node, "");
        self.watching.end(&self.session);
    }

    fn map_frame(&mut self, parts: &FrameParts) -> recon_node::error::Result<()> {
        let taken_secs = self.shared.now_secs();
        if parts.era != self.era {
            self.begin_era(parts);
        }
        let started = Instant::now();
        let frame = match self.session.decode(parts) {
            Ok(frame) => frame,
            Err(reason) => {
                self.shared.lock().inputs.refuse(reason);
                return Ok(());
            }
        };
        let decoded = started.elapsed().as_secs_f64();
        let prepared = self.session.prepare(&frame);
        let ready = started.elapsed().as_secs_f64();
        let seen = self.watching.wanted(&prepared);
        let output = self.session.process(parts, prepared)?;
        let processed = started.elapsed().as_secs_f64();
        self.camera_frame.clone_from(&parts.color.frame_id);
        // The node may have been deactivated while the frame was mapped.
        let is_active = self.shared.lock().active;
        if is_active {
            self.publish(&output);
        }
        let published = started.elapsed().as_secs_f64();
        self.steps = Steps {
            queue: taken_secs - parts.arrived_secs,
            decode: decoded,
            prepare: ready - decoded,
            process: processed - ready,
            publish: published - processed,
            latency: self.shared.now_secs() - parts.arrived_secs,
        };
        self.note(taken_secs, &output);
        self.watching.show(seen.as_ref(), &output.update, &self.session, self.steps.latency);
        if is_active {
            self.publish_keyframe(&output);
        }
        self.publish_status();
        Ok(())
    }

    /// Time went back: the map of before is kept as a file where one is asked for.
    fn begin_era(&mut self, parts: &FrameParts) {
        let stamp = parts.color.stamp;
        r2r::log_warn!(NAME, "time went back to {stamp}: a new map begins");
        self.era = parts.era;
        let suffix = format!("_session{}", self.sessions);
        save_at_end(&mut self.session, &self.settings.node, &suffix);
        self.restart();
    }

    fn restart(&mut self) {
        self.watching.begin_anew(&self.session);
        self.session.restart();
        self.begin_session();
    }

    fn begin_session(&mut self) {
        self.sessions += 1;
        self.last_correction = None;
        self.shared.lock().figures.report = self.session.report().clone();
        self.note_change();
    }

    fn publish(&mut self, output: &FrameOutput) {
        if let Some(placement) = &output.placement {
            self.outputs.placement(placement, &self.settings.node);
            self.note_change();
            if placement.map_from_odom.is_some() {
                self.last_correction = Some(placement.stamp);
            }
        }
    }

    /// Other odometry still moves the robot where no frame has a pose, or none comes: the last
    /// correction holds, at the time of the newest odometry.
    fn hold_correction(&mut self) {
        // In a map that does not change, a robot that is lost is not said to be anywhere.
        let holds = self.session.report().is_localized() || self.session.mode() == Mode::Mapping;
        if self.settings.node.odometry == OdometryInput::None || !holds {
            return;
        }
        let newest = self.shared.lock().inputs.odometry_stamp();
        let (Some(newest), Some(last), Some(held)) =
            (newest, self.last_correction, self.session.map_from_odom())
        else {
            return;
        };
        if newest.secs_since(last) > CORRECTION_SECS {
            self.outputs.correction(newest, &held, &self.settings.node);
            self.last_correction = Some(newest);
        }
    }

    fn publish_keyframe(&mut self, output: &FrameOutput) {
        let node = &self.settings.node;
        let (Some(_), Some(map_from_world)) =
            (output.update.new_keyframe, self.session.map_from_world())
        else {
            return;
        };
        if let Some(keyframe) = self.session.newest_keyframe() {
            if node.publish_cloud {
                self.outputs.cloud(keyframe, &map_from_world, node);
            }
            if node.publish_depth {
                self.outputs.depth(keyframe, &self.camera_frame);
            }
        }
    }

    fn note(&mut self, taken_secs: f64, output: &FrameOutput) {
        let now_secs = self.shared.now_secs();
        let mut inner = self.shared.lock();
        let figures = &mut inner.figures;
        let left = std::mem::replace(&mut figures.report, self.session.report().clone()).map;
        if let Some(text) = self.session.told_of_map(left) {
            r2r::log_warn!(NAME, "{text}");
        }
        figures.latency.push(self.steps.latency);
        figures.last_frame_secs = Some(taken_secs);
        figures.waiting_for.clear();
        if output.placement.is_some() {
            figures.output_rate.tick(now_secs);
        }
    }

    /// What is published at its own pace.
    fn keep_up(&mut self) {
        let now_secs = self.shared.now_secs();
        if now_secs - self.last_status_secs > STATUS_SECS {
            self.publish_status();
        }
        self.follow_refinement(now_secs);
        let is_active = self.shared.lock().active;
        self.maps.keep_up(&mut self.session, &self.settings, is_active.then_some(now_secs));
        if !is_active {
            return;
        }
        self.hold_correction();
        let is_due = |rate: f64, last: f64| rate > 0.0 && now_secs - last >= 1.0 / rate;
        if self.path_is_stale && is_due(self.settings.node.path_rate, self.last_path_secs) {
            self.publish_path();
            (self.path_is_stale, self.last_path_secs) = (false, now_secs);
        }
    }

    /// What was published of the map is not what it is now.
    fn note_change(&mut self) {
        self.maps.note_change();
        self.path_is_stale = true;
    }

    /// The path and the graph of keyframes, which is corrected when the path is.
    fn publish_path(&mut self) {
        let (stamp, node) = (self.stamp(), &self.settings.node);
        self.outputs.path(stamp, &self.session.path(node.path_max_poses), node);
        let keyframes: Vec<Se3> = self.session.map_from_keyframes().into_values().collect();
        self.outputs.keyframes(stamp, &keyframes, node);
        self.outputs.graph(stamp, &self.session.graph(), node);
    }

    fn publish_status(&mut self) {
        self.last_status_secs = self.shared.now_secs();
        let map_frame = &self.settings.node.map_frame;
        let report = self.session.report();
        let mut message = status::status(&self.shared.lock(), report, &self.steps, map_frame);
        message.session = self.sessions;
        message.mode = self.session.mode().name().to_owned();
        message.localized = report.is_localized();
        message.refining = self.session.is_refining();
        message.window = self.settings.pipeline.window.max_keyframes as u32;
        self.outputs.status(&message);
    }

    fn stamp(&self) -> Stamp {
        self.session.report().stamp.unwrap_or(Stamp::from_nanos(0))
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Reset(reply) => {
                self.restart();
                reply(Ok("a new map begins".to_owned()));
                self.publish_status();
            }
            Command::SaveMap { path, format: WHOLE_MAP, reply } => {
                save_whole_map(&mut self.session, path, reply);
            }
            Command::SaveMap { path, format, reply } => {
                reply(save_map(&mut self.session, &path, format));
            }
            Command::LoadMap { path, recover, reply } => reply(self.load_map(&path, recover)),
            Command::SetMode(mode, reply) => {
                self.session.set_mode(mode);
                reply(Ok(format!("the mode is {}", mode.name())));
                self.publish_status();
            }
            Command::SaveTrajectory(path, reply) => {
                reply(save_trajectory(&self.session, &path));
            }
            Command::Keyframe(reply) => {
                self.session.request_keyframe();
                reply(Ok("the next frame that can be placed well becomes a keyframe".to_owned()));
            }
            Command::Refine(reply) => self.refine(Some(reply)),
            Command::Plan(reply) if self.session.map_from_world().is_some() => {
                self.maps.ask(reply);
            }
            Command::Plan(reply) => reply(Err("there is no map yet".to_owned())),
            Command::InitialPose(map_from_base) => self.move_map(&map_from_base),
            Command::Settings(settings) => {
                self.session.reconfigure(&settings);
                self.settings = *settings;
            }
        }
    }

    fn move_map(&mut self, map_from_base: &Se3) {
        match self.session.set_pose(map_from_base) {
            Ok(()) => {
                self.note_change();
                r2r::log_info!(NAME, "the map was moved to the pose that was given");
            }
            Err(reason) => r2r::log_warn!(NAME, "initialpose is left out: {reason}"),
        }
    }

    fn load_map(&mut self, path: &Path, recover: bool) -> Result<(u32, String), String> {
        self.watching.begin_anew(&self.session);
        let loaded = load_map(&mut self.session, path, recover)?;
        self.begin_session();
        self.publish_status();
        Ok(loaded)
    }
}
