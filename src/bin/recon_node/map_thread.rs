//! The published map and its plan: when they are put together, and the thread that does it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use r2r::nav_msgs::msg::OccupancyGrid;
use r2r::sensor_msgs::msg::PointCloud2;
use r2r::{Node, Publisher};
use recon_node::cloud::SurfaceCloud;
use recon_node::ros::grid;
use recon_node::ros::map_cloud::MapSnapshot;
use recon_node::ros::parameters::Settings;
use recon_node::ros::session::Session;
use recon_node::stamp::Stamp;

use crate::convert;
use crate::node::NAME;
use crate::outputs::{latched, tell};

/// Maps are put together in at most one part of so many of the time.
const SHARE: u32 = 5;

/// The plan of the map, or why there is none.
type Plan = Result<OccupancyGrid, String>;
/// Takes the plan of the map.
pub type PlanReply = Box<dyn FnOnce(Plan) + Send>;

/// The topics of the map.
#[derive(Clone)]
pub struct MapOutputs {
    cloud: Publisher<PointCloud2>,
    grid: Publisher<OccupancyGrid>,
}

impl MapOutputs {
    /// Returns the publishers.
    pub fn new(node: &mut Node) -> r2r::Result<Self> {
        Ok(Self { cloud: latched(node, "~/map")?, grid: latched(node, "~/grid")? })
    }
}

/// A map to be put together, and who has asked for its plan.
struct Job {
    task: Task,
    replies: Vec<PlanReply>,
}

/// What a map is put together from, and what of it is published.
struct Task {
    /// The samples of its keyframes, and where they stand.
    snapshot: MapSnapshot,
    /// Time of the newest frame in it.
    stamp: Stamp,
    settings: Settings,
    wants_cloud: bool,
    wants_grid: bool,
}

/// Says when the map is put together: where it has changed and somebody listens, within the rate
/// that is set.
pub struct Maps {
    jobs: SyncSender<Job>,
    outputs: MapOutputs,
    cloud_is_stale: bool,
    grid_is_stale: bool,
    last_secs: f64,
    replies: Vec<PlanReply>,
    /// Microseconds that the last map took.
    spent_micros: Arc<AtomicU64>,
}

impl Maps {
    /// Starts the thread, which ends with what is returned first.
    pub fn start(outputs: MapOutputs) -> (Self, JoinHandle<()>) {
        let (jobs, received) = sync_channel(1);
        let spent_micros: Arc<AtomicU64> = Arc::default();
        let (published, spent) = (outputs.clone(), Arc::clone(&spent_micros));
        let thread = std::thread::spawn(move || publish_maps(&received, &published, &spent));
        let maps = Self {
            jobs,
            outputs,
            cloud_is_stale: false,
            grid_is_stale: false,
            last_secs: f64::NEG_INFINITY,
            replies: Vec::new(),
            spent_micros,
        };
        (maps, thread)
    }

    /// Takes note that the map is not what was published.
    pub fn note_change(&mut self) {
        (self.cloud_is_stale, self.grid_is_stale) = (true, true);
    }

    /// Has the plan of the map made for somebody who asks.
    pub fn ask(&mut self, reply: PlanReply) {
        self.replies.push(reply);
    }

    /// Has the map put together where it is time for it; `now_secs` while it is to be published.
    pub fn keep_up(&mut self, session: &mut Session, settings: &Settings, now_secs: Option<f64>) {
        let is_due = now_secs.is_some_and(|now| self.is_due(now, settings.node.map_rate));
        let has_map = session.map_from_world().is_some();
        let wants_grid = is_due && has_map && settings.node.publish_grid && self.grid_is_wanted();
        let wants_cloud = is_due && self.cloud_is_stale && is_heard(&self.outputs.cloud);
        if !wants_cloud && !wants_grid && self.replies.is_empty() {
            return;
        }
        self.last_secs = now_secs.unwrap_or(self.last_secs);
        let task = Task {
            snapshot: session.map_snapshot(),
            stamp: session.report().stamp.unwrap_or(Stamp::from_nanos(0)),
            settings: settings.clone(),
            wants_cloud,
            wants_grid,
        };
        match self.jobs.try_send(Job { task, replies: std::mem::take(&mut self.replies) }) {
            Ok(()) => {
                self.cloud_is_stale &= !wants_cloud;
                self.grid_is_stale &= !wants_grid;
            }
            // While the last map is still being put together, the next one waits for its turn.
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
                self.replies = job.replies;
            }
        }
    }

    fn is_due(&self, now_secs: f64, rate: f64) -> bool {
        let spent = Duration::from_micros(self.spent_micros.load(Ordering::Relaxed)) * SHARE;
        let pause_secs = spent.as_secs_f64().max(1.0 / rate);
        rate > 0.0 && now_secs - self.last_secs >= pause_secs
    }

    fn grid_is_wanted(&self) -> bool {
        self.grid_is_stale && is_heard(&self.outputs.grid)
    }
}

fn is_heard<T: r2r::WrappedTypesupport + 'static>(publisher: &Publisher<T>) -> bool {
    publisher.get_inter_process_subscription_count().is_ok_and(|count| count > 0)
}

/// Puts maps together and publishes them, apart from the mapping: that takes its time. It takes
/// one core for it, and leaves the others to the mapping.
fn publish_maps(jobs: &Receiver<Job>, outputs: &MapOutputs, spent_micros: &AtomicU64) {
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let mut told = String::new();
    for job in jobs {
        let begun = Instant::now();
        let (task, wants_plan) = (&job.task, job.task.wants_grid || !job.replies.is_empty());
        let work = || task.done(wants_plan);
        let (cloud, plan) = match &alone {
            Ok(alone) => alone.install(work),
            Err(_) => work(),
        };
        spent_micros.store(begun.elapsed().as_micros() as u64, Ordering::Relaxed);
        if let Some(cloud) = &cloud {
            tell(outputs.cloud.publish(cloud));
        }
        if let Some(plan) = plan {
            publish_plan(job, plan, outputs, &mut told);
        }
    }
}

/// Why there is no plan is said where it is new.
fn publish_plan(job: Job, plan: Plan, outputs: &MapOutputs, told: &mut String) {
    match &plan {
        Ok(plan) if job.task.wants_grid => tell(outputs.grid.publish(plan)),
        Err(reason) if *reason != *told => {
            r2r::log_warn!(NAME, "there is no ~/grid: {reason}");
            told.clone_from(reason);
        }
        _ => {}
    }
    job.replies.into_iter().for_each(|reply| reply(plan.clone()));
}

impl Task {
    /// Returns what is published, as far as it is wanted.
    fn done(&self, wants_plan: bool) -> (Option<PointCloud2>, Option<Plan>) {
        let Settings { node, pipeline } = &self.settings;
        let (voxel_m, most) = (node.map_voxel_size, node.map_max_points);
        let surface = self.snapshot.surface(voxel_m, most, &pipeline.map);
        let header = convert::header(self.stamp, &node.map_frame);
        let cloud = self.wants_cloud.then(|| convert::cloud(header, &surface.cloud));
        (cloud, wants_plan.then(|| self.plan(&surface)))
    }

    fn plan(&self, surface: &SurfaceCloud) -> Plan {
        let node = &self.settings.node;
        let config = grid::config_of(node)?;
        let plan = self.snapshot.plan(surface, &config).map_err(|error| error.to_string())?;
        Ok(convert::grid(self.stamp, &node.map_frame, &plan))
    }
}
