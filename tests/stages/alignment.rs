//! Window alignment: disturbed keyframes come back to where they were taken.

use nalgebra::Vector6;
use recon_node::alignment::{AlignmentConfig, WindowAlignment, align_window};
use recon_node::config::Config;
use recon_node::error::{Error, Result};
use recon_node::geometry::{Se3, se3};
use recon_node::keyframe::{Keyframe, KeyframeId};

use crate::support::{Room, on_threads, pose, pose_error};

/// Exact images at full size leave what interpolation costs.
const LIMIT: (f64, f64) = (0.002, 0.05);

/// Where the keyframes of a window were taken.
fn true_poses() -> [Se3; 5] {
    [
        pose([0.0; 3], [0.0; 3]),
        pose([0.0, 6.0, 0.0], [0.15, 0.0, 0.0]),
        pose([2.0, -6.0, 1.0], [-0.1, 0.05, 0.1]),
        pose([-3.0, 3.0, 0.0], [0.1, -0.1, 0.2]),
        pose([1.0, 8.0, -2.0], [0.25, 0.0, 0.1]),
    ]
}

/// Keyframes 3, 4, .. of a room, each but the oldest 2 cm and a degree off.
fn disturbed_window() -> Vec<Keyframe> {
    let room = Room::new();
    let off = |index: usize| {
        let sign = |bit: usize| if (index >> bit) & 1 == 0 { 1.0 } else { -1.0 };
        pose([0.6 * sign(0), 0.6 * sign(1), 0.5], [0.012, 0.012 * sign(1), 0.01 * sign(0)])
    };
    let keyframes = true_poses().into_iter().enumerate().map(|(index, truth)| {
        let mut keyframe = room.keyframe(3 + index as u32, &truth);
        if index > 0 {
            keyframe.world_from_camera = truth * off(index);
        }
        keyframe
    });
    keyframes.collect()
}

fn align(window: &[Keyframe]) -> Result<WindowAlignment> {
    // Newest first, as windows are.
    let window: Vec<&Keyframe> = window.iter().rev().collect();
    align_window(&window, Config::default().sensor.noise(), &config())
}

fn config() -> AlignmentConfig {
    AlignmentConfig { rounds: 8, ..AlignmentConfig::default() }
}

#[test]
fn disturbed_keyframes_come_back() {
    let window = disturbed_window();
    let aligned = align(&window).unwrap();
    for (keyframe, truth) in window.iter().zip(true_poses()) {
        let before = pose_error(&keyframe.world_from_camera, &truth);
        let after = pose_error(&aligned.world_from_camera[&keyframe.id], &truth);
        assert!(after.is_within(LIMIT.0, LIMIT.1), "{}: {before:?}, then {after:?}", keyframe.id);
    }
    assert!(aligned.mean_cost[1] < 0.5 * aligned.mean_cost[0], "{:?}", aligned.mean_cost);
    assert!(aligned.last_step < 1e-3, "{}", aligned.last_step);
}

#[test]
fn the_oldest_keyframe_is_held_exactly() {
    let aligned = align(&disturbed_window()).unwrap();
    assert_eq!(aligned.world_from_camera[&KeyframeId(3)], Se3::identity());
    assert_eq!(aligned.world_from_camera.len(), 5);
}

#[test]
fn constraints_say_how_the_keyframes_really_stand() {
    let (truth, aligned) = (true_poses(), align(&disturbed_window()).unwrap());
    assert!(aligned.constraints.len() >= 10, "{} constraints", aligned.constraints.len());
    for constraint in &aligned.constraints {
        let [target, source] = [constraint.target, constraint.source].map(|id| id.0 as usize - 3);
        let expected = truth[target].inv_mul(&truth[source]);
        let error = pose_error(&constraint.target_from_source, &expected);
        assert!(error.is_within(2.0 * LIMIT.0, 2.0 * LIMIT.1), "{constraint:?}: {error:?}");
        assert!(constraint.information.cholesky().is_some());
    }
}

#[test]
fn the_result_is_the_same_bits_on_any_number_of_threads() {
    let window = disturbed_window();
    let results = [1, 2, 3].map(|threads| on_threads(threads, || align(&window).unwrap()));
    for other in &results[1..] {
        assert_eq!(other.world_from_camera, results[0].world_from_camera);
        assert_eq!(other.constraints, results[0].constraints);
    }
}

#[test]
fn moving_the_whole_window_moves_the_result_along() {
    let window = disturbed_window();
    let shift = se3::exp(&Vector6::new(0.4, -1.1, 0.3, 3.0, -2.0, 1.0));
    let moved: Vec<Keyframe> = window
        .iter()
        .map(|k| Keyframe { world_from_camera: shift * k.world_from_camera, ..k.clone() })
        .collect();
    let (here, there) = (align(&window).unwrap(), align(&moved).unwrap());
    for (id, pose) in &here.world_from_camera {
        // The solver holds poses by their size in the world, so its steps differ a little.
        let error = pose_error(&there.world_from_camera[id], &(shift * pose));
        assert!(error.is_within(2e-4, 0.01), "{id}: {error:?}");
    }
}

#[test]
fn windows_that_share_nothing_are_refused() {
    let room = Room { size: (80, 60), ..Room::new() };
    let here = room.keyframe(0, &Se3::identity());
    let behind = room.keyframe(1, &pose([0.0, 180.0, 0.0], [0.0; 3]));
    let cases = [vec![], vec![here.clone()], vec![here, behind]];
    for window in cases {
        let refused = align(&window).unwrap_err();
        assert!(matches!(refused, Error::TooFewCorrespondences { got: 0, .. }), "{refused}");
        assert!(refused.to_string().contains("window"), "{refused}");
    }
}

#[test]
fn a_keyframe_that_shares_nothing_stays_while_the_others_align() {
    let mut window = disturbed_window();
    let behind = pose([0.0, 180.0, 0.0], [0.0; 3]);
    window.push(Room::new().keyframe(9, &behind));
    let aligned = align(&window).unwrap();
    assert!(pose_error(&aligned.world_from_camera[&KeyframeId(9)], &behind).is_within(1e-9, 1e-6));
    let moved = &aligned.world_from_camera[&KeyframeId(5)];
    assert!(pose_error(moved, &true_poses()[2]).is_within(LIMIT.0, LIMIT.1));
}
