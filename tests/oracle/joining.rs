//! Maps of a camera without depth, each in a unit of its own, that become one.

use recon_node::config::Config;
use recon_node::evaluation::{DEFAULT_MAX_DIFFERENCE_SECS, evaluate_trajectory};
use recon_node::frame::Frame;
use recon_node::inference::Models;
use recon_node::model::open_features;
use recon_node::pipeline::{MapSnapshot, Pipeline};
use recon_node::simulator::{OracleConfig, OracleModel, Simulator, SimulatorConfig, World};
use recon_node::trajectory::{StampedPose, Trajectory};

/// Two ways through a room that overlap, in frames.
const FIRST: std::ops::Range<usize> = 0..120;
const SECOND: std::ops::Range<usize> = 60..180;
/// How many times too long the second map's lengths are.
const LONGER: f64 = 1.3;

fn room() -> SimulatorConfig {
    let round = SimulatorConfig::round_of(World::Room);
    SimulatorConfig { width: 192, height: 144, rate_hz: 15.0, ..round }
}

fn mapped(indices: std::ops::Range<usize>, seed: u64) -> Pipeline {
    let config = Config::default();
    let oracle = OracleConfig { seed, ..OracleConfig::default() };
    let oracle = OracleModel::new(&room(), oracle).unwrap();
    let features = open_features(&config).unwrap();
    let mut pipeline = Pipeline::new(config, Models { geometry: Box::new(oracle), features });
    let mut simulator = Simulator::new(room()).unwrap();
    for index in indices {
        let frame = Frame { depth: None, ..simulator.render(index).unwrap() };
        let update = pipeline.process(&frame).unwrap();
        assert!(update.state.has_pose(), "frame {index}: {:?}", update.state);
    }
    pipeline
}

/// Error of the keyframes' places after the best similarity, metres.
fn ate_m(map: &MapSnapshot) -> f64 {
    let simulator = Simulator::new(room()).unwrap();
    let (mut found, mut truth) = (Vec::new(), Vec::new());
    for keyframe in &map.keyframes {
        let index = (keyframe.frame.stamp.secs() * 15.0).round() as usize;
        // Frames that both ways share are of two keyframes.
        let stamp = keyframe.frame.stamp.plus_secs(1e-4 * f64::from(keyframe.id.0));
        let world_from_camera = map.graph.poses[&keyframe.id];
        found.push(StampedPose { stamp, world_from_camera });
        truth.push(StampedPose { stamp, world_from_camera: simulator.true_pose(index) });
    }
    let (found, truth) = (Trajectory::new(found), Trajectory::new(truth));
    let evaluation =
        evaluate_trajectory(&found, &truth, None, DEFAULT_MAX_DIFFERENCE_SECS).unwrap();
    evaluation.metrics.ate_sim3
}

#[test]
fn maps_in_different_units_are_joined_in_one() {
    let mut first = mapped(FIRST, 1);
    let second = mapped(SECOND, 2).snapshot().scaled(LONGER);
    let (alone, other) = (ate_m(&first.snapshot()), ate_m(&second));
    let joined = first.join(&second).unwrap();
    let together = ate_m(&first.snapshot());
    println!("ATE {alone:.3} and {other:.3} m alone, {together:.3} m together, {joined:?}");
    assert_eq!(joined.keyframes, second.keyframes.len());
    assert!(joined.ties >= 3, "{joined:?}");
    assert!(together < 0.05 && together < 2.0 * alone.max(other), "{together} m");
}
