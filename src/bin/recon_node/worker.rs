//! The mapping thread: takes frames, maps them, publishes what comes of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use r2r::Publisher;
use r2r::recon_node::msg::Status;
use r2r::sensor_msgs::msg::PointCloud2;
use recon_node::export::{write_ply, write_trajectory};
use recon_node::geometry::Se3;
use recon_node::inference::Models;
use recon_node::observer::TrackingState;
use recon_node::ros::inputs::FrameParts;
use recon_node::ros::map_cloud::MapSnapshot;
use recon_node::ros::parameters::Settings;
use recon_node::ros::session::{FrameOutput, Session};
use recon_node::stamp::Stamp;

use crate::convert;
use crate::outputs::{Outputs, tell};
use crate::shared::{Command, Shared, Work};

/// Makes the model anew, for each session one.
pub type ModelMaker = fn(&Settings) -> recon_node::error::Result<Models>;

/// Seconds between two status messages while no frame comes.
const STATUS_SECS: f64 = 0.5;

/// A mapping thread that runs.
pub struct Worker {
    mapping: JoinHandle<()>,
    map: JoinHandle<()>,
}

/// The seconds that the steps of a frame took.
#[derive(Default, Clone, Copy)]
struct Steps {
    queue: f64,
    decode: f64,
    prepare: f64,
    process: f64,
    publish: f64,
    latency: f64,
}

struct Mapping {
    shared: Arc<Shared>,
    session: Session,
    settings: Settings,
    make_model: ModelMaker,
    outputs: Outputs,
    map_jobs: SyncSender<MapJob>,
    era: u32,
    sessions: u32,
    steps: Steps,
    camera_frame: String,
    map_is_stale: bool,
    path_is_stale: bool,
    last_map_secs: f64,
    last_path_secs: f64,
    last_status_secs: f64,
}

struct MapJob {
    snapshot: MapSnapshot,
    stamp: Stamp,
    settings: Settings,
}

impl Worker {
    /// Starts the thread, with an empty map.
    ///
    /// # Errors
    /// Where the model cannot be loaded.
    pub fn start(
        shared: &Arc<Shared>,
        settings: &Settings,
        make_model: ModelMaker,
        outputs: Outputs,
        map: Publisher<PointCloud2>,
    ) -> recon_node::error::Result<Self> {
        let model = make_model(settings)?;
        let (map_jobs, jobs) = sync_channel(1);
        let mut mapping = Mapping {
            shared: Arc::clone(shared),
            session: Session::new(settings.clone(), model),
            settings: settings.clone(),
            make_model,
            outputs,
            map_jobs,
            era: shared.lock().inputs.counts().jumps,
            sessions: 0,
            steps: Steps::default(),
            camera_frame: String::new(),
            map_is_stale: false,
            path_is_stale: false,
            last_map_secs: f64::NEG_INFINITY,
            last_path_secs: f64::NEG_INFINITY,
            last_status_secs: f64::NEG_INFINITY,
        };
        Ok(Self {
            mapping: std::thread::spawn(move || mapping.run()),
            map: std::thread::spawn(move || publish_maps(&jobs, &map)),
        })
    }

    /// Waits for the thread, which ends when [`Shared::stop`] was called.
    pub fn join(self) {
        for thread in [self.mapping, self.map] {
            if thread.join().is_err() {
                r2r::log_error!(crate::node::NAME, "a mapping thread has panicked");
            }
        }
    }
}

