//! Small maps of the simulated room.

use std::path::PathBuf;

use recon_node::config::Config;
use recon_node::frame::Frame;
use recon_node::model;
use recon_node::pipeline::{MapSnapshot, Pipeline};
use recon_node::simulator::{Simulator, SimulatorConfig};

/// Returns a pipeline with the defaults, but for some settings (`key=value`).
pub fn pipeline(settings: &[&str]) -> Pipeline {
    let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
    let config = Config::from_sources(None, &settings).unwrap();
    let model = model::open(&config).unwrap();
    Pipeline::new(config, model)
}

/// Returns the simulated room, seen at 320×240 ten times a second.
pub fn room() -> Simulator {
    let config =
        SimulatorConfig { width: 320, height: 240, rate_hz: 10.0, ..SimulatorConfig::default() };
    Simulator::new(config).unwrap()
}

/// Returns some frames of the room.
pub fn frames(indices: impl IntoIterator<Item = usize>) -> Vec<Frame> {
    let mut room = room();
    indices.into_iter().map(|index| room.render(index).unwrap()).collect()
}

/// Returns a pipeline that has mapped some frames.
pub fn mapped(frames: &[Frame]) -> Pipeline {
    let mut pipeline = pipeline(&[]);
    frames.iter().for_each(|frame| drop(pipeline.process(frame).unwrap()));
    pipeline
}

/// A folder with a map in it.
pub struct Saved {
    pub folder: tempfile::TempDir,
    pub path: PathBuf,
}

/// Returns where a map was saved.
pub fn saved(map: &MapSnapshot) -> Saved {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("room.map");
    recon_node::store::save(&path, map, Default::default()).unwrap();
    Saved { folder, path }
}
