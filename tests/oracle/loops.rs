//! Places that a camera without depth comes back to.

use recon_node::config::Config;
use recon_node::evaluation::{DEFAULT_MAX_DIFFERENCE_SECS, evaluate_trajectory};
use recon_node::frame::Frame;
use recon_node::inference::Models;
use recon_node::model::open_features;
use recon_node::pipeline::Pipeline;
use recon_node::simulator::{OracleConfig, OracleModel, Simulator, SimulatorConfig, World};
use recon_node::trajectory::{StampedPose, Trajectory};

/// A round through a corridor and a piece of the next, with a camera that says a focal length 3 % too
/// large: after four corners the map has the start elsewhere than the camera sees it.
pub fn round() -> SimulatorConfig {
    let round = SimulatorConfig::round_of(World::Building { side_m: 8.0 });
    SimulatorConfig {
        width: 160,
        height: 120,
        rate_hz: 15.0,
        duration_secs: round.loop_secs + 4.0,
        focal_error_frac: 0.03,
        ..round
    }
}

/// The map has the places at the start in view, though the camera is elsewhere by it: the frames once
/// went on from a keyframe there, with all of the drift between two frames, and no loop was closed.
#[test]
fn a_camera_without_depth_does_not_go_on_from_places_that_nothing_ties_to_where_it_was() {
    let simulated = round();
    let oracle = OracleModel::new(&simulated, OracleConfig::default()).unwrap();
    let features = open_features(&Config::default()).unwrap();
    let mut pipeline =
        Pipeline::new(Config::default(), Models { geometry: Box::new(oracle), features });
    let mut simulator = Simulator::new(simulated.clone()).unwrap();
    let (mut truth, mut loops) = (Vec::new(), 0);
    for index in 0..simulated.frame_count() {
        let frame = Frame { depth: None, ..simulator.render(index).unwrap() };
        let update = pipeline.process(&frame).unwrap();
        assert!(update.state.has_pose(), "frame {index}: {:?}", update.state);
        loops += update.loops_closed;
        let world_from_camera = simulator.true_pose(index);
        truth.push(StampedPose { stamp: frame.stamp, world_from_camera });
    }
    let (found, truth) = (pipeline.trajectory(), Trajectory::new(truth));
    let evaluation =
        evaluate_trajectory(&found, &truth, None, DEFAULT_MAX_DIFFERENCE_SECS).unwrap();
    let ate_m = evaluation.metrics.ate_sim3;
    println!("ATE {:.1} cm, {loops} loops, {} keyframes", 100.0 * ate_m, pipeline.map().len());
    assert!(loops > 0, "no loop was closed");
    assert!(ate_m < 0.25, "{ate_m} m");
}
