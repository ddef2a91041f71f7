//! `recon eval`: judges a trajectory, and a map, against a reference.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use recon_node::cloud::PointCloud;
use recon_node::dataset::read_trajectory;
use recon_node::error::{Error, Result};
use recon_node::evaluation::{
    DEFAULT_MAX_DIFFERENCE_SECS, IcpModel, MapMetrics, MapOptions, TrajectoryEvaluation,
    TrajectoryMetrics, associate, evaluate_map, evaluate_trajectory,
};
use recon_node::export::{create_folder, read_ply, write_atomically};
use recon_node::geometry::Sim3;
use recon_node::stamp::Stamp;
use recon_node::trajectory::Trajectory;
use recon_node::viz;

use crate::eval_table;

/// What `recon eval` is asked.
#[derive(clap::Args)]
pub struct Args {
    /// The trajectory to judge: 'timestamp tx ty tz qx qy qz qw' a line, in any world frame
    #[arg(long, value_name = "FILE")]
    estimate: PathBuf,
    /// The trajectory that counts as true, in the same form
    #[arg(long, value_name = "FILE")]
    reference: PathBuf,
    /// A map to judge, PLY in the world of the estimate
    #[arg(long, value_name = "PLY", requires = "surface")]
    map: Option<PathBuf>,
    /// The surface that counts as true, PLY in the world of the reference
    #[arg(long, value_name = "PLY", requires = "map")]
    surface: Option<PathBuf>,
    /// Judge the map a second time after ICP: its shape alone
    #[arg(long, requires = "map")]
    icp: bool,
    /// What moves the map onto the surface: the trajectories' rigid alignment, their alignment with
    /// scale, or nothing
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    map_alignment: MapAlignment,
    /// How near a point of the map must be to count as right, in metres
    #[arg(long, value_name = "METRES", default_value_t = 0.05, value_parser = positive)]
    threshold_m: f64,
    /// The frames that should have a pose, a stamp at the start of each line, e.g. a recording's
    /// rgb.txt; without it, those of the reference
    #[arg(long, value_name = "FILE")]
    frames: Option<PathBuf>,
    /// How far apart the stamps of two poses of one moment may be, in seconds
    #[arg(long, value_name = "SECS", default_value_t = DEFAULT_MAX_DIFFERENCE_SECS,
          value_parser = positive)]
    max_difference: f64,
    /// Write the figures as JSON; '-' prints them in place of the table
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw trajectory.png, and map.png where there is a map, into this folder
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
}

/// What moves a map into the world of the reference.
#[derive(Clone, Copy, Default, PartialEq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MapAlignment {
    /// The rigid alignment of the trajectories
    #[default]
    Se3,
    /// Their alignment with scale
    Sim3,
    /// Nothing: the map is in the reference's world already
    None,
}