/// Puts maps together and publishes them, apart from the mapping: that takes its time.
fn publish_maps(jobs: &Receiver<MapJob>, publisher: &Publisher<PointCloud2>) {
    for job in jobs {
        let node = &job.settings.node;
        let cloud = job.snapshot.cloud(node.map_voxel_size, node.map_max_points);
        let header = convert::header(job.stamp, &node.map_frame);
        tell(publisher.publish(&convert::cloud(header, &cloud)));
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
                Work::Stop => return self.finish(),
            }
            self.keep_up();
        }
    }

    fn map_frame(&mut self, parts: &FrameParts) -> recon_node::error::Result<()> {
        let taken_secs = self.shared.now_secs();
        if parts.era != self.era {
            self.begin_era(parts)?;
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
        let output = self.session.process(parts, prepared)?;
        let processed = started.elapsed().as_secs_f64();
        self.camera_frame.clone_from(&parts.color.frame_id);
        self.publish(&output);
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
        self.publish_keyframe(&output);
        self.publish_status();
        Ok(())
    }

    /// Time went back: the map of before is kept as a file where one is asked for.
    fn begin_era(&mut self, parts: &FrameParts) -> recon_node::error::Result<()> {
        let stamp = parts.color.stamp;
        r2r::log_warn!(crate::node::NAME, "time went back to {stamp}: a new map begins");
        self.era = parts.era;
        self.save_on_exit(&format!("_session{}", self.sessions));
        self.restart()
    }

    fn restart(&mut self) -> recon_node::error::Result<()> {
        self.session.restart((self.make_model)(&self.settings)?);
        self.sessions += 1;
        self.shared.lock().figures.report = self.session.report().clone();
        (self.map_is_stale, self.path_is_stale) = (true, true);
        Ok(())
    }

    fn publish(&mut self, output: &FrameOutput) {
        let node = &self.settings.node;
        match (&output.placement, &output.held_map_from_odom) {
            (Some(placement), _) => self.outputs.placement(placement, node),
            // Lost: odometry of others still moves the robot, and needs the last correction.
            (None, Some(held))
                if !matches!(node.odometry, recon_node::ros::config::OdometryInput::None) =>
            {
                self.outputs.correction(output.update.stamp, held, node);
            }
            _ => {}
        }
        self.path_is_stale |= output.placement.is_some();
        self.map_is_stale |= output.placement.is_some();
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
        let keyframes = self.session.pipeline().map().keyframes();
        let poses: Vec<Se3> = keyframes.map(|k| map_from_world * k.world_from_camera).collect();
        self.outputs.keyframes(output.update.stamp, &poses, node);
    }

    fn note(&mut self, taken_secs: f64, output: &FrameOutput) {
        let now_secs = self.shared.now_secs();
        let mut inner = self.shared.lock();
        let figures = &mut inner.figures;
        figures.report = self.session.report().clone();
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
        let is_due = |rate: f64, last: f64| rate > 0.0 && now_secs - last >= 1.0 / rate;
        if self.path_is_stale && is_due(self.settings.node.path_rate, self.last_path_secs) {
            self.publish_path();
            (self.path_is_stale, self.last_path_secs) = (false, now_secs);
        }
        if self.map_is_stale && is_due(self.settings.node.map_rate, self.last_map_secs) {
            self.publish_map();
            self.last_map_secs = now_secs;
        }
    }

    fn publish_path(&mut self) {
        let stamp = self.session.report().stamp.unwrap_or(Stamp::from_nanos(0));
        let poses = self.session.path(self.settings.node.path_max_poses);
        self.outputs.path(stamp, &poses, &self.settings.node);
    }

    fn publish_map(&mut self) {
        let stamp = self.session.report().stamp.unwrap_or(Stamp::from_nanos(0));
        let Some(snapshot) = self.session.map_snapshot() else { return };
        let job = MapJob { snapshot, stamp, settings: self.settings.clone() };
        // While the last map is still being put together, the next one waits for its turn.
        self.map_is_stale = self.map_jobs.try_send(job).is_err();
    }

    fn publish_status(&mut self) {
        self.last_status_secs = self.shared.now_secs();
        self.outputs.status(&self.status());
    }

    fn status(&self) -> Status {
        let inner = self.shared.lock();
        let (counts, figures) = (inner.inputs.counts(), &inner.figures);
        let report = self.session.report();
        let (state, reason) = state_of(&inner);
        let stamp = report.stamp.unwrap_or(Stamp::from_nanos(0));
        Status {
            header: convert::header(stamp, &self.settings.node.map_frame),
            state,
            reason,
            keyframes: report.keyframes,
            loops: report.loops,
            window: self.settings.pipeline.window.max_keyframes as u32,
            session: self.sessions,
            images_received: inner.inputs.image_rate.count(),
            frames_processed: figures.report.processed,
            frames_tracked: figures.report.tracked,
            frames_dropped: counts.dropped,
            images_unpaired: counts.unpaired,
            images_refused: counts.refused,
            scale: 1.0,
            overlap_frac: report.overlap_frac,
            inlier_frac: report.inlier_frac,
            stamp_delay_secs: inner.inputs.stamp_delay.quantile_secs(0.5),
            queue_secs: self.steps.queue,
            decode_secs: self.steps.decode,
            prepare_secs: self.steps.prepare,
            process_secs: self.steps.process,
            publish_secs: self.steps.publish,
            latency_secs: self.steps.latency,
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Reset(reply) => {
                let outcome = self.restart().map(|()| "a new map begins".to_owned());
                reply(outcome.map_err(|error| error.to_string()));
                self.publish_status();
            }
            Command::SaveMap(path, reply) => reply(self.save_map(&path)),
            Command::SaveTrajectory(path, reply) => reply(self.save_trajectory(&path)),
            Command::Keyframe(reply) => {
                self.session.request_keyframe();
                reply(Ok("the next frame that can be placed well becomes a keyframe".to_owned()));
            }
            Command::InitialPose(map_from_base) => self.move_map(&map_from_base),
            Command::Settings(settings) => {
                self.session.reconfigure(&settings);
                self.settings = *settings;
            }
        }
    }

    fn move_map(&mut self, map_from_base: &Se3) {
        match self.session.set_pose(map_from_base) {
            true => {
                (self.map_is_stale, self.path_is_stale) = (true, true);
                r2r::log_info!(crate::node::NAME, "the map was moved to the pose that was given");
            }
            false => r2r::log_warn!(
                crate::node::NAME,
                "initialpose is left out: there is no map yet that could be moved"
            ),
        }
    }

    fn save_map(&self, path: &Path) -> Result<(PathBuf, u64), String> {
        let pipeline = self.session.pipeline();
        let mut cloud = pipeline.map().cloud(&pipeline.config().map);
        let Some(map_from_world) = self.session.map_from_world() else {
            return Err("there is no map yet".to_owned());
        };
        let map_from_world = map_from_world.cast::<f32>();
        cloud.points.iter_mut().for_each(|point| *point = map_from_world * *point);
        write_ply(path, &cloud).map_err(|error| error.to_string())?;
        Ok((absolute(path), cloud.len() as u64))
    }

    fn save_trajectory(&self, path: &Path) -> Result<(PathBuf, u64), String> {
        let trajectory = self.session.trajectory_in_map();
        if trajectory.poses().is_empty() {
            return Err("no frame has a pose yet".to_owned());
        }
        write_trajectory(path, &trajectory).map_err(|error| error.to_string())?;
        Ok((absolute(path), trajectory.poses().len() as u64))
    }

    fn finish(&mut self) {
        self.save_on_exit("");
    }

    fn save_on_exit(&self, suffix: &str) {
        let node = &self.settings.node;
        let files = [
            ("map", &node.save_map_on_exit, Self::save_map as fn(&Self, &Path) -> _),
            ("trajectory", &node.save_trajectory_on_exit, Self::save_trajectory),
        ];
        for (what, path, save) in files.into_iter().filter(|(_, path, _)| !path.is_empty()) {
            match save(self, &with_suffix(Path::new(path), suffix)) {
                Ok((path, _)) => {
                    r2r::log_info!(crate::node::NAME, "the {what} is in {}", path.display());
                }
                Err(reason) => {
                    r2r::log_error!(crate::node::NAME, "the {what} was not saved: {reason}");
                }
            }
        }
    }
}

fn state_of(inner: &crate::shared::Inner) -> (u8, String) {
    let waiting = inner.figures.waiting_for.clone();
    if !inner.active {
        return (Status::INACTIVE as u8, String::new());
    }
    if inner.paused {
        return (Status::PAUSED as u8, String::new());
    }
    match &inner.figures.report.last {
        _ if !waiting.is_empty() => (Status::WAITING as u8, waiting),
        None => (Status::WAITING as u8, "no frame has come yet".to_owned()),
        Some(TrackingState::Initializing(reason)) => (Status::INITIALIZING as u8, reason.clone()),
        Some(TrackingState::Lost(reason)) => (Status::LOST as u8, reason.to_string()),
        Some(_) => (Status::TRACKING as u8, String::new()),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match path.extension() {
        Some(ending) => format!("{stem}{suffix}.{}", ending.to_string_lossy()),
        None => format!("{stem}{suffix}"),
    };
    path.with_file_name(name)
}
