//! `recon demo`: a built-in recording whose truth is known.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use recon_node::cloud::PointCloud;
use recon_node::evaluation::{MapOptions, TrajectoryEvaluation, evaluate_map};
use recon_node::export::RecordingWriter;
use recon_node::simulator::{Simulator, SimulatorConfig};
use recon_node::source::{FrameSource, SourceItem};

use crate::report::MapFigures;
use crate::session::{self, SessionArgs};

/// What `recon demo` is asked.
#[derive(clap::Args)]
pub struct Args {
    /// Length of the recording in seconds; one round through the room takes 20
    #[arg(long, value_name = "SECS", default_value_t = SimulatorConfig::default().duration_secs)]
    duration: f64,
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
    let config = SimulatorConfig {
        duration_secs: args.duration,
        seed: args.seed,
        ..SimulatorConfig::default()
    };
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
