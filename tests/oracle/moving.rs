//! Things that move while a camera without depth maps what stays.

use nalgebra::Point3;
use recon_node::cloud::PointCloud;
use recon_node::config::Config;
use recon_node::evaluation::{
    DEFAULT_MAX_DIFFERENCE_SECS, MapOptions, evaluate_map, evaluate_trajectory,
};
use recon_node::frame::Frame;
use recon_node::geometry::Sim3;
use recon_node::inference::Models;
use recon_node::map::MapConfig;
use recon_node::model::open_features;
use recon_node::pipeline::Pipeline;
use recon_node::simulator::{OracleConfig, OracleModel, Simulator, SimulatorConfig, World};
use recon_node::trajectory::{StampedPose, Trajectory};

/// Half a round; the box goes to and fro once.
const FRAMES: std::ops::Range<usize> = 0..150;
/// Keyframes are made at the same frames in both worlds, so that windows are of the same stamps and the
/// model errs alike: what differs is due to the box.
const FRAMES_PER_KEYFRAME: usize = 7;
const NO_OTHERS: [&str; 3] = [
    "keyframe.min_overlap_frac=0",
    "keyframe.max_rotation_deg=179",
    "keyframe.max_translation_frac=10",
];

fn recording(world: World) -> SimulatorConfig {
    let round = SimulatorConfig::round_of(world);
    SimulatorConfig { width: 192, height: 144, rate_hz: 15.0, ..round }
}

/// A map by images alone, and where it lies in the world.
struct Mapped {
    pipeline: Pipeline,
    world_from_map: Sim3,
}

fn mapped(world: World, seed: u64) -> Mapped {
    let simulated = recording(world);
    let errs = OracleConfig { seed, ..OracleConfig::default() };
    let oracle = OracleModel::new(&simulated, errs).unwrap();
    let config = Config::from_sources(None, &NO_OTHERS.map(str::to_owned)).unwrap();
    let features = open_features(&config).unwrap();
    let mut pipeline = Pipeline::new(config, Models { geometry: Box::new(oracle), features });
    let mut simulator = Simulator::new(simulated).unwrap();
    let mut truth = Vec::new();
    for index in FRAMES {
        if index % FRAMES_PER_KEYFRAME == FRAMES_PER_KEYFRAME - 1 {
            pipeline.request_keyframe();
        }
        let frame = Frame { depth: None, ..simulator.render(index).unwrap() };
        let update = pipeline.process(&frame).unwrap();
        assert!(update.state.has_pose(), "frame {index}: {:?}", update.state);
        let world_from_camera = simulator.true_pose(index);
        truth.push(StampedPose { stamp: frame.stamp, world_from_camera });
    }
    let (found, truth) = (pipeline.trajectory(), Trajectory::new(truth));
    let evaluation =
        evaluate_trajectory(&found, &truth, None, DEFAULT_MAX_DIFFERENCE_SECS).unwrap();
    Mapped { pipeline, world_from_map: evaluation.reference_from_estimate_scaled }
}

impl Mapped {
    fn chamfer_cm(&self, room: &PointCloud) -> f64 {
        let cloud = self.pipeline.map().cloud(&self.pipeline.config().map);
        let options = MapOptions::default();
        let score = evaluate_map(&cloud, room, &self.world_from_map, &options).unwrap().aligned;
        score.distances.unwrap().chamfer_cm
    }

    /// Points of a cloud where the box goes to and fro and else nothing is.
    fn ghosts(&self, room: &Simulator, config: &MapConfig) -> usize {
        let cloud = self.pipeline.map().cloud(config);
        let in_world =
            cloud.points.iter().map(|point| self.world_from_map.transform_point(&point.cast()));
        in_world
            .filter(|p| p.x.abs() < 2.3 && (1.5..2.2).contains(&p.y) && (0.1..0.85).contains(&p.z))
            .filter(|point| room.distance_to_surface_m(point) > 0.15)
            .count()
    }
}

/// The surfaces of the room that the camera sees without the box.
fn surfaces(room: &Simulator) -> PointCloud {
    let mut points = Vec::new();
    for index in FRAMES.step_by(5) {
        let (depth, pose) = (room.true_depth(index).unwrap(), room.true_pose(index));
        let rays = room.camera().rays();
        let seen = depth.values().iter().zip(&rays).step_by(3).filter(|(depth, _)| **depth > 0.0);
        points.extend(seen.map(|(&depth, ray)| (pose * Point3::from((ray * depth).cast())).cast()));
    }
    PointCloud { points, colors: Vec::new() }
}

#[test]
fn a_moving_box_leaves_no_ghost_in_a_map_by_images_alone() {
    let room = Simulator::new(recording(World::Room)).unwrap();
    let surfaces = surfaces(&room);
    let (mut still_cm, mut moving_cm, mut ghosts, mut all_ghosts) = (0.0, 0.0, 0, 0);
    for seed in 1..4 {
        let [still, moving] = [World::Room, World::MovingBox].map(|world| mapped(world, seed));
        still_cm += still.chamfer_cm(&surfaces) / 3.0;
        moving_cm += moving.chamfer_cm(&surfaces) / 3.0;
        let config = &moving.pipeline.config().map;
        let alone = MapConfig { max_witnesses: 0, max_carving_views: 0, ..config.clone() };
        for (sum, config) in [(&mut ghosts, config), (&mut all_ghosts, &alone)] {
            // What errors of the model make where the box goes is there without it, too.
            let by_errors = still.ghosts(&room, config);
            let found = moving.ghosts(&room, config);
            println!("seed {seed}: {found} with the box, {by_errors} without");
            *sum += found.saturating_sub(by_errors);
        }
    }
    println!("chamfer {moving_cm:.2} cm, {still_cm:.2} without; {ghosts} of {all_ghosts} points");
    assert!(moving_cm <= 1.1 * still_cm, "{moving_cm} cm with the box, {still_cm} without");
    assert!(all_ghosts > 1000, "the box was hardly seen");
    assert!(10 * ghosts <= all_ghosts, "{ghosts} of {all_ghosts} points of the box are left");
}
