//! The bars: what the default configuration must reach on real recordings, and on the demo.
//!
//! The recordings are no part of the repository. They are looked for in `data` below the folder
//! that the variable RECON_SHARED names, else beside the repository in `../shared`; a bar whose
//! recording is missing says so and passes.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]
#![expect(clippy::print_stderr, reason = "figures are for people, and so is what is skipped")]

#[path = "recordings/models.rs"]
mod models;
mod shared;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use recon_node::cloud::PointCloud;
use recon_node::config::Config;
use recon_node::dataset::{self, OpenOptions, read_trajectory};
use recon_node::error::Result;
use recon_node::evaluation::{
    DEFAULT_MAX_DIFFERENCE_SECS, IcpModel, MapOptions, TrajectoryEvaluation, evaluate_map,
    evaluate_trajectory,
};
use recon_node::export::read_ply;
use recon_node::inference::Models;
use recon_node::model;
use recon_node::observer::{Observation, Observer};
use recon_node::pipeline::Pipeline;
use recon_node::runtime::{RunReport, replay};
use recon_node::simulator::{Simulator, SimulatorConfig};
use recon_node::source::FrameSource;
use recon_node::stamp::Stamp;
use recon_node::trajectory::Trajectory;

use shared::recording;

/// What a recording must reach against one of its references.
struct Bar {
    recording: &'static str,
    frames: usize,
    reference: &'static str,
    ate_cm: f64,
    /// Centimetres and degrees over one second.
    relative: Option<(f64, f64)>,
    map: Option<MapBar>,
}

/// What the map must reach after ICP.
struct MapBar {
    surface: &'static str,
    /// Largest chamfer distance of the map's cloud, and of its mesh with cells of the same size.
    cloud_cm: f64,
    mesh_cm: f64,
    /// Least F-score of the cloud at 5 cm.
    fscore: f64,
}

const BARS: [Bar; 4] = [
    Bar {
        recording: "redkitchen_a",
        frames: 370,
        reference: "groundtruth_sfm.txt",
        ate_cm: 0.8,
        relative: None,
        map: Some(MapBar {
            surface: "reference_sfm.ply",
            cloud_cm: 0.86,
            mesh_cm: 0.8,
            fscore: 0.98,
        }),
    },
    Bar {
        recording: "redkitchen_a",
        frames: 370,
        reference: "groundtruth.txt",
        ate_cm: 5.0,
        relative: None,
        map: None,
    },
    Bar {
        recording: "fr1_rpy_a",
        frames: 59,
        reference: "groundtruth.txt",
        ate_cm: 4.0,
        relative: Some((9.0, 4.5)),
        map: None,
    },
    Bar {
        recording: "hololens_a",
        frames: 60,
        reference: "groundtruth.txt",
        ate_cm: 5.0,
        relative: Some((6.0, 1.4)),
        map: None,
    },
];

/// A figure beside the limit that it must keep.
struct Figure {
    name: String,
    found: f64,
    limit: f64,
    keeps: bool,
}

impl Figure {
    fn at_most(name: impl Into<String>, found: f64, limit: f64) -> Self {
        Self { name: name.into(), found, limit, keeps: found <= limit }
    }

    fn at_least(name: impl Into<String>, found: f64, limit: f64) -> Self {
        Self { name: name.into(), found, limit, keeps: found >= limit }
    }
}

/// Prints all figures, and fails with all of them if one misses its limit.
fn judge(title: &str, figures: &[Figure]) {
    let line = |f: &Figure| {
        let verdict = if f.keeps { "ok" } else { "MISSED" };
        format!("{title}: {:<48} {:>10.4} (limit {}) {verdict}\n", f.name, f.found, f.limit)
    };
    let text: String = figures.iter().map(line).collect();
    eprint!("{text}");
    assert!(figures.iter().all(|f| f.keeps), "a bar is missed:\n{text}");
}

/// What a run has left.
struct Run {
    report: RunReport,
    trajectory: Trajectory,
    pipeline: Pipeline,
}

