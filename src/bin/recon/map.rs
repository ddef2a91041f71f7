//! `recon map`: what is in saved maps, and what can be made of them.

use std::io::Write;
use std::path::{Path, PathBuf};

use comfy_table::{Table, presets};
use recon_node::config::{Config, ModelConfig};
use recon_node::error::{Error, Result};
use recon_node::model;
use recon_node::pipeline::{GeoReference, MapSnapshot, Pipeline};
use recon_node::store::{self, ImageQuality};

use crate::export;
use crate::maps::load;

/// What `recon map` is asked.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Say what is in a map
    Info(MapFile),
    /// Hand a map on to other programs, as `recon export` does
    Export(Box<export::Args>),
    /// Join two maps of one place, by what both show
    Merge {
        /// The map whose world and settings are kept
        first: PathBuf,
        /// The map that is joined to it
        second: PathBuf,
        /// The new map
        output: PathBuf,
    },
    /// Remove keyframes that others show nearly as well
    Prune {
        #[command(flatten)]
        map: MapFile,
        /// The new map
        output: PathBuf,
        /// Of two keyframes that share more than this part of their views, one goes
        #[arg(long, value_name = "PART", default_value_t = 0.8)]
        max_overlap: f64,
        /// Then more of them go until so many are left
        #[arg(long, value_name = "N")]
        max_keyframes: Option<usize>,
    },
    /// Say where on Earth the origin of a map is
    Georeference {
        #[command(flatten)]
        map: MapFile,
        /// The new map
        output: PathBuf,
        /// Degrees north, WGS 84
        #[arg(long, value_name = "DEG", allow_negative_numbers = true)]
        latitude: f64,
        /// Degrees east, WGS 84
        #[arg(long, value_name = "DEG", allow_negative_numbers = true)]
        longitude: f64,
        /// Metres above the ellipsoid
        #[arg(long, value_name = "M", default_value_t = 0.0, allow_negative_numbers = true)]
        altitude: f64,
        /// Of the map's y axis, clockwise from north
        #[arg(long, value_name = "DEG", default_value_t = 0.0, allow_negative_numbers = true)]
        heading: f64,
    },
    /// Write a copy of a map, such as of what can be trusted of a damaged one
    Copy {
        #[command(flatten)]
        map: MapFile,
        /// The new map
        output: PathBuf,
    },
}

/// A map that is read.
#[derive(clap::Args)]
pub struct MapFile {
    /// A map, written by --save-map or --autosave
    map: PathBuf,
    /// Read what can be trusted of a damaged map
    #[arg(long)]
    recover: bool,
}

impl MapFile {
    fn load(&self) -> Result<MapSnapshot> {
        load(&self.map, self.recover)
    }
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Info(file) => Ok(writeln!(std::io::stdout(), "{}", info(file)?)?),
        Command::Export(args) => export::run(args),
        Command::Merge { first, second, output } => merge(first, second, output),
        Command::Prune { map, output, max_overlap, max_keyframes } => {
            let mut map = map.load()?;
            let removed = map.prune(*max_overlap, *max_keyframes);
            store::save(output, &map, ImageQuality::Lossless)?;
            let left = map.keyframes.len();
            Ok(writeln!(std::io::stdout(), "{removed} keyframes removed, {left} left")?)
        }
        Command::Georeference { map, output, latitude, longitude, altitude, heading } => {
            let place = GeoReference {
                latitude_deg: *latitude,
                longitude_deg: *longitude,
                altitude_m: *altitude,
                heading_deg: *heading,
            };
            georeference(map, output, place)
        }
        Command::Copy { map, output } => {
            Ok(store::save(output, &map.load()?, ImageQuality::Lossless)?)
        }
    }
}

