//! Finding one's way in a map that does not change.

use nalgebra::Matrix6;
use recon_node::frame::Frame;
use recon_node::geometry::Se3;
use recon_node::observer::{MapUpdate, TrackingState};
use recon_node::pipeline::Pipeline;
use recon_node::simulator::Simulator;
use recon_node::store;

use crate::support::{mapped, pipeline, room, saved};

/// Frames of a round of the room at ten a second.
const ROUND: usize = 200;
/// Frames that are mapped.
const MAPPED: usize = 60;

struct Visit {
    simulator: Simulator,
    pipeline: Pipeline,
}

impl Visit {
    /// A camera that comes back to a part of the room that was mapped and saved.
    fn back(settings: &[&str]) -> Self {
        let mut simulator = room();
        let frames: Vec<Frame> = (0..MAPPED).map(|i| simulator.render(i).unwrap()).collect();
        let file = saved(&mapped(&frames).snapshot());
        let mut pipeline = pipeline(settings);
        pipeline.restore(store::load(&file.path).unwrap()).unwrap();
        Self { simulator, pipeline }
    }

    fn see(&mut self, index: usize) -> (Frame, MapUpdate) {
        let frame = self.simulator.render(index).unwrap();
        let update = self.pipeline.process(&frame).unwrap();
        (frame, update)
    }

    /// Metres between a pose and the truth, in the map's world, which begins with frame 0.
    fn error_m(&self, index: usize, world_from_camera: &Se3) -> f64 {
        let truth = self.simulator.true_pose(0).inv_mul(&self.simulator.true_pose(index));
        (truth.translation.vector - world_from_camera.translation.vector).norm()
    }
}

#[test]
fn on_the_next_round_it_knows_where_it_is_and_the_map_stays_as_it_is() {
    let mut visit = Visit::back(&["map.localization_only=true"]);
    let before = visit.pipeline.snapshot();
    let revision = visit.pipeline.map().revision();
    let (mut placed, mut first, mut worst_m) = (0, None, 0.0f64);
    for index in ROUND..ROUND + MAPPED {
        let (frame, update) = visit.see(index);
        let localization = visit.pipeline.localization(&update, frame.odometry.as_ref());
        assert_eq!(localization.is_localized, update.state.has_pose());
        let Some(pose) = update.world_from_camera else { continue };
        placed += 1;
        first = first.or(Some(index - ROUND));
        worst_m = worst_m.max(visit.error_m(index, &pose));
    }
    eprintln!("{placed} of {MAPPED} placed, the first after {first:?}, at most {worst_m} m off");
    assert!(placed * 100 >= MAPPED * 95 && first.is_some_and(|n| n <= 10));
    assert!(worst_m < 0.05, "{worst_m} m");
    let after = visit.pipeline.snapshot();
    assert_eq!(visit.pipeline.map().revision(), revision, "a keyframe has changed");
    assert_eq!(after.graph.poses, before.graph.poses);
    assert_eq!(after.graph.constraints, before.graph.constraints);
    assert_eq!(after.graph.covisibility, before.graph.covisibility);
    assert_eq!(after.graph.next_keyframe, before.graph.next_keyframe);
}

#[test]
fn where_nothing_is_mapped_it_says_so_and_grows_less_sure() {
    let mut visit = Visit::back(&["map.localization_only=true"]);
    (ROUND..ROUND + 10).for_each(|index| drop(visit.see(index)));
    let spread = |covariance: &Matrix6<f64>| covariance.fixed_view::<3, 3>(3, 3).trace();
    // The other side of the room.
    let (mut lost, mut last) = (0, 0.0);
    for index in ROUND + 100..ROUND + 120 {
        let (frame, update) = visit.see(index);
        if let Some(pose) = update.world_from_camera {
            let error_m = visit.error_m(index, &pose);
            assert!(error_m < 0.1, "frame {index} is {error_m} m off");
            last = 0.0;
            continue;
        }
        lost += 1;
        let localization = visit.pipeline.localization(&update, frame.odometry.as_ref());
        assert!(!localization.is_localized && localization.reason.is_some());
        let now = spread(&localization.covariance.unwrap());
        assert!(now > last, "{now} after {last}");
        last = now;
    }
    eprintln!("{lost} of 20 frames not localised");
    assert!(lost >= 10);
    let (_, back) = (ROUND + 20..ROUND + 30).map(|index| visit.see(index)).last().unwrap();
    assert!(back.state.has_pose(), "{:?}", back.state);
}

#[test]
fn without_a_map_it_says_what_is_missing() {
    let mut nowhere = pipeline(&["map.localization_only=true"]);
    let update = nowhere.process(&room().render(0).unwrap()).unwrap();
    assert!(matches!(&update.state, TrackingState::Initializing(why) if why.contains("load one")));
    assert!(nowhere.map().is_empty());
    let localization = nowhere.localization(&update, None);
    assert!(!localization.is_localized && localization.covariance.is_none());
}