impl Run {
    /// Runs the default configuration over a source.
    fn of(source: &mut dyn FrameSource, observers: &mut [&mut dyn Observer]) -> Self {
        Self::with(model::open(&Config::default()).unwrap(), source, observers)
    }

    fn with(
        models: Models,
        source: &mut dyn FrameSource,
        observers: &mut [&mut dyn Observer],
    ) -> Self {
        let mut pipeline = Pipeline::new(Config::default(), models);
        let stop = AtomicBool::new(false);
        let report = replay(source, &mut pipeline, observers, &stop).unwrap();
        Self { report, trajectory: pipeline.trajectory(), pipeline }
    }

    /// What `recon replay --refine` does at the end.
    fn refine(&mut self) {
        let refined = self.pipeline.refine().unwrap();
        eprintln!("{refined:?}");
        self.trajectory = self.pipeline.trajectory();
    }

    fn cloud(&self) -> PointCloud {
        self.pipeline.map().cloud(&self.pipeline.config().map)
    }

    /// The vertices of the map's surface.
    fn mesh(&self) -> PointCloud {
        let (map, config) = (self.pipeline.map(), &self.pipeline.config().map);
        let (_, ghosts) = map.surface(config, |_, _| true);
        map.mesh(config, config.voxel_size_m, &ghosts, |_, _| true).vertices
    }

    fn against(&self, reference: &Trajectory) -> TrajectoryEvaluation {
        let stamps: &[Stamp] = &self.report.stamps;
        let estimate = &self.trajectory;
        evaluate_trajectory(estimate, reference, Some(stamps), DEFAULT_MAX_DIFFERENCE_SECS).unwrap()
    }

    fn counts(&self, frames: usize) -> [Figure; 3] {
        let [expected, came] = [frames, self.report.frames].map(|n| n as f64);
        [
            Figure::at_least("frames", came, expected),
            Figure::at_least("frames tracked", self.report.tracked as f64, expected),
            Figure::at_most("inputs left out", self.report.skips.len() as f64, 0.0),
        ]
    }
}

fn figures(run: &Run, folder: &Path, bar: &Bar) -> Vec<Figure> {
    let evaluation = run.against(&read_trajectory(&folder.join(bar.reference)).unwrap());
    let metrics = &evaluation.metrics;
    let name = |what: &str| format!("{what} against {}", bar.reference);
    let mut figures = vec![Figure::at_most(name("ATE, cm,"), 100.0 * metrics.ate_se3, bar.ate_cm)];
    if let Some((cm, deg)) = bar.relative {
        let (found_m, found_deg) = (metrics.rpe1s_t_se3.unwrap(), metrics.rpe1s_rot_deg.unwrap());
        figures.push(Figure::at_most(name("RPE over 1 s, cm,"), 100.0 * found_m, cm));
        figures.push(Figure::at_most(name("RPE over 1 s, degrees,"), found_deg, deg));
    }
    if let Some(bar) = &bar.map {
        let surface = read_ply(&folder.join(bar.surface)).unwrap();
        let options = MapOptions { icp: Some(IcpModel::Rigid), ..MapOptions::default() };
        let moved = &evaluation.reference_from_estimate_rigid;
        let [cloud, mesh] = [run.cloud(), run.mesh()].map(|points| {
            let score = evaluate_map(&points, &surface, moved, &options).unwrap();
            score.refined.and_then(|score| score.distances).unwrap()
        });
        figures.push(Figure::at_most("chamfer after ICP, cm", cloud.chamfer_cm, bar.cloud_cm));
        figures.push(Figure::at_most("chamfer of the mesh, cm", mesh.chamfer_cm, bar.mesh_cm));
        figures.push(Figure::at_least("F-score at 5 cm after ICP", cloud.fscore, bar.fscore));
    }
    figures
}

/// Replays a recording once and holds it against all its bars.
fn keeps_its_bars(name: &str) {
    let Some(folder) = recording(name, &format!("the bars of {name}")) else { return };
    let bars: Vec<&Bar> = BARS.iter().filter(|bar| bar.recording == name).collect();
    let mut source = dataset::open(&folder, &OpenOptions::default()).unwrap();
    let mut run = Run::of(source.as_mut(), &mut []);
    let mut all = Vec::from(run.counts(bars[0].frames));
    run.refine();
    all.extend(bars.iter().flat_map(|bar| figures(&run, &folder, bar)));
    judge(name, &all);
}

