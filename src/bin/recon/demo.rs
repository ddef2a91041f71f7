//! `recon demo`: a built-in recording whose truth is known.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use recon_node::cloud::PointCloud;
use recon_node::evaluation::{MapOptions, TrajectoryEvaluation, evaluate_map};
use recon_node::export::RecordingWriter;
use recon_node::simulator::{Simulator, SimulatorConfig, World};
use recon_node::source::{FrameSource, SourceItem};

use crate::report::MapFigures;
use crate::session::{self, SessionArgs};

/// A world to record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Scene {
    /// A furnished room
    Room,
    /// The same room, and a box that moves through it
    MovingBox,
    /// Three rooms that are exactly alike, along a corridor
    Corridor,
    /// A corridor round a square of ten metres
    Building,
}

impl Scene {
    fn world(self) -> World {
        match self {
            Self::Room => World::Room,
            Self::MovingBox => World::MovingBox,
            Self::Corridor => World::Corridor { rooms: 3 },
            Self::Building => World::Building { side_m: 10.0 },
        }
    }
}

/// What `recon demo` is asked.
#[derive(clap::Args)]
pub struct Args {
    /// What to record
    #[arg(long, value_enum, default_value_t = Scene::Room)]
    scene: Scene,
    /// Length of the recording in seconds [default: one round; in the room that is 20]
    #[arg(long, value_name = "SECS")]
    duration: Option<f64>,
    /// Seed of textures and noise
    #[arg(long, value_name = "N", default_value_t = SimulatorConfig::default().seed)]
    seed: u64,
    /// Write the recording into this folder, in TUM RGB-D layout, and map nothing
    #[arg(long, value_name = "DIR")]
    recording: Option<PathBuf>,
    #[command(flatten)]
    session: SessionArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let round = SimulatorConfig::round_of(args.scene.world());
    let duration_secs = args.duration.unwrap_or(round.duration_secs);
    let config = SimulatorConfig { duration_secs, seed: args.seed, ..round };
    if let Some(folder) = &args.recording {
        return record(Simulator::new(config)?, folder);
    }
    let truth = Simulator::new(config.clone())?;
    let judge = |cloud: &PointCloud, evaluation: &TrajectoryEvaluation| {
        judge_map(&truth, cloud, evaluation)
    };
    session::run(&mut Simulator::new(config)?, &args.session, Some(&judge))
}

/// Leaves the recording itself, for those who want to replay it some other way.
fn record(mut simulator: Simulator, folder: &Path) -> anyhow::Result<()> {
    let mut writer = RecordingWriter::new(folder)?;
    while let Some(item) = simulator.next_item()? {
        if let SourceItem::Frame(frame) = item {
            writer.add(&frame)?;
        }
    }
    Ok(writer.finish(simulator.info().reference.as_ref())?)
}

/// Accuracy against the exact surface; completion against points on the surface that was seen.
fn judge_map(
    truth: &Simulator,
    cloud: &PointCloud,
    evaluation: &TrajectoryEvaluation,
) -> MapFigures {
    let truth_from_map = &evaluation.reference_from_estimate_rigid;
    let distance_m = |point: &nalgebra::Point3<f32>| {
        truth.distance_to_surface_m(&truth_from_map.transform_point(&point.cast()))
    };
    // Collected in order before it is added up: the sum is the same on any number of cores.
    let distances_m: Vec<f64> = cloud.points.par_iter().map(distance_m).collect();
    let total_m: f64 = distances_m.iter().sum();
    let compared = evaluate_map(cloud, &truth.surface(), truth_from_map, &MapOptions::default());
    let completion_cm = compared.ok().and_then(|m| m.aligned.distances).map(|d| d.completion_cm);
    MapFigures {
        accuracy_cm: 100.0 * total_m / cloud.len().max(1) as f64,
        completion_cm: completion_cm.unwrap_or(f64::NAN),
    }
}
