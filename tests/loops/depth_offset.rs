//! A depth sensor that measures too little or too much throughout, found out while the map grows.

use recon_node::frame::Frame;
use recon_node::simulator::{Simulator, SimulatorConfig};

use crate::support::Run;

/// Half a round through the room.
const FRAMES: usize = 150;

fn room() -> SimulatorConfig {
    SimulatorConfig { width: 320, height: 240, rate_hz: 15.0, ..SimulatorConfig::default() }
}

/// A walk with a sensor that says `error_m` too much.
fn walked(error_m: f64, settings: &[&str]) -> Run {
    let mut simulator = Simulator::new(room()).unwrap();
    let mut run = Run::new(settings);
    for index in 0..FRAMES {
        let frame: Frame = simulator.render(index).unwrap().with_depth_offset(error_m);
        run.process(&frame, &simulator.true_pose(index));
    }
    assert_eq!(run.tracked(), FRAMES, "frames were lost");
    let found_cm = 100.0 * run.pipeline.config().sensor.depth_offset_m;
    let (keyframes, ate_cm) = (run.pipeline.map().len(), 100.0 * run.ate_m());
    eprintln!(
        "depths off by {:.1} cm {settings:?}: corrected by {found_cm:.2} cm, ATE {ate_cm:.2} cm, \
         {keyframes} keyframes",
        100.0 * error_m
    );
    run
}

#[test]
fn the_offset_of_a_simulated_sensor_is_found_while_mapping() {
    let off = "sensor.estimate_depth_offset=false";
    for error_m in [-0.04, 0.04] {
        let (found, without) = (walked(error_m, &[]), walked(error_m, &[off]));
        let offset_m = found.pipeline.config().sensor.depth_offset_m;
        // It is drawn towards none, as far as sensors err in other ways as well.
        let share = -offset_m / error_m;
        assert!((0.4..1.2).contains(&share), "{offset_m} m of {error_m} m");
        let [found_m, without_m] = [&found, &without].map(Run::ate_m);
        assert!(found_m < 0.7 * without_m, "ATE {found_m} m, without a correction {without_m} m");
        assert!(without.pipeline.config().sensor.depth_offset_m.abs() < 1e-12);
        // Odometry goes on as the camera does, also over the moment of the correction.
        for (index, update) in found.updates.iter().enumerate().skip(1) {
            let truth = |i: usize| found.truth[i].world_from_camera;
            let moved = truth(index - 1).inv_mul(&truth(index)).translation.vector;
            let said = update.previous_from_camera.unwrap().translation.vector;
            assert!((said - moved).norm() < 0.02, "frame {index}: {said} for {moved}");
        }
    }
}

#[test]
fn a_sensor_that_is_right_stays_as_it_is() {
    let run = walked(0.0, &[]);
    assert!(run.pipeline.config().sensor.depth_offset_m.abs() < 1e-12);
}
