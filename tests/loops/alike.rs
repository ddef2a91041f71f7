//! Rooms that nothing tells apart: no loop between them is a true one.

use recon_node::simulator::{SimulatorConfig, World};

use crate::support::Run;

const ROOMS: usize = 3;

fn alike() -> SimulatorConfig {
    let round = SimulatorConfig::round_of(World::Corridor { rooms: ROOMS });
    SimulatorConfig { width: 320, height: 240, rate_hz: 15.0, ..round }
}

/// Rooms are four metres apart: a false loop would move the camera, and the map, by metres.
#[test]
fn rooms_that_are_alike_are_not_taken_for_one_another() {
    let run = Run::of(&alike(), &[]);
    let errors = (0..run.updates.len()).filter_map(|index| Some((index, run.error(index)?)));
    let worst = errors.max_by(|a, b| a.1.0.total_cmp(&b.1.0)).unwrap();
    let (ate_m, loops) = (run.ate_m(), run.loops());
    eprintln!(
        "ATE {:.2} cm, worst published {worst:?}, {loops} loops, {} keyframes",
        100.0 * ate_m,
        run.pipeline.map().len()
    );
    assert_eq!(run.tracked(), run.updates.len(), "frames without a pose");
    assert!(worst.1.0 < 0.3, "frame {}: {:?} metres and degrees off", worst.0, worst.1);
    assert!(ate_m < 0.1, "{ate_m} m");
}

/// What keyframes share, by the map's own account: nothing where a wall is between them.
#[test]
fn keyframes_of_different_rooms_share_nothing() {
    // Two rooms are enough, and quicker.
    let world = World::Corridor { rooms: 2 };
    let config = SimulatorConfig { world, ..alike() };
    let round = SimulatorConfig::round_of(world);
    let config = SimulatorConfig {
        loop_secs: round.loop_secs,
        duration_secs: 0.8 * round.loop_secs,
        ..config
    };
    let run = Run::of(&config, &[]);
    let mut pairs = 0;
    for (a, b, frac) in run.pipeline.covisibility().edges() {
        let place = |id| {
            let keyframe = run.pipeline.map().get(id).unwrap();
            run.truth[keyframe.frame.id as usize].world_from_camera.translation.vector
        };
        let apart_m = (place(a) - place(b)).norm();
        // From one end of the corridor to the other much is shared; more than that nothing is.
        assert!(apart_m < 7.0, "{a:?} and {b:?}, {apart_m} m apart, are said to share {frac}");
        pairs += 1;
    }
    assert!(pairs > 100, "{pairs} pairs");
}
