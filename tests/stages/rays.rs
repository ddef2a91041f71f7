//! Rays: frames in a light of their own come out where they were taken.

use std::sync::Arc;

use image::RgbImage;
use nalgebra::Point3;
use proptest::prelude::*;
use recon_node::dense_residual::RelativeView;
use recon_node::frame::Frame;
use recon_node::geometry::Se3;
use recon_node::patches::select_patches;
use recon_node::reference::Reference;
use recon_node::tracking::{Tracked, Verdict};

use crate::support::{
    PoseError, Room, keyframe_of, pose, pose_error, prepared, repainted, tracker,
};
use crate::tracking::motions;

const MAX_POINTS: usize = 5000;
const MAX_PATCHES: usize = 300;

/// The frame under a lamp at the right: brightness grows by `share` from the left to the right.
fn under_a_lamp(frame: &Frame, share: f64) -> Frame {
    let (width, height) = frame.color.dimensions();
    let color = RgbImage::from_fn(width, height, |x, y| {
        let place = f64::from(x) / f64::from(width - 1) - 0.5;
        let factor = share.mul_add(place, 1.0);
        image::Rgb(frame.color.get_pixel(x, y).0.map(|v| (f64::from(v) * factor).round() as u8))
    });
    Frame { color: Arc::new(color), ..frame.clone() }
}

fn without_depth(frame: &Frame) -> Frame {
    Frame { depth: None, ..frame.clone() }
}

/// The frame tracked against another one, with patches and without.
fn tracked(here: &Frame, there: &Frame, max_patches: usize) -> Tracked {
    let keyframe = keyframe_of(0, here, Se3::identity());
    let reference = Reference::new(&keyframe.pyramid, &keyframe.pointmap, MAX_POINTS).with_patches(
        &keyframe.pyramid,
        &keyframe.pointmap,
        max_patches,
    );
    let start = [RelativeView::identity()];
    tracker().track(&reference, &prepared(there).pyramid, &start, None)
}

fn errors(here: &Frame, there: &Frame, world_from_camera: &Se3) -> [PoseError; 2] {
    let truth = world_from_camera.inverse();
    [0, MAX_PATCHES].map(|patches| {
        let tracked = tracked(here, there, patches);
        pose_error(&tracked.view.target_from_reference, &truth)
    })
}

#[test]
fn a_lamp_pulls_at_intensities_and_not_at_rays() {
    let room = Room::new();
    let here = room.frame(&Se3::identity());
    // The one left out turns the furthest, by more than the bound is for: 5.3 mm, and 60 by intensities.
    let [still, little, turn, aside, _, back] = motions();
    for world_from_camera in [still, little, turn, aside, back] {
        let there = without_depth(&under_a_lamp(&room.frame(&world_from_camera), 0.5));
        let [by_intensities, by_rays] = errors(&here, &there, &world_from_camera);
        println!("by intensities {by_intensities:?}, by rays {by_rays:?}");
        assert!(by_rays.is_within(0.004, 0.1), "{by_rays:?}");
        assert!(by_rays.metres < 0.5 * by_intensities.metres, "{by_rays:?}, {by_intensities:?}");
    }
}

#[test]
fn a_frame_that_is_lost_by_its_light_is_tracked_by_rays() {
    let room = Room::new();
    let here = room.frame(&Se3::identity());
    let world_from_camera = pose([1.0, 2.0, -1.0], [-0.04, 0.02, 0.05]);
    let dimmed = repainted(&room.frame(&world_from_camera), |v| v / 2);
    let there = under_a_lamp(&dimmed, 1.8);
    let by_intensities = tracked(&here, &there, 0);
    assert!(matches!(by_intensities.verdict, Verdict::Lost(_)), "{by_intensities:?}");
    let by_rays = tracked(&here, &there, MAX_PATCHES);
    assert_eq!(by_rays.verdict, Verdict::Tracked, "{by_rays:?}");
    let error = pose_error(&by_rays.view.target_from_reference, &world_from_camera.inverse());
    assert!(error.is_within(0.005, 0.15), "{error:?}");
    assert!(by_rays.inlier_frac > 0.6 && by_rays.correlation.unwrap() > 0.6, "{by_rays:?}");
}

/// Where light stays as it is, rays are not asked, and nothing changes for them.
#[test]
fn patches_change_nothing_where_intensities_fit() {
    let room = Room::new();
    let here = room.frame(&Se3::identity());
    for world_from_camera in motions() {
        for there in
            [room.frame(&world_from_camera), without_depth(&room.frame(&world_from_camera))]
        {
            assert_eq!(tracked(&here, &there, 0), tracked(&here, &there, MAX_PATCHES));
        }
    }
}

#[test]
fn what_shows_something_else_is_not_tracked_by_rays() {
    let room = Room::new();
    let here = room.frame(&Se3::identity());
    let behind = room.frame(&pose([0.0, 170.0, 0.0], [0.0; 3]));
    for there in [without_depth(&behind), without_depth(&repainted(&here, |_| 128))] {
        let tracked = tracked(&here, &there, MAX_PATCHES);
        assert!(matches!(tracked.verdict, Verdict::Lost(_)), "{tracked:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// A patch is found on the pixel on which its point is, whatever light falls on it.
    #[test]
    fn patches_are_found_where_their_points_are(
        turn in prop::array::uniform3(-3.0f64..3.0),
        shift in prop::array::uniform3(-0.06f64..0.06),
        gain in 0.5f64..1.2,
        offset in 0.0f64..20.0,
        lamp in -0.5f64..0.5,
    ) {
        let room = Room::new();
        let keyframe = keyframe_of(0, &room.frame(&Se3::identity()), Se3::identity());
        let patches = select_patches(&keyframe.pyramid.levels()[0], &keyframe.pointmap, 200);
        prop_assert!(patches.len() > 50, "{} patches", patches.len());
        let world_from_camera = pose(turn, shift);
        let there = repainted(&room.frame(&world_from_camera), |v| {
            gain.mul_add(0.8 * f64::from(v), offset) as u8
        });
        let there = prepared(&under_a_lamp(&there, lamp));
        let level = &there.pyramid.levels()[0];
        // Looked for a little off from where it is.
        let near = pose([0.1, -0.2, 0.1], [0.0; 3]) * world_from_camera.inverse();
        let (mut visible, mut right) = (0, 0);
        for patch in &patches {
            if !patch.is_visible(level, &near) {
                continue;
            }
            visible += 1;
            let point = world_from_camera.inverse() * Point3::from(patch.point_in_reference.cast());
            let (Some(found), Some(truth)) = (patch.find(level, &near), level.camera.project(&point)) else { continue };
            right += usize::from((found.pixel - truth).norm() < 0.5);
        }
        prop_assert!(right * 10 >= visible * 8, "{right} of {visible}");
    }
}
