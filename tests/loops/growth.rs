//! What a frame and a keyframe cost must not depend on how much is mapped. Time is measured by the
//! example `long_run`; here work is counted, which is the same on any machine.

use recon_node::simulator::{SimulatorConfig, World};

use crate::support::Run;

/// Two thirds of a round through a large building: new territory all the time.
#[test]
fn a_keyframe_is_tied_to_no_more_others_when_the_map_is_large() {
    let round = SimulatorConfig::round_of(World::Building { side_m: 14.0 });
    let config = SimulatorConfig {
        width: 160,
        height: 120,
        rate_hz: 12.0,
        duration_secs: 0.66 * round.loop_secs,
        ..round
    };
    let run = Run::of(&config, &[]);
    let (tracked, keyframes) = (run.tracked(), run.pipeline.map().len());
    let degrees: Vec<usize> = run
        .pipeline
        .map()
        .keyframes()
        .map(|keyframe| run.pipeline.covisibility().neighbours(keyframe.id).len())
        .collect();
    let quarter = keyframes / 4;
    let mean = |part: &[usize]| part.iter().sum::<usize>() as f64 / part.len() as f64;
    let [early, late] =
        [&degrees[quarter..2 * quarter], &degrees[2 * quarter..3 * quarter]].map(mean);
    eprintln!(
        "{tracked} of {} frames, {keyframes} keyframes, neighbours {early:.1}, later {late:.1}",
        run.updates.len()
    );
    assert_eq!(tracked, run.updates.len());
    assert!(keyframes > 40, "{keyframes} keyframes");
    assert!(late < 1.5 * early, "{early} neighbours at first, {late} later");
}
