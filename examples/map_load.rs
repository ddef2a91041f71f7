//! What a saved map costs: bytes, the time to load it and take it up, and with `show` what the node
//! needs on one core to show it.
//!
//!     cargo run --release --example map_load -- [KEYFRAMES [show]]
//!
//! Maps a part of the simulated room at 640×480, takes its keyframes again and again under new
//! numbers until there are so many (1000), and saves that map, loads it and takes it up, three times.
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use recon_node::config::Config;
use recon_node::keyframe::KeyframeId;
use recon_node::map::{GlobalMap, MapConfig, OccupancyConfig};
use recon_node::model;
use recon_node::pipeline::{MapSnapshot, Pipeline};
use recon_node::ros::config::NodeConfig;
use recon_node::ros::files::map_from_optical;
use recon_node::ros::map_cloud::MapSamples;
use recon_node::simulator::{Simulator, SimulatorConfig};
use recon_node::store::{self, ImageQuality};

/// Frames that are mapped, ten a second.
const FRAMES: usize = 60;

/// How often each map is read.
const ROUNDS: usize = 3;

fn main() -> Result<()> {
    let count = match std::env::args().nth(1) {
        Some(text) => text.parse().with_context(|| format!("{text} is no number"))?,
        None => 1000,
    };
    let shows = std::env::args().nth(2).is_some_and(|text| text == "show");
    let room = mapped()?;
    let seed = room.keyframes.len();
    let map = repeated(&room, count);
    let folder = std::env::temp_dir().join(format!("recon_map_load_{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    for quality in [ImageQuality::Lossless, ImageQuality::Jpeg] {
        let path = folder.join("large.map");
        let begun = Instant::now();
        store::save(&path, &map, quality)?;
        let saved_secs = begun.elapsed().as_secs_f64();
        let bytes = std::fs::metadata(&path)?.len();
        println!(
            "{quality:?}: {count} keyframes ({seed} of them different), {:.1} MB, {:.0} kB each; saved in \
             {saved_secs:.2} s",
            bytes as f64 / 1e6,
            bytes as f64 / 1e3 / count as f64,
        );
        let mut pipeline = taken_up(&path, count)?;
        for _ in 1..ROUNDS {
            pipeline = taken_up(&path, count)?;
        }
        if quality == ImageQuality::Lossless && shows {
            let map = pipeline.map();
            rayon::ThreadPoolBuilder::new().num_threads(1).build()?.install(|| show(map));
        }
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Reads a map and takes it up; says what that took.
fn taken_up(path: &Path, count: usize) -> Result<Pipeline> {
    let before_mb = resident_mb();
    let begun = Instant::now();
    let loaded = store::load(path)?;
    let read_secs = begun.elapsed().as_secs_f64();
    let mut pipeline = pipeline()?;
    let begun = Instant::now();
    pipeline.restore(loaded)?;
    println!(
        "  read in {read_secs:.2} s, taken up in {:.2} s; {:.2} MB of memory each",
        begun.elapsed().as_secs_f64(),
        (resident_mb() - before_mb) / count as f64,
    );
    Ok(pipeline)
}

/// What the node does to show a map, against what is done to save its points.
fn show(map: &GlobalMap) {
    let node = NodeConfig::default();
    let timed = |what: &str, begun: Instant, count: usize| {
        println!("{what}: {count} in {:.2} s on one core", begun.elapsed().as_secs_f64());
    };
    let begun = Instant::now();
    let snapshot = MapSamples::default().snapshot(map, &map_from_optical(), node.map_voxel_size);
    timed("samples of all keyframes", begun, map.len());
    let mut config = MapConfig { max_carving_views: 0, ..MapConfig::default() };
    for what in ["points of ~/map if it were not carved", "points of ~/map"] {
        let begun = Instant::now();
        let surface = snapshot.surface(node.map_voxel_size, node.map_max_points, &config);
        timed(what, begun, surface.cloud.len());
        config = MapConfig::default();
        let begun = Instant::now();
        if let Ok(plan) = snapshot.plan(&surface, &OccupancyConfig::default()) {
            timed("cells of ~/grid", begun, plan.cells.len());
        }
    }
    config.voxel_size_m = node.map_voxel_size;
    let begun = Instant::now();
    timed("points as they are saved, agreed upon", begun, map.cloud(&config).len());
}

fn pipeline() -> Result<Pipeline> {
    let config = Config::default();
    let model = model::open(&config)?;
    Ok(Pipeline::new(config, model))
}

fn mapped() -> Result<MapSnapshot> {
    let mut simulator =
        Simulator::new(SimulatorConfig { rate_hz: 10.0, ..SimulatorConfig::default() })?;
    let mut pipeline = pipeline()?;
    for index in 0..FRAMES {
        pipeline.process(&simulator.render(index)?)?;
    }
    Ok(pipeline.snapshot())
}

/// The map with its keyframes again and again, under new numbers.
fn repeated(room: &MapSnapshot, count: usize) -> MapSnapshot {
    let mut map = room.clone();
    map.keyframes.clear();
    map.graph.poses.clear();
    for number in 0..count {
        let known = &room.keyframes[number % room.keyframes.len()];
        let id = KeyframeId(number as u32);
        map.graph.poses.insert(id, room.graph.poses[&known.id]);
        map.keyframes.push(recon_node::pipeline::KeyframeSnapshot { id, ..known.clone() });
    }
    map.graph.next_keyframe = KeyframeId(count as u32);
    map
}

/// Memory of the process now, MB, of which the map that was made to be saved is a part.
fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kilobytes.unwrap_or(f64::NAN) / 1024.0
}
