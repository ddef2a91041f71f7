//! A round through a building, with a camera whose calibration is off.

use recon_node::simulator::{SimulatorConfig, World};

use crate::in_pairs::InPairs;
use crate::support::Run;

/// Small pictures, and a focal length that is said 1 % too large: turns are measured too small, so
/// that after the four corners of the corridor the round does not close. A camera that is off by more
/// bends each side so much that closing the round cannot take four fifths of it away.
fn drifting() -> SimulatorConfig {
    let round = SimulatorConfig::round_of(World::Building { side_m: 24.0 });
    SimulatorConfig {
        width: 160,
        height: 120,
        rate_hz: 15.0,
        duration_secs: round.loop_secs + 5.0,
        focal_error_frac: 0.01,
        ..round
    }
}

#[test]
fn a_closed_loop_takes_four_fifths_of_the_drift_away() {
    let [off, on] = [&["recognition.close_loops=false"][..], &[]].map(|settings| {
        let run = Run::of(&drifting(), settings);
        let (ate_m, loops) = (run.ate_m(), run.loops());
        let (tracked, keyframes) = (run.tracked(), run.pipeline.map().len());
        eprintln!(
            "ATE {:.2} cm, {loops} loops, {tracked} of {} frames, {keyframes} keyframes",
            100.0 * ate_m,
            run.updates.len()
        );
        assert_eq!(tracked, run.updates.len());
        (ate_m, loops)
    });
    assert_eq!(off.1, 0, "loops are off");
    assert!(on.1 >= 1, "no loop was closed");
    assert!(on.0 * 5.0 <= off.0, "{} m with loops, {} m without", on.0, off.0);
}

/// MASt3R's way: no keypoints, but pixels that two images share, found by looking at both.
#[test]
fn a_network_that_looks_at_pairs_closes_loops() {
    let run = Run::by(InPairs::new(), &drifting());
    let (ate_m, loops) = (run.ate_m(), run.loops());
    eprintln!("ATE {:.2} cm, {loops} loops", 100.0 * ate_m);
    assert_eq!(run.tracked(), run.updates.len());
    assert!(loops >= 1, "no loop was closed");
    assert!(ate_m < 0.05, "{ate_m} m");
}
