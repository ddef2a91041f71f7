//! Two maps of one place, and maps that are thinned out.

use std::collections::BTreeSet;

use recon_node::simulator::{Simulator, SimulatorConfig, World};

use crate::support::{frames, mapped, pipeline, room};

#[test]
fn two_maps_of_one_room_become_one_whatever_their_worlds() {
    let all = frames(0..90);
    let (first, second) = (mapped(&all[..60]), mapped(&all[35..]));
    let other = second.snapshot();
    let mut joined = pipeline(&[]);
    joined.restore(first.snapshot()).unwrap();
    let merged = joined.join(&other).unwrap();
    eprintln!("{merged:?}");
    assert_eq!(joined.map().len(), first.map().len() + second.map().len());
    // The second world begins with frame 35.
    let room = room();
    let truth = room.true_pose(0).inv_mul(&room.true_pose(35));
    let gap_m = (truth.translation.vector - merged.world_from_other.translation.vector).norm();
    assert!(gap_m < 0.03, "{gap_m} m");
    let sessions = joined.snapshot().graph.sessions;
    assert_eq!(sessions.iter().map(Vec::len).collect::<Vec<_>>(), [60, 55]);
    let tied = joined.snapshot().graph.constraints.iter().any(|c| {
        let count = first.map().next_id();
        (c.constraint.target < count) != (c.constraint.source < count)
    });
    assert!(tied, "nothing ties the maps together");
}

#[test]
fn maps_of_different_places_are_not_joined() {
    let world = World::Building { side_m: 8.0 };
    let config = SimulatorConfig {
        width: 320,
        height: 240,
        rate_hz: 10.0,
        loop_secs: 40.0,
        world,
        ..SimulatorConfig::default()
    };
    let mut building = Simulator::new(config).unwrap();
    let elsewhere: Vec<_> = (0..30).map(|index| building.render(index).unwrap()).collect();
    let mut here = mapped(&frames(0..40));
    let before = here.snapshot();
    let message = here.join(&mapped(&elsewhere).snapshot()).unwrap_err().to_string();
    assert!(message.contains("cannot be joined"), "{message}");
    assert_eq!(here.snapshot().graph, before.graph);
}

#[test]
fn a_thinned_map_keeps_every_frame_where_it_was_and_hangs_together() {
    let whole = mapped(&frames(0..60)).snapshot();
    let mut thin = whole.clone();
    let half = whole.keyframes.len() / 2;
    let removed = thin.prune(1.1, Some(half));
    assert_eq!((removed, thin.keyframes.len()), (whole.keyframes.len() - half, half));
    let (before, after) = (&whole.trajectories()[0], &thin.trajectories()[0]);
    assert_eq!(before.poses().len(), after.poses().len());
    for (a, b) in before.poses().iter().zip(after.poses()) {
        let gap_m = (a.world_from_camera.translation.vector
            - b.world_from_camera.translation.vector)
            .norm();
        assert!(gap_m < 1e-9, "{gap_m}");
    }
    // Every keyframe is reached over constraints.
    let first = *thin.graph.poses.keys().next().unwrap();
    let mut reached = BTreeSet::from([first]);
    for _ in 0..half {
        for c in thin.constraints() {
            if reached.contains(&c.target) || reached.contains(&c.source) {
                reached.extend([c.target, c.source]);
            }
        }
    }
    assert_eq!(reached.len(), half);
    pipeline(&[]).restore(thin).unwrap();
}
