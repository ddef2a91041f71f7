//! Tracking: frames of a known room come out where they were taken.

use nalgebra::Vector6;
use proptest::prelude::*;
use recon_node::dense_residual::RelativeView;
use recon_node::frame::Frame;
use recon_node::geometry::Se3;
use recon_node::reference::Reference;
use recon_node::tracking::{KeyframeConfig, Tracked, Verdict, has_left_keyframe};

use crate::support::{Room, keyframe_of, pose, pose_error, prepared, repainted, tracker};

/// Exact images leave what interpolation between pixels costs: a fifth of a pixel at most.
const LIMIT: (f64, f64) = (0.003, 0.1);
/// Points compared on the finest level.
const MAX_POINTS: usize = 5000;

fn reference(frame: &Frame) -> Reference {
    let keyframe = keyframe_of(0, frame, Se3::identity());
    Reference::new(&keyframe.pyramid, &keyframe.pointmap, MAX_POINTS)
}

fn track(reference: &Frame, frame: &Frame) -> Tracked {
    let start = [RelativeView::identity()];
    tracker().track(&self::reference(reference), &prepared(frame).pyramid, &start, None)
}

/// Motions between keyframe and frame as they come, from little to what a search must mend.
pub fn motions() -> [Se3; 6] {
    [
        pose([0.0; 3], [0.0; 3]),
        pose([0.3, -0.5, 0.2], [0.01, 0.0, 0.01]),
        pose([1.0, 2.0, -1.0], [-0.04, 0.02, 0.05]),
        pose([-2.0, 4.0, 2.0], [0.1, -0.03, 0.02]),
        pose([3.0, -5.0, -3.0], [0.05, 0.05, 0.15]),
        pose([0.0, -5.0, 0.0], [0.1, 0.0, -0.08]),
    ]
}

#[test]
fn frames_are_found_where_they_were_taken() {
    let room = Room::new();
    let here = room.frame(&Se3::identity());
    for world_from_camera in motions() {
        let tracked = track(&here, &room.frame(&world_from_camera));
        let error = pose_error(&tracked.view.target_from_reference, &world_from_camera.inverse());
        assert_eq!(tracked.verdict, Verdict::Tracked, "{tracked:?}");
        assert!(error.is_within(LIMIT.0, LIMIT.1), "{error:?}");
        assert!(tracked.converged && tracked.inlier_frac > 0.9, "{tracked:?}");
        assert!(tracked.depth_inlier_frac.unwrap() > 0.9, "{tracked:?}");
    }
}

#[test]
fn there_and_back_again_is_no_motion() {
    let room = Room::new();
    let here = room.frame(&Se3::identity());
    for world_from_camera in motions() {
        let there = room.frame(&world_from_camera);
        let forwards = track(&here, &there).view.target_from_reference;
        let backwards = track(&there, &here).view.target_from_reference;
        let error = pose_error(&(backwards * forwards), &Se3::identity());
        assert!(error.is_within(2.0 * LIMIT.0, 2.0 * LIMIT.1), "{error:?}");
    }
}

#[test]
fn exposure_changes_are_no_motion() {
    let room = Room::new();
    let here = room.frame(&Se3::identity());
    let moved = pose([1.0, 2.0, -1.0], [-0.04, 0.02, 0.05]);
    for (gain, offset) in [(1.2, -7.0), (0.7, 10.0), (0.9, 25.0)] {
        let change = |v: u8| (gain * f64::from(v) + offset).clamp(0.0, 255.0).round() as u8;
        let tracked = track(&here, &repainted(&room.frame(&moved), change));
        let error = pose_error(&tracked.view.target_from_reference, &moved.inverse());
        assert!(error.is_within(LIMIT.0, LIMIT.1), "{error:?}");
        let found = tracked.view.exposure;
        // A twentieth of the gain and three grey values: what saturated pixels may pull.
        assert!((found.log_gain - f64::ln(gain)).abs() < 0.05, "{found:?}");
        assert!((found.offset - offset).abs() < 3.0, "{found:?}");
    }
}

#[test]
fn a_frame_without_depth_is_tracked_by_its_image() {
    let room = Room::new();
    for world_from_camera in &motions()[..4] {
        let blind = Frame { depth: None, ..room.frame(world_from_camera) };
        let tracked = track(&room.frame(&Se3::identity()), &blind);
        let error = pose_error(&tracked.view.target_from_reference, &world_from_camera.inverse());
        assert!(error.is_within(2.0 * LIMIT.0, 2.0 * LIMIT.1), "{error:?}");
        assert_eq!((tracked.verdict, tracked.depth_inlier_frac), (Verdict::Tracked, None));
    }
}

#[test]
fn a_search_finds_a_turn_that_tracking_cannot_follow() {
    let room = Room::new();
    let reference = reference(&room.frame(&Se3::identity()));
    let turns = [[0.0, 15.0, 0.0], [0.0, -15.0, 0.0], [12.0, 0.0, 0.0], [0.0, 20.0, 0.0]];
    for turn_deg in turns {
        let turned = pose(turn_deg, [0.03, 0.0, 0.02]);
        let frame = prepared(&room.frame(&turned));
        let start = [RelativeView::identity()];
        let found = tracker().search(&reference, &frame.pyramid, &start);
        let error = pose_error(&found.view.target_from_reference, &turned.inverse());
        assert!(error.is_within(LIMIT.0, LIMIT.1), "{turn_deg:?}: {error:?}");
        assert_eq!(found.verdict, Verdict::Tracked);
    }
}