#[test]
fn redkitchen_a_keeps_its_bars() {
    keeps_its_bars("redkitchen_a");
}

#[test]
fn fr1_rpy_a_keeps_its_bars() {
    keeps_its_bars("fr1_rpy_a");
}

#[test]
fn hololens_a_keeps_its_bars() {
    keeps_its_bars("hololens_a");
}

/// The first seconds of the demo at full size; `scripts/test` runs the whole of it.
#[test]
fn the_beginning_of_the_demo_keeps_its_bars() {
    let config = SimulatorConfig { duration_secs: 8.0, ..SimulatorConfig::default() };
    let mut simulator = Simulator::new(config.clone()).unwrap();
    let truth = simulator.info().reference.clone().unwrap();
    let run = Run::of(&mut simulator, &mut []);
    let evaluation = run.against(&truth);
    let truth_from_map = &evaluation.reference_from_estimate_rigid;
    let cloud = run.cloud();
    let distances_m = cloud.points.iter().map(|point| {
        simulator.distance_to_surface_m(&truth_from_map.transform_point(&point.cast()))
    });
    let accuracy_cm = 100.0 * distances_m.sum::<f64>() / cloud.len() as f64;
    let mut all = Vec::from(run.counts(config.frame_count()));
    all.push(Figure::at_most("ATE, cm", 100.0 * evaluation.metrics.ate_se3, 1.5));
    all.push(Figure::at_most("map accuracy, cm", accuracy_cm, 1.5));
    judge("demo", &all);
}

/// Counts the keyframes at the end of each round.
struct Rounds {
    frames_of_one: usize,
    seen: usize,
    keyframes: Vec<usize>,
}

impl Rounds {
    fn of(frames_of_one: usize) -> Self {
        Self { frames_of_one, seen: 0, keyframes: Vec::new() }
    }
}

impl Observer for Rounds {
    fn observe(&mut self, seen: &Observation<'_>) -> Result<()> {
        self.seen += 1;
        if self.seen.is_multiple_of(self.frames_of_one) {
            self.keyframes.push(seen.update.keyframes);
        }
        Ok(())
    }
}

/// How many keyframes five rounds may make for one of the first.
const KEYFRAME_GROWTH: f64 = 1.3;

fn does_not_grow(title: &str, source: &mut dyn FrameSource, frames_of_one: usize) {
    let mut rounds = Rounds::of(frames_of_one);
    let run = Run::of(source, &mut [&mut rounds]);
    eprintln!("{title}: keyframes after each round: {:?}", rounds.keyframes);
    assert_eq!(rounds.keyframes.len(), 5, "{title}: {:?}", rounds.keyframes);
    let [first, last] = [rounds.keyframes[0], rounds.keyframes[4]].map(|n| n as f64);
    let mut all = Vec::from(run.counts(5 * frames_of_one));
    all.push(Figure::at_most("keyframes after five rounds", last, KEYFRAME_GROWTH * first));
    judge(title, &all);
}

#[test]
fn a_simulated_room_that_has_been_seen_takes_no_more_memory() {
    let config = SimulatorConfig {
        duration_secs: 50.0,
        loop_secs: 10.0,
        width: 320,
        height: 240,
        ..SimulatorConfig::default()
    };
    let frames_of_one = config.frame_count() / 5;
    does_not_grow("five rounds of a room", &mut Simulator::new(config).unwrap(), frames_of_one);
}

#[test]
fn a_recording_played_five_times_takes_no_more_memory() {
    let Some(folder) = recording("redkitchen_a", "the bars of redkitchen_a") else { return };
    let options = OpenOptions::default();
    let mut source = dataset::open_repeated(&folder, &options, 5).unwrap();
    does_not_grow("redkitchen_a, five times", source.as_mut(), 370);
}
