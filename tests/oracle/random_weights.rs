//! A real network in the pipeline: MapAnything's, a thousandth of its size, with random weights.
//! What it says makes no sense; that it is asked, heard, and forgotten as it should be does not
//! depend on that.

use std::sync::{Arc, Mutex};

use recon_node::config::Config;
use recon_node::error::Result;
use recon_node::frame::Frame;
use recon_node::inference::{Prediction, ReconstructionModel, View};
use recon_node::model::mapanything::preprocess::TargetSize;
use recon_node::model::mapanything::{
    BackendOptions, InferOptions, LoadOptions, MapAnything, MapAnythingBackend,
};
use recon_node::model::weights::{NamedArchitecture, Precision, write_random};
use recon_node::observer::MapUpdate;
use recon_node::pipeline::Pipeline;
use recon_node::simulator::{OracleConfig, OracleModel, Simulator, SimulatorConfig};

const ARCHITECTURES: [NamedArchitecture; 2] =
    [NamedArchitecture::TinyV1, NamedArchitecture::TinyV1_1];
const MAX_VIEWS: usize = 4;

fn backend(architecture: NamedArchitecture) -> MapAnythingBackend {
    let folder = tempfile::tempdir().unwrap();
    write_random(folder.path(), architecture, Precision::F32, 1, &|_, _| ()).unwrap();
    let model = MapAnything::open(folder.path(), &LoadOptions::default()).unwrap();
    // Weights of no meaning mask nearly everything.
    let infer = InferOptions { mask: None, ..BackendOptions::default().infer };
    let target = TargetSize::LongestSide(56);
    let options = BackendOptions { max_views: MAX_VIEWS, target, infer };
    MapAnythingBackend::new(model, options)
}

/// Slow, so that small images are enough for every frame to be tracked: looking for lost ones takes
/// the longest.
fn recording() -> SimulatorConfig {
    SimulatorConfig { width: 96, height: 72, loop_secs: 120.0, ..SimulatorConfig::default() }
}

/// What each call of the model was about.
#[derive(Default)]
struct Log {
    views: Vec<usize>,
    held_bytes: Vec<usize>,
    encoded: usize,
}

/// The network does all its work on every window, and then the oracle answers in its stead, so
/// that there is a map for the windows to go through.
struct Prompted {
    network: MapAnythingBackend,
    oracle: OracleModel,
    log: Arc<Mutex<Log>>,
}

impl ReconstructionModel for Prompted {
    fn name(&self) -> &'static str {
        "prompted"
    }

    fn max_views(&self) -> usize {
        MAX_VIEWS
    }

    fn infer(&mut self, views: &[View<'_>]) -> Result<Prediction> {
        let said = self.network.infer(views)?;
        assert_eq!(said.views.len(), views.len());
        for (geometry, view) in said.views.iter().zip(views) {
            let size = (geometry.pointmap.width() as u32, geometry.pointmap.height() as u32);
            assert_eq!(size, view.frame.color.dimensions());
            assert_eq!((geometry.camera.width(), geometry.camera.height()), size);
            let pose = geometry.window_from_camera.unwrap();
            assert!(pose.to_homogeneous().iter().all(|value| value.is_finite()));
        }
        let mut log = self.log.lock().unwrap();
        log.views.push(views.len());
        log.held_bytes.push(self.network.held_bytes());
        log.encoded = self.network.encoded_count();
        self.oracle.infer(views)
    }
}

/// RGB-D with the frames that the pipeline needs to go on.
fn run(
    architecture: NamedArchitecture,
    frames: usize,
    mut after: impl FnMut(usize, &mut Pipeline, &Log),
) -> Arc<Mutex<Log>> {
    let log = Arc::new(Mutex::new(Log::default()));
    let oracle = OracleModel::new(&recording(), OracleConfig::exact()).unwrap();
    let network = backend(architecture);
    let model = Prompted { network, oracle, log: Arc::clone(&log) };
    let mut pipeline = Pipeline::new(Config::default(), Box::new(model));
    let mut simulator = Simulator::new(recording()).unwrap();
    for index in 0..frames {
        pipeline.process(&simulator.render(index).unwrap()).unwrap();
        after(index + 1, &mut pipeline, &log.lock().unwrap());
    }
    log
}

/// Half a round through a room; a keyframe every second, and one window for each at least.
#[test]
fn tensors_take_as_much_memory_after_2000_frames_as_after_100() {
    let (mut early, mut late) = (0, 0);
    let log = run(NamedArchitecture::TinyV1, 2000, |done, pipeline, log| {
        if done % 25 == 0 {
            pipeline.request_keyframe();
        }
        let held = log.held_bytes.last().copied().unwrap_or(0);
        match done {
            100 => early = held,
            2000 => late = held,
            _ => {}
        }
    });
    let log = log.lock().unwrap();
    assert!(log.views.len() >= 70, "only {} windows", log.views.len());
    assert!(early > 0);
    assert_eq!(early, late);
    let most = log.held_bytes.iter().max().copied().unwrap();
    let of_view = most / log.views.iter().max().unwrap();
    assert!(log.held_bytes.iter().zip(&log.views).all(|(held, views)| *held == views * of_view));
}

/// The network alone: whatever becomes of frames whose geometry is noise, it becomes of them twice.
#[test]
fn a_network_without_sense_fails_no_run_and_twice_alike() {
    for architecture in ARCHITECTURES {
        let [once, again] = [0, 1].map(|_| updates(architecture));
        assert!(once.iter().any(|update| update.new_keyframe.is_some()), "no map was begun");
        assert_eq!(once, again);
    }
}

fn updates(architecture: NamedArchitecture) -> Vec<MapUpdate> {
    let mut pipeline = Pipeline::new(Config::default(), Box::new(backend(architecture)));
    let mut simulator = Simulator::new(recording()).unwrap();
    let mut process = |index| pipeline.process(&simulator.render(index).unwrap()).unwrap();
    (0..12).map(&mut process).collect()
}

/// Images alone, without camera and depth: what the network lacks is said or guessed, and no run
/// fails.
#[test]
fn images_alone_fail_no_run() {
    for architecture in ARCHITECTURES {
        let mut pipeline = Pipeline::new(Config::default(), Box::new(backend(architecture)));
        let mut simulator = Simulator::new(recording()).unwrap();
        for index in 0..10 {
            let frame = simulator.render(index).unwrap();
            let frame = Frame { camera: None, depth: None, ..frame };
            let update = pipeline.process(&frame).unwrap();
            assert_eq!(update.frame_id, index as u64);
        }
    }
}