fn georeference(file: &MapFile, output: &Path, place: GeoReference) -> anyhow::Result<()> {
    let is_on_earth = place.latitude_deg.abs() <= 90.0 && place.longitude_deg.abs() <= 180.0;
    if !(is_on_earth && place.altitude_m.is_finite() && place.heading_deg.is_finite()) {
        let problem = "no place on Earth: give --latitude within 90 degrees, --longitude within 180, \
                       and finite --altitude and --heading";
        return Err(Error::Usage(problem.to_owned()).into());
    }
    let mut map = file.load()?;
    map.graph.georeference = Some(place);
    Ok(store::save(output, &map, ImageQuality::Lossless)?)
}

fn merge(first: &Path, second: &Path, output: &Path) -> anyhow::Result<()> {
    let (first, second) = (load(first, false)?, load(second, false)?);
    // Geometry is in the maps; what made it is not needed.
    let config = Config { model: ModelConfig::default(), ..first.graph.config.clone() };
    let models = model::open(&config)?;
    let mut pipeline = Pipeline::new(config, models);
    pipeline.restore(first)?;
    let merged = pipeline.join(&second)?;
    store::save(output, &pipeline.snapshot(), ImageQuality::Lossless)?;
    let turn_deg = merged.world_from_other.rotation.angle().to_degrees();
    let shift_m = merged.world_from_other.translation.vector.norm();
    writeln!(
        std::io::stdout(),
        "{} keyframes joined by {} pairs; the second map lay {shift_m:.2} m and {turn_deg:.0} degrees off",
        merged.keyframes,
        merged.ties,
    )?;
    Ok(())
}

fn info(file: &MapFile) -> Result<Table> {
    let map = file.load()?;
    let graph = &map.graph;
    let bytes = std::fs::metadata(&file.map).map_err(Error::io(&file.map, "look at the map"))?;
    let megabytes = bytes.len() as f64 / 1e6;
    let per_keyframe = 1e3 * megabytes / map.keyframes.len().max(1) as f64;
    let loops = graph.constraints.iter().filter(|c| c.loop_weight.is_some()).count();
    let features = map.keyframes.iter().filter(|k| k.features.is_some()).count();
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    let mut row = |name: &str, value: String| {
        table.add_row([name.to_owned(), value]);
    };
    row("size", format!("{megabytes:.1} MB, {per_keyframe:.0} kB for each keyframe"));
    row("keyframes", map.keyframes.len().to_string());
    row("described by features", features.to_string());
    row("constraints", format!("{}, {loops} of them loops", graph.constraints.len()));
    row("pairs that see the same", graph.covisibility.len().to_string());
    for (number, session) in graph.sessions.iter().enumerate() {
        let stamps = session.first().zip(session.last());
        let span = stamps.map_or(0.0, |(first, last)| last.stamp.secs_since(first.stamp));
        row(&format!("session {}", number + 1), format!("{} frames, {span:.1} s", session.len()));
    }
    row("way", format!("{:.1} m", graph.travel[0]));
    let offset_cm = 100.0 * graph.config.sensor.depth_offset_m;
    row("depth offset", format!("{offset_cm:.2} cm"));
    if let Some(size) = map.keyframes.first().map(|k| &k.camera) {
        let k = size.intrinsics();
        let text = format!("{}x{}, fx {:.2}, fy {:.2}", size.width(), size.height(), k.fx, k.fy);
        row("camera at working size", text);
    }
    row("model", graph.config.model.name.clone());
    let origin = if graph.map_from_world.is_some() { "z up" } else { "the first camera" };
    row("origin", origin.to_owned());
    if let Some(place) = &graph.georeference {
        let GeoReference { latitude_deg, longitude_deg, altitude_m, heading_deg } = place;
        let text = format!(
            "{latitude_deg}° N, {longitude_deg}° E, {altitude_m} m, y axis {heading_deg}° from north"
        );
        row("place on Earth", text);
    }
    if let Some(learned) = &graph.learned {
        let [merged, refused, _] = learned.windows;
        row("model's windows", format!("{merged} merged, {refused} refused"));
    }
    Ok(table)
}
