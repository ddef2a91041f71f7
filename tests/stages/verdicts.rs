//! What tracking says where it cannot know: a verdict, never a wrong pose, never NaN.

use nalgebra::Matrix6;
use recon_node::dense_residual::RelativeView;
use recon_node::frame::Frame;
use recon_node::geometry::Se3;
use recon_node::reference::Reference;
use recon_node::tracking::{LostReason, Tracked, Verdict};

use crate::support::{Room, SIZE, frame_of, keyframe_of, pose, prepared, repainted, tracker};

fn track(reference: &Frame, frame: &Frame) -> Tracked {
    let keyframe = keyframe_of(0, reference, Se3::identity());
    let reference = Reference::new(&keyframe.pyramid, &keyframe.pointmap, 3000);
    tracker().track(&reference, &prepared(frame).pyramid, &[RelativeView::identity()], None)
}

fn is_finite(tracked: &Tracked) -> bool {
    let pose = tracked.view.target_from_reference.to_homogeneous();
    let exposure = tracked.view.exposure;
    let shares = [tracked.overlap_frac, tracked.inlier_frac, exposure.log_gain, exposure.offset];
    pose.iter().chain(&shares).all(|v| v.is_finite())
}

/// A painted wall; `contrast` 1 uses half of the grey values.
fn wall(depth_m: f32, contrast: f64) -> Frame {
    let paint = Room::new().frame(&Se3::identity());
    let soft = |v: u8| (128.0 + contrast * (f64::from(v) - 128.0)).round() as u8;
    let depth = frame_of(SIZE, |_, _| 0, |_, _| depth_m).depth;
    Frame { depth, ..repainted(&paint, soft) }
}

#[test]
fn what_cannot_be_tracked_is_lost() {
    let room = Room::new();
    let here = room.frame(&Se3::identity());
    let blank = frame_of(SIZE, |_, _| 128, |_, _| 0.0);
    let noise = |x: u32, y: u32| ((x * 31 + y * 17).wrapping_mul(0x9E37_79B1) >> 24) as u8;
    let behind = room.frame(&pose([0.0, 180.0, 0.0], [0.0; 3]));
    let moved_walls = Frame { depth: wall(0.8, 1.0).depth, ..here.clone() };
    let cases = [
        ("another paint", Room { seed: 99, ..room }.frame(&Se3::identity())),
        ("the opposite wall", behind),
        ("noise", frame_of(SIZE, noise, |_, _| 2.0)),
        ("black", frame_of(SIZE, |_, _| 0, |_, _| 0.0)),
        ("white", frame_of(SIZE, |_, _| 255, |_, _| f32::NAN)),
        ("the same image before other walls", moved_walls),
    ];
    for (what, frame) in cases {
        let tracked = track(&here, &frame);
        assert!(matches!(tracked.verdict, Verdict::Lost(_)), "{what}: {tracked:?}");
        assert!(is_finite(&tracked), "{what}: {tracked:?}");
    }
    assert!(matches!(track(&blank, &here).verdict, Verdict::Lost(_)));
}

/// Regression: in pale rooms nearly every residual is small, wherever the camera is, and poses
/// more than a metre off were taken for tracked; only correlation tells.
#[test]
fn another_paint_is_not_taken_for_the_same_however_pale() {
    let room = Room::new();
    let pale =
        |frame: &Frame| repainted(frame, |v| (128.0 + 0.2 * (f64::from(v) - 128.0)).round() as u8);
    let here = pale(&room.frame(&Se3::identity()));
    let other = pale(&Room { seed: 99, ..room }.frame(&Se3::identity()));
    let tracked = track(&here, &other);
    assert!(tracked.inlier_frac > 0.9, "the inliers alone do not tell: {tracked:?}");
    assert_eq!(tracked.verdict, Verdict::Lost(LostReason::LowInliers), "{tracked:?}");
    assert_eq!(track(&here, &here).verdict, Verdict::Tracked);
}

#[test]
fn a_reference_without_points_finds_nothing() {
    let here = Room::new().frame(&Se3::identity());
    let blind = Frame { depth: None, ..here.clone() };
    let empty = Frame { depth: frame_of(SIZE, |_, _| 0, |_, _| f32::NAN).depth, ..here.clone() };
    let tracked = track(&empty, &here);
    assert_eq!(tracked.verdict, Verdict::Lost(LostReason::LowOverlap));
    assert!(is_finite(&tracked));
    assert!(matches!(track(&empty, &blind).verdict, Verdict::Lost(_)));
}

#[test]
fn a_blank_wall_leaves_the_motion_open() {
    let blank = frame_of(SIZE, |_, _| 128, |_, _| 2.0);
    let blind = Frame { depth: None, ..blank.clone() };
    let tracked = track(&blank, &blind);
    assert_eq!(tracked.verdict, Verdict::Lost(LostReason::Degenerate));
    assert!(is_finite(&tracked));
}

#[test]
fn starts_that_are_nowhere_are_lost() {
    let room = Room { size: (80, 60), ..Room::new() };
    let frame = room.frame(&Se3::identity());
    let keyframe = keyframe_of(0, &frame, Se3::identity());
    let reference = Reference::new(&keyframe.pyramid, &keyframe.pointmap, 1000);
    let pyramid = prepared(&frame).pyramid;
    let starts = [
        pose([0.0, 180.0, 0.0], [0.0; 3]),
        pose([0.0; 3], [0.0, 0.0, -100.0]),
        pose([0.0; 3], [f64::NAN, 0.0, 0.0]),
    ];
    for start in starts {
        let tracked = tracker().track(&reference, &pyramid, &[RelativeView::at(start)], None);
        assert!(matches!(tracked.verdict, Verdict::Lost(_)), "{tracked:?}");
    }
    let tracked = tracker().track(&reference, &pyramid, &[], None);
    assert_eq!(tracked.verdict, Verdict::Tracked, "no start is where the reference stands");
}

#[test]
fn a_covariance_is_symmetric_and_positive() {
    let room = Room::new();
    let tracked = track(&room.frame(&Se3::identity()), &room.frame(&pose([1.0; 3], [0.02; 3])));
    let covariance = tracked.covariance;
    // Rounding of an inverse, relative to its largest element.
    assert!((covariance - covariance.transpose()).amax() < 1e-9 * covariance.amax());
    assert!(covariance.cholesky().is_some());
}

/// Standard deviations of the translation, metres, all directions together.
fn translation_sigma_m(covariance: &Matrix6<f64>) -> f64 {
    covariance.fixed_view::<3, 3>(3, 3).trace().sqrt()
}

#[test]
fn pale_and_distant_walls_are_less_certain() {
    let sigma_m = |depth_m: f32, contrast: f64| {
        let wall = wall(depth_m, contrast);
        // By the image alone: its depth would say more than a pale wall.
        let tracked = track(&wall, &Frame { depth: None, ..wall.clone() });
        assert_eq!(tracked.verdict, Verdict::Tracked);
        translation_sigma_m(&tracked.covariance)
    };
    let near = sigma_m(1.0, 1.0);
    let (far, pale) = (sigma_m(4.0, 1.0), sigma_m(1.0, 0.2));
    assert!(far > 2.0 * near && pale > 2.0 * near, "{near} m, {far} m far off, {pale} m pale");
}
