//! Global refinement: a whole map of disturbed keyframes comes back, tied by some pairs only.

use recon_node::alignment::{AlignmentConfig, RefinementConfig, refine};
use recon_node::config::Config;
use recon_node::error::Error;
use recon_node::geometry::Se3;
use recon_node::keyframe::{Keyframe, KeyframeId};

use crate::support::{Room, on_threads, pose, pose_error};

/// What interpolation costs, added up along the map: metres, degrees.
const LIMIT: (f64, f64) = (0.004, 0.1);

/// Keyframes of the map, numbered from 4 on.
const COUNT: u32 = 8;

/// A camera that goes sideways and turns, and would see the next three from each place.
fn truth(index: u32) -> Se3 {
    let at = f64::from(index);
    pose([0.5 * at, 4.0 * at - 14.0, 0.0], [0.08 * at - 0.3, 0.02 * at, 0.03 * at])
}

fn disturbed_map() -> Vec<Keyframe> {
    let room = Room::new();
    let off = |index: u32| {
        let sign = |bit: u32| if (index >> bit) & 1 == 0 { 1.0 } else { -1.0 };
        pose([0.5 * sign(0), 0.6 * sign(1), 0.4 * sign(2)], [0.012, 0.01 * sign(1), 0.01 * sign(0)])
    };
    let keyframe = |index: u32| {
        let mut keyframe = room.keyframe(4 + index, &truth(index));
        if index > 0 {
            keyframe.world_from_camera = truth(index) * off(index);
        }
        keyframe
    };
    (0..COUNT).map(keyframe).collect()
}

/// Each keyframe with the next three; one pair twice, and one about a keyframe that is not there.
fn pairs() -> Vec<(KeyframeId, KeyframeId)> {
    let ahead = |i: u32| (i + 1..(i + 4).min(COUNT)).map(move |j| (i, j));
    let all = (0..COUNT).flat_map(ahead).chain([(1, 0), (2, 90)]);
    all.map(|(a, b)| (KeyframeId(4 + a), KeyframeId(4 + b))).collect()
}

fn config() -> AlignmentConfig {
    let refinement = RefinementConfig { max_points: 1500, ..RefinementConfig::default() };
    AlignmentConfig { refinement, ..AlignmentConfig::default() }
}

#[test]
fn a_disturbed_map_comes_back_and_its_oldest_keyframe_is_held() {
    let map = disturbed_map();
    // The order in which keyframes come must not matter for which is held.
    let keyframes: Vec<&Keyframe> = map.iter().rev().collect();
    let noise = Config::default().sensor.noise();
    let refined = refine(&keyframes, &pairs(), noise, &config()).unwrap();
    for (index, keyframe) in (0..).zip(&map) {
        let before = pose_error(&keyframe.world_from_camera, &truth(index));
        let after = pose_error(&refined.world_from_camera[&keyframe.id], &truth(index));
        assert!(after.is_within(LIMIT.0, LIMIT.1), "{}: {before:?}, then {after:?}", keyframe.id);
    }
    let held = pose_error(&refined.world_from_camera[&KeyframeId(4)], &truth(0));
    assert!(held.is_within(1e-7, 1e-5), "{held:?}");
    assert!(refined.mean_cost[1] < 0.6 * refined.mean_cost[0], "{:?}", refined.mean_cost);
    assert!(refined.constraints.len() >= 2 * (COUNT as usize - 1));
}

#[test]
fn refinement_is_the_same_bits_on_any_number_of_threads() {
    let map = disturbed_map();
    let keyframes: Vec<&Keyframe> = map.iter().collect();
    let noise = Config::default().sensor.noise();
    let run = || refine(&keyframes, &pairs(), noise, &config()).unwrap().world_from_camera;
    assert_eq!(on_threads(1, run), on_threads(2, run));
}

#[test]
fn a_map_without_pairs_is_refused() {
    let map = disturbed_map();
    let keyframes: Vec<&Keyframe> = map.iter().collect();
    let noise = Config::default().sensor.noise();
    for pairs in [vec![], vec![(KeyframeId(4), KeyframeId(4))]] {
        let refused = refine(&keyframes, &pairs, noise, &config());
        assert!(matches!(refused, Err(Error::TooFewCorrespondences { got: 0, .. })));
    }
}