#[test]
fn of_several_starts_the_best_is_followed() {
    let room = Room::new();
    let reference = reference(&room.frame(&Se3::identity()));
    let truth = pose([0.0, 25.0, 0.0], [0.1, 0.0, 0.0]);
    let frame = prepared(&room.frame(&truth));
    let near = pose([0.5, 24.0, 0.0], [0.12, 0.01, 0.0]).inverse();
    let starts = [Se3::identity(), pose([0.0, 60.0, 0.0], [0.0; 3]), near].map(RelativeView::at);
    let tracked = tracker().track(&reference, &frame.pyramid, &starts, None);
    let error = pose_error(&tracked.view.target_from_reference, &truth.inverse());
    assert!(error.is_within(LIMIT.0, LIMIT.1), "{error:?}");
}

#[test]
fn a_prior_holds_what_the_images_leave_open() {
    // A blank wall without depth says nothing at all, so the prior alone remains.
    let wall = crate::support::frame_of(crate::support::SIZE, |_, _| 100, |_, _| 2.0);
    let blind = prepared(&Frame { depth: None, ..wall.clone() });
    let expected = pose([0.5, 1.0, 0.0], [0.02, 0.0, 0.03]);
    let prior = tracker().motion_prior(expected, 1.0 / 30.0);
    let start = [RelativeView::identity()];
    let tracked = tracker().track(&reference(&wall), &blind.pyramid, &start, Some(&prior));
    assert!(pose_error(&tracked.view.target_from_reference, &expected).is_within(1e-3, 0.05));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn small_motions_are_found_whatever_their_direction(
        turn_deg in prop::array::uniform3(-2.0f64..2.0),
        shift_m in prop::array::uniform3(-0.05f64..0.05),
        seed in 1u32..50,
    ) {
        let room = Room { seed, ..Room::new() };
        let world_from_camera = pose(turn_deg, shift_m);
        let tracked = track(&room.frame(&Se3::identity()), &room.frame(&world_from_camera));
        let error = pose_error(&tracked.view.target_from_reference, &world_from_camera.inverse());
        prop_assert!(error.is_within(LIMIT.0, LIMIT.1), "{:?}", error);
    }

    #[test]
    fn a_longer_pause_makes_the_prior_weaker(pause_secs in 0.01f64..5.0) {
        let weight = |secs: f64| tracker().motion_prior(Se3::identity(), secs).information;
        let (short, long) = (weight(pause_secs), weight(1.5 * pause_secs));
        prop_assert!((0..6).all(|i| long[(i, i)] < short[(i, i)] && long[(i, i)] > 0.0));
    }
}

#[test]
fn a_keyframe_is_left_by_way_turn_or_view() {
    let config = KeyframeConfig {
        min_overlap_frac: 0.7,
        max_translation_frac: 0.1,
        max_rotation_deg: 15.0,
        ..KeyframeConfig::default()
    };
    let cases = [
        ("nothing happened", [0.0; 3], [0.0; 3], 1.0, 2.0, false),
        ("just before every limit", [0.0, 14.9, 0.0], [0.199, 0.0, 0.0], 0.71, 2.0, false),
        ("a turn", [0.0, 15.1, 0.0], [0.0; 3], 1.0, 2.0, true),
        ("a turn about the optical axis", [0.0, 0.0, -16.0], [0.0; 3], 1.0, 2.0, true),
        ("a way", [0.0; 3], [0.0, 0.0, 0.21], 1.0, 2.0, true),
        ("the same way, far from all things", [0.0; 3], [0.0, 0.0, 0.21], 1.0, 4.0, false),
        ("little in common", [0.0; 3], [0.0; 3], 0.69, 2.0, true),
        ("no depth", [0.0; 3], [0.01, 0.0, 0.0], 1.0, 0.0, true),
    ];
    for (what, turn_deg, shift_m, overlap_frac, depth_m, left) in cases {
        let pose = pose(turn_deg, shift_m);
        assert_eq!(has_left_keyframe(&pose, overlap_frac, depth_m, &config), left, "{what}");
    }
}

#[test]
fn the_covariance_covers_the_error() {
    let room = Room::new();
    let here = room.frame(&Se3::identity());
    for world_from_camera in motions() {
        let tracked = track(&here, &room.frame(&world_from_camera));
        let found = tracked.view.target_from_reference;
        let error: Vector6<f64> =
            recon_node::geometry::se3::log(&(world_from_camera.inverse() * found.inverse()));
        for i in 0..6 {
            let sigma = tracked.covariance[(i, i)].sqrt();
            // Ten sigmas: interpolation errs alike all over the image, which no covariance knows.
            assert!(error[i].abs() < 10.0 * sigma + 1e-4, "{i}: {} of {sigma}", error[i]);
        }
    }
}
