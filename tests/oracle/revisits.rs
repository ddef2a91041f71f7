//! Places that the camera comes back to, as the model sees them: beside the keyframes that share most
//! with a view it is shown one that only looks alike.

use recon_node::config::Config;
use recon_node::evaluation::{DEFAULT_MAX_DIFFERENCE_SECS, evaluate_trajectory};
use recon_node::frame::Frame;
use recon_node::inference::Models;
use recon_node::model::open_features;
use recon_node::pipeline::Pipeline;
use recon_node::simulator::{OracleConfig, OracleModel, Simulator, SimulatorConfig};
use recon_node::trajectory::{StampedPose, Trajectory};

use super::loops::round;

/// How a way was mapped.
#[derive(Debug)]
struct Outcome {
    loops: usize,
    ate_m: f64,
    keyframes: usize,
}

#[expect(clippy::print_stdout, reason = "figures are for people")]
fn mapped(simulated: &SimulatorConfig, oracle: OracleConfig, settings: &[&str]) -> Outcome {
    let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
    let config = Config::from_sources(None, &settings).unwrap();
    let oracle = OracleModel::new(simulated, oracle).unwrap();
    let features = open_features(&config).unwrap();
    let mut pipeline = Pipeline::new(config, Models { geometry: Box::new(oracle), features });
    let mut simulator = Simulator::new(simulated.clone()).unwrap();
    let (mut truth, mut loops) = (Vec::new(), 0);
    for index in 0..simulated.frame_count() {
        let frame = Frame { depth: None, ..simulator.render(index).unwrap() };
        loops += pipeline.process(&frame).unwrap().loops_closed;
        let world_from_camera = simulator.true_pose(index);
        truth.push(StampedPose { stamp: frame.stamp, world_from_camera });
    }
    let (found, truth) = (pipeline.trajectory(), Trajectory::new(truth));
    let evaluation =
        evaluate_trajectory(&found, &truth, None, DEFAULT_MAX_DIFFERENCE_SECS).unwrap();
    let outcome =
        Outcome { loops, ate_m: evaluation.metrics.ate_sim3, keyframes: pipeline.map().len() };
    println!("{settings:?}: {outcome:?}");
    outcome
}

/// No pose by keypoints is ever believed.
const NO_KEYPOINTS: &str = "recognition.two_view.min_inliers=100000";

#[test]
fn a_loop_that_no_keypoints_show_is_closed_by_what_the_model_says_of_both_views() {
    let simulated = round();
    let alone =
        mapped(&simulated, OracleConfig::default(), &[NO_KEYPOINTS, "window.max_loop_keyframes=0"]);
    let together = mapped(&simulated, OracleConfig::default(), &[NO_KEYPOINTS]);
    assert_eq!(alone.loops, 0, "{alone:?}");
    assert!(together.loops > 0 && together.ate_m < 0.6 * alone.ate_m, "{together:?}, {alone:?}");
}

/// What the model takes for the place where the newest view is, is another one each time: nothing else
/// bears it out, and no loop is closed.
#[test]
fn a_model_that_takes_other_places_for_this_one_closes_no_loop() {
    let simulated = SimulatorConfig { duration_secs: 0.8 * round().loop_secs, ..round() };
    let mistaken = OracleConfig { mistaken_frac: 1.0, ..OracleConfig::default() };
    let outcome = mapped(&simulated, mistaken, &[NO_KEYPOINTS]);
    assert_eq!(outcome.loops, 0, "{outcome:?}");
    assert!(outcome.keyframes > 20, "{outcome:?}");
}
