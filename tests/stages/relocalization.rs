//! Relocalisation: the right place among several, or none.

use std::sync::Arc;

use image::imageops;
use recon_node::config::Config;
use recon_node::frame::Frame;
use recon_node::geometry::Se3;
use recon_node::keyframe::{Keyframe, KeyframeId};
use recon_node::reference::Reference;
use recon_node::relocalization::{Relocalized, relocalize};
use recon_node::tracking::Tracked;

use crate::support::{Room, SIZE, frame_of, pose, pose_error, prepared, tracker};

/// Keyframes that look around the room from its middle.
fn keyframes(room: &Room) -> Vec<Keyframe> {
    let look = |id: u32| room.keyframe(id, &pose([0.0, 45.0 * f64::from(id), 0.0], [0.0; 3]));
    (0..8).map(look).collect()
}

fn find(keyframes: &[Keyframe], frame: &Frame) -> Option<Relocalized> {
    relocalize(
        &tracker(),
        &prepared(frame).pyramid,
        keyframes.iter(),
        |k| Reference::new(&k.pyramid, &k.pointmap, 3000),
        &Config::default().relocalization,
    )
}

#[test]
fn a_frame_is_found_by_the_keyframe_that_looks_the_same_way() {
    let room = Room::new();
    let keyframes = keyframes(&room);
    for (id, turn_deg) in [(0, 5.0), (2, 83.0), (5, 231.0), (7, -50.0)] {
        let world_from_camera = pose([2.0, turn_deg, 0.0], [0.05, 0.02, -0.05]);
        let found = find(&keyframes, &room.frame(&world_from_camera));
        let found = found.unwrap_or_else(|| panic!("nothing found at {turn_deg} degrees"));
        assert_eq!(found.keyframe, KeyframeId(id));
        let pose = keyframes[id as usize].world_from_camera
            * found.tracked.view.target_from_reference.inverse();
        let error = pose_error(&pose, &world_from_camera);
        // Interpolation between pixels, as in tracking.
        assert!(error.is_within(0.003, 0.1), "{error:?}");
    }
}

#[test]
fn a_place_that_is_not_in_the_map_is_not_found() {
    let room = Room::new();
    let keyframes = keyframes(&room);
    let here = room.frame(&Se3::identity());
    let upside_down = Frame { color: Arc::new(imageops::rotate180(&*here.color)), ..here.clone() };
    let cases = [
        ("another paint", Room { seed: 77, ..room }.frame(&Se3::identity())),
        ("the image upside down", upside_down),
        ("darkness", frame_of(SIZE, |_, _| 0, |_, _| 0.0)),
        ("a blank wall", frame_of(SIZE, |_, _| 128, |_, _| 2.0)),
        ("another image size", frame_of((48, 48), |x, y| (x * y) as u8, |_, _| 2.0)),
    ];
    for (what, frame) in cases {
        let found = find(&keyframes, &frame);
        assert!(found.is_none(), "{what}: {found:?}");
    }
}

#[test]
fn an_empty_map_finds_nothing() {
    assert!(find(&[], &Room::new().frame(&Se3::identity())).is_none());
}

#[test]
fn the_right_depth_is_needed_too() {
    let room = Room::new();
    let here = room.frame(&Se3::identity());
    let picture_of_it = Frame { depth: frame_of(SIZE, |_, _| 0, |_, _| 0.7).depth, ..here.clone() };
    assert!(find(&keyframes(&room), &here).is_some());
    assert!(find(&keyframes(&room), &picture_of_it).is_none(), "a photograph is no place");
}

/// From far outside the room all of a keyframe falls into one pixel, which looks as it should.
#[test]
fn a_pose_without_pattern_and_depth_is_not_believed() {
    let room = Room::new();
    let config = Config::default().relocalization;
    let found = find(&keyframes(&room), &room.frame(&Se3::identity())).unwrap().tracked;
    assert!(config.accepts(&Tracked { correlation: None, ..found }));
    assert!(config.accepts(&Tracked { depth_inlier_frac: None, ..found }));
    assert!(!config.accepts(&Tracked { correlation: None, depth_inlier_frac: None, ..found }));
}