/// All that was measured, named as the field's scripts name it.
#[derive(serde::Serialize)]
pub struct Figures {
    estimate: PathBuf,
    reference: PathBuf,
    /// The figures of the trajectory.
    #[serde(flatten)]
    pub trajectory: TrajectoryMetrics,
    #[serde(skip_serializing_if = "Option::is_none")]
    map_align: Option<MapAlignment>,
    /// The figures of the map, where there is one.
    #[serde(flatten)]
    pub map: Option<MapMetrics>,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let estimate = read_poses(&args.estimate)?;
    let reference = read_poses(&args.reference)?;
    let evaluation = judge_trajectory(args, &estimate, &reference)?;
    let map = args.map.as_deref().map(read_points).transpose()?;
    let metrics = map.as_ref().map(|map| judge_map(args, map, &evaluation)).transpose()?;
    let figures = Figures {
        estimate: args.estimate.clone(),
        reference: args.reference.clone(),
        trajectory: evaluation.metrics.clone(),
        map_align: args.map.is_some().then_some(args.map_alignment),
        map: metrics,
    };
    tell(args, &figures)?;
    match &args.plots {
        Some(folder) => {
            draw(folder, (&estimate, &reference), &evaluation, map.as_ref())?;
            Ok(())
        }
        None => Ok(()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|n: &f64| n.is_finite() && *n > 0.0);
    number.ok_or_else(|| "expected a positive number".into())
}

fn read_poses(path: &Path) -> Result<Trajectory> {
    let trajectory = read_trajectory(path)?;
    let count = trajectory.poses().len();
    if count < 3 {
        let remedy = "an evaluation needs at least 3 lines 'timestamp tx ty tz qx qy qz qw'";
        return Err(Error::input(path, format!("has {count} poses"), remedy));
    }
    Ok(trajectory)
}

fn read_points(path: &Path) -> Result<PointCloud> {
    let cloud = read_ply(path)?;
    if cloud.points.iter().any(|p| p.iter().all(|c| c.is_finite())) {
        return Ok(cloud);
    }
    let remedy = "give a cloud with at least one point whose coordinates are finite";
    Err(Error::input(path, "has no points that can be compared", remedy))
}

fn judge_trajectory(
    args: &Args,
    estimate: &Trajectory,
    reference: &Trajectory,
) -> anyhow::Result<TrajectoryEvaluation> {
    let frames = args.frames.as_deref().map(read_stamps).transpose()?;
    if associate(estimate, reference, args.max_difference).is_empty() {
        return Err(no_overlap(args, estimate, reference).into());
    }
    evaluate_trajectory(estimate, reference, frames.as_deref(), args.max_difference)
        .with_context(|| format!("{}", args.estimate.display()))
}

fn no_overlap(args: &Args, estimate: &Trajectory, reference: &Trajectory) -> Error {
    let problem = format!(
        "no pose within {} s of a pose of {}: the estimate spans {}, the reference {}",
        args.max_difference,
        args.reference.display(),
        span(estimate),
        span(reference)
    );
    let remedy = "give two trajectories of one recording, or a larger --max-difference";
    Error::input(&args.estimate, problem, remedy)
}

fn span(trajectory: &Trajectory) -> String {
    match trajectory.poses() {
        [first, .., last] => format!("{} to {} s", first.stamp, last.stamp),
        [only] => format!("{} s", only.stamp),
        [] => "no time".into(),
    }
}

/// The stamps at the starts of the lines of a list such as `rgb.txt`.
fn read_stamps(path: &Path) -> Result<Vec<Stamp>> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path, "read the list of frames"))?;
    let lines = text.lines().enumerate();
    let rows = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let stamps: Vec<Stamp> = rows
        .map(|(index, line)| {
            let word = line.split([' ', '\t', ',']).find(|w| !w.is_empty()).unwrap_or_default();
            word.parse().map_err(|error| {
                let problem = format!("line {}: {error}", index + 1);
                Error::input(path, problem, "each line must start with a time in seconds")
            })
        })
        .collect::<Result<_>>()?;
    if stamps.is_empty() {
        return Err(Error::input(
            path,
            "lists no frame",
            "leave --frames out or give another list",
        ));
    }
    Ok(stamps)
}

fn judge_map(
    args: &Args,
    map: &PointCloud,
    evaluation: &TrajectoryEvaluation,
) -> anyhow::Result<MapMetrics> {
    let surface_path = args.surface.as_deref().context("--map needs --surface")?;
    let surface = read_points(surface_path)?;
    let reference_from_map = match args.map_alignment {
        MapAlignment::Se3 => evaluation.reference_from_estimate_rigid,
        MapAlignment::Sim3 => evaluation.reference_from_estimate_scaled,
        MapAlignment::None => Sim3::identity(),
    };
    let model = match args.map_alignment {
        MapAlignment::Sim3 => IcpModel::Similarity,
        _ => IcpModel::Rigid,
    };
    let options = MapOptions { threshold_m: args.threshold_m, icp: args.icp.then_some(model) };
    Ok(evaluate_map(map, &surface, &reference_from_map, &options)?)
}

fn tell(args: &Args, figures: &Figures) -> anyhow::Result<()> {
    let json = serde_json::to_string_pretty(figures)?;
    match args.json.as_deref() {
        Some(path) if path == Path::new("-") => {
            writeln!(std::io::stdout(), "{json}")?;
            return Ok(());
        }
        Some(path) => write_atomically(path, |file| writeln!(file, "{json}"))?,
        None => {}
    }
    writeln!(std::io::stdout(), "{}", eval_table::text(figures, args.threshold_m))?;
    Ok(())
}

fn draw(
    folder: &Path,
    (estimate, reference): (&Trajectory, &Trajectory),
    evaluation: &TrajectoryEvaluation,
    map: Option<&PointCloud>,
) -> Result<()> {
    create_folder(folder)?;
    let figure = viz::trajectory_figure(estimate, Some((reference, evaluation)))?;
    viz::save_png(&folder.join("trajectory.png"), &figure)?;
    match map {
        Some(map) => {
            viz::render_cloud(&folder.join("map.png"), map, &viz::upright_direction(estimate))
        }
        None => Ok(()),
    }
}
