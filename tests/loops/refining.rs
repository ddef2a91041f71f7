//! The whole map refined while frames go on.

use std::time::Duration;

use recon_node::ros::refinement::Refinements;
use recon_node::runtime::{Background, Progress};
use recon_node::simulator::{Simulator, SimulatorConfig};

use crate::support::Run;

/// Frames before a refinement is begun, until it is done, and after it.
const FRAMES: [usize; 3] = [60, 40, 20];

fn room() -> SimulatorConfig {
    SimulatorConfig { width: 320, height: 240, rate_hz: 15.0, ..SimulatorConfig::default() }
}

fn walk(run: &mut Run, frames: std::ops::Range<usize>) {
    let mut simulator = Simulator::new(room()).unwrap();
    for index in frames {
        run.process(&simulator.render(index).unwrap(), &simulator.true_pose(index));
    }
}

/// A run whose map is refined while it goes on, and its error before and after that was taken over;
/// the work is done here, or on another thread and one core.
fn refined_under_way(apart: bool) -> (Run, [f64; 2]) {
    let [before, during, after] = FRAMES;
    let mut run = Run::new(&[]);
    walk(&mut run, 0..before);
    let job = run.pipeline.refine_job();
    let keyframes = job.keyframes();
    walk(&mut run, before..before + during);
    let outcome = match apart {
        true => waited_for(&Background::start(move || job.run())),
        false => job.run(),
    };
    let worse_m = run.ate_m();
    let refined = run.pipeline.apply_refinement(&outcome.unwrap());
    let better_m = run.ate_m();
    eprintln!("{refined}; ATE {:.2} to {:.2} cm", 100.0 * worse_m, 100.0 * better_m);
    assert_eq!(refined.keyframes, keyframes);
    assert!(run.pipeline.map().len() > keyframes, "no keyframe has come meanwhile");
    assert!(refined.mean_cost[1] < refined.mean_cost[0], "{refined}");
    walk(&mut run, before + during..before + during + after);
    (run, [worse_m, better_m])
}

fn waited_for<T: Send + 'static>(background: &Background<T>) -> T {
    loop {
        match background.progress() {
            Progress::Running => std::thread::sleep(Duration::from_millis(5)),
            Progress::Done(found) => return found,
            Progress::Failed => panic!("the work has panicked"),
        }
    }
}

#[test]
fn a_refinement_under_way_takes_the_frames_that_came_meanwhile_along() {
    let (run, [before_m, after_m]) = refined_under_way(false);
    assert_eq!(run.tracked(), FRAMES.iter().sum::<usize>(), "frames were lost");
    assert!(after_m <= 1.05 * before_m, "{after_m} m, and {before_m} m before");
    // Over more frames than before; a camera that is off by a millimetre may be off by half of one more.
    let in_the_end_m = run.ate_m();
    assert!(in_the_end_m <= before_m + 0.0005, "{in_the_end_m} m, and {before_m} m before");
    // What odometry is made of goes on as the camera does, also over the moment of the correction.
    for (index, update) in run.updates.iter().enumerate().skip(1) {
        let truth = |i: usize| run.truth[i].world_from_camera;
        let moved = truth(index - 1).inv_mul(&truth(index));
        let found = update.previous_from_camera.unwrap();
        let gap_m = (found.translation.vector - moved.translation.vector).norm();
        assert!(gap_m < 0.02, "frame {index}: odometry is off by {gap_m} m");
    }
    // Apart and on one core it is the same, bit for bit.
    let (apart, _) = refined_under_way(true);
    assert_eq!(apart.pipeline.trajectory(), run.pipeline.trajectory());
}

#[test]
fn of_a_map_that_was_given_up_nothing_is_refined() {
    let mut run = Run::new(&[]);
    let mut refinements = Refinements::default();
    assert!(refinements.begin(&run.pipeline).unwrap_err().contains("0 keyframes"));
    walk(&mut run, 0..40);
    assert_eq!(refinements.begin(&run.pipeline), Ok(run.pipeline.map().len()));
    assert!(refinements.begin(&run.pipeline).unwrap_err().contains("under way"));
    run.pipeline.restart();
    walk(&mut run, 40..80);
    let before = run.pipeline.trajectory();
    let outcome = loop {
        match refinements.finish(&mut run.pipeline) {
            None => std::thread::sleep(Duration::from_millis(5)),
            Some(outcome) => break outcome,
        }
    };
    assert!(outcome.unwrap_err().contains("given up"));
    assert_eq!(run.pipeline.trajectory(), before);
    assert!(!refinements.is_running());
}
