//! Losing the way, and finding it again.

use recon_node::frame::Frame;
use recon_node::geometry::Se3;
use recon_node::observer::TrackingState;

use crate::pipeline::{assert_true, pipeline, process, sway, swaying};
use crate::support::{Room, SIZE, frame_of, pose};

/// The frame, seen by a camera with its lid on.
fn covered(frame: &Frame) -> Frame {
    let dark = frame_of(SIZE, |_, _| 0, |_, _| 0.0);
    Frame { color: dark.color, depth: dark.depth, ..frame.clone() }
}

#[test]
fn in_the_dark_there_is_no_pose_and_after_it_there_is_again() {
    let mut frames = swaying(50);
    frames[20..30].iter_mut().for_each(|frame| *frame = covered(frame));
    let mut pipeline = pipeline();
    let updates = process(&mut pipeline, &frames);
    for update in &updates[20..30] {
        assert!(matches!(update.state, TrackingState::Lost(_)), "{update:?}");
        assert_eq!((update.world_from_camera, update.covariance), (None, None));
    }
    assert!(updates[..20].iter().all(|u| u.state == TrackingState::Tracking));
    assert_eq!(updates[30].state, TrackingState::Relocalized);
    assert!(updates[31..].iter().all(|u| u.state == TrackingState::Tracking));
    assert_true(&updates, sway, 0.015);
    assert_eq!(pipeline.trajectory().poses().len(), 40);
}

/// Carried off, in no time, to where nothing is mapped, and back to where the way began.
#[test]
fn after_being_carried_off_the_old_place_is_recognised() {
    let room = Room::new();
    let elsewhere = |index: usize| pose([0.0, 180.0, 0.0], [0.0; 3]) * sway(index);
    let stand = |index: usize| match index {
        0..25 => sway(index),
        25..33 => elsewhere(index),
        _ => sway(index - 33),
    };
    let frames: Vec<Frame> = (0..40).map(|i| room.numbered(i, &stand(i))).collect();
    let updates = process(&mut pipeline(), &frames);
    for update in &updates[25..33] {
        assert!(matches!(update.state, TrackingState::Lost(_)), "{update:?}");
    }
    assert_eq!(updates[33].state, TrackingState::Relocalized);
    assert!(updates[34..].iter().all(|u| u.state == TrackingState::Tracking));
    assert_true(&updates, stand, 0.015);
}

/// A frame that looks like the map from nowhere near it must not be believed.
#[test]
fn a_jump_within_the_map_is_never_a_wrong_pose() {
    let room = Room::new();
    let stand = |index: usize| if index < 15 { sway(2 * index) } else { sway(3 * (index - 15)) };
    let frames: Vec<Frame> = (0..25).map(|i| room.numbered(i, &stand(i))).collect();
    let updates = process(&mut pipeline(), &frames);
    assert_true(&updates, stand, 0.02);
    assert!(updates[15..].iter().all(|u| u.state.has_pose()));
}

#[test]
fn a_pause_is_no_reason_to_get_lost() {
    let mut frames = swaying(12);
    frames.iter_mut().skip(6).for_each(|f| f.stamp = f.stamp.plus_secs(600.0));
    let updates = process(&mut pipeline(), &frames);
    assert!(updates.iter().all(|u| u.state.has_pose()));
    assert_true(&updates, sway, 0.01);
}

#[test]
fn stamps_that_stand_still_or_go_back_are_no_nan() {
    let mut frames = swaying(8);
    let first = frames[0].stamp;
    frames[3].stamp = frames[2].stamp;
    frames[5].stamp = first;
    let updates = process(&mut pipeline(), &frames);
    assert_true(&updates, sway, 0.01);
    let poses = updates.iter().filter_map(|u| u.world_from_camera);
    assert!(poses.into_iter().all(|p: Se3| p.to_homogeneous().iter().all(|v| v.is_finite())));
}
