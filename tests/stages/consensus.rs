//! Surface agreement: what several keyframes measured of one surface becomes one surface.

use std::sync::Arc;

use proptest::prelude::*;
use recon_node::frame::{DepthImage, Frame};
use recon_node::geometry::Se3;
use recon_node::keyframe::{Keyframe, KeyframeId};
use recon_node::map::{Ghosts, GlobalMap, MapConfig, fuse};
use recon_node::raster::Raster;
use recon_node::sensor::SensorConfig;

use crate::support::{Room, keyframe_of, pose};

const SIZE: (u32, u32) = (120, 90);
const COUNT: u32 = 5;

/// Where keyframes stand: near enough to each other to see the same.
fn stand(index: u32) -> Se3 {
    let at = f64::from(index);
    pose([0.0, 2.0 * at - 4.0, 0.0], [0.05 * at - 0.1, 0.02 * at, 0.0])
}

fn room(seed: u32) -> Room {
    Room { size: SIZE, seed }
}

/// The frame with other depths, by column, row and depth.
fn remeasured(frame: &Frame, measured: impl Fn(usize, usize, f32) -> f32) -> Frame {
    let before = frame.depth.as_ref().unwrap().raster();
    let depth =
        Raster::from_fn(before.width(), before.height(), |x, y| measured(x, y, before.at(x, y)));
    Frame { depth: Some(Arc::new(DepthImage::new(depth))), ..frame.clone() }
}

/// An error between -1 and 1 that looks like chance.
fn error(x: usize, y: usize, time: u32) -> f32 {
    let place = (x as u32 * 7919 + y as u32 * 104_729).wrapping_mul(0x9E37_79B1);
    let hash = (place ^ time.wrapping_mul(0x85EB_CA77)).wrapping_mul(0xC2B2_AE3D);
    (hash >> 8) as f32 / (1 << 23) as f32 - 1.0
}

fn map_of(keyframes: impl Iterator<Item = Keyframe>) -> GlobalMap {
    let mut map = GlobalMap::default();
    keyframes.for_each(|keyframe| map.insert(keyframe));
    map
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn what_keyframes_agree_on_is_nearer_to_the_truth_and_on_the_same_rays(seed in 0u32..1000) {
        let room = room(seed);
        let noisy = |index: u32| {
            let noise = |x, y, z: f32| z + 0.01 * error(x, y, seed * COUNT + index);
            keyframe_of(index, &remeasured(&room.frame(&stand(index)), noise), stand(index))
        };
        let map = map_of((0..COUNT).map(noisy));
        let middle = map.get(KeyframeId(2)).unwrap();
        let agreed = map.agreed(middle, &MapConfig::default());
        let truth = room.frame(&stand(2)).depth.unwrap();
        let (mut before, mut after, mut count) = (0.0, 0.0, 0);
        for (x, y) in (0..90).flat_map(|y| (0..120).map(move |x| (x, y))) {
            let (Some(own), Some(common)) = (middle.pointmap.point(x, y), agreed.point(x, y)) else {
                continue;
            };
            prop_assert!(own.cross(&common).norm() < 1e-4, "({}, {}) left its ray", x, y);
            prop_assert!(agreed.confidence(x, y) >= 0.99 * middle.pointmap.confidence(x, y));
            // Noise moves no surface by as much as it is from the next one.
            let errors = [own, common].map(|p| (p.z - truth.raster().at(x, y)).abs().min(0.03));
            (before, after, count) = (before + errors[0], after + errors[1], count + 1);
        }
        prop_assert!(count > 5000, "{} points are left", count);
        prop_assert!(after < 0.75 * before, "{} m off by themselves, {} m together", before, after);
    }
}

#[test]
fn what_the_others_see_through_is_left_out() {
    let room = room(1);
    let hovers = |x: usize, y: usize| (40..80).contains(&x) && (30..60).contains(&y);
    let with_ghost = |index: u32| {
        let frame = room.frame(&stand(index));
        let ghost = |x, y, z: f32| if index == 2 && hovers(x, y) { z - 0.4 } else { z };
        keyframe_of(index, &remeasured(&frame, ghost), stand(index))
    };
    let map = map_of((0..COUNT).map(with_ghost));
    let agreed = map.agreed(map.get(KeyframeId(2)).unwrap(), &MapConfig::default());
    let left = |inside: bool| {
        let pixels = (5..85).flat_map(|y| (5..115).map(move |x| (x, y)));
        let of = pixels.filter(|&(x, y)| hovers(x, y) == inside);
        let (all, seen) = of.fold((0, 0), |(all, seen), (x, y)| {
            (all + 1, seen + usize::from(agreed.point(x, y).is_some()))
        });
        f64::from(seen as u32) / f64::from(all)
    };
    assert!(left(true) < 0.02, "{} of what hovers is left", left(true));
    assert!(left(false) > 0.8, "{} of the walls is left", left(false));
}

#[test]
fn a_keyframe_that_nobody_else_sees_stays_as_it_is() {
    let room = room(1);
    let away = pose([0.0, 180.0, 0.0], [0.0; 3]);
    let keyframes = [(0, Se3::identity()), (1, away)];
    let keyframe = |(id, pose): (u32, Se3)| keyframe_of(id, &room.frame(&pose), pose);
    let map = map_of(keyframes.into_iter().map(keyframe));
    let alone = map.get(KeyframeId(0)).unwrap();
    let agreed = map.agreed(alone, &MapConfig::default());
    for (x, y) in (0..90).flat_map(|y| (0..120).map(move |x| (x, y))) {
        assert_eq!(agreed.point(x, y), alone.pointmap.point(x, y), "({x}, {y})");
        assert_eq!(agreed.confidence(x, y), alone.pointmap.confidence(x, y), "({x}, {y})");
    }
}

/// A square in front of the wall, where an edge's depth flickers: measured once, and never again.
fn flickers(x: usize, y: usize) -> bool {
    (40..80).contains(&x) && (30..60).contains(&y)
}

/// A map of one keyframe, into which a number of frames was fused; how much is left of what
/// flickered, and of the rest.
fn left_of(mut map: GlobalMap, frames: usize, config: &MapConfig) -> [f64; 2] {
    let frame = room(1).frame(&stand(2));
    let once = remeasured(&frame, |x, y, z| if flickers(x, y) { z - 0.4 } else { z });
    let mut keyframe = keyframe_of(0, &once, stand(2));
    let others = keyframe_of(1, &frame, stand(2));
    let noise = SensorConfig::default().noise();
    for _ in 0..frames {
        fuse(&mut keyframe, &others.pyramid.levels()[0], &Se3::identity(), noise, config);
    }
    map.insert(keyframe);
    let left = map.carved(map.get(KeyframeId(0)).unwrap(), &Ghosts::default(), config);
    [true, false].map(|flickering| {
        let pixels = (5..85).flat_map(|y| (5..115).map(move |x| (x, y)));
        let of: Vec<bool> = pixels
            .filter(|&(x, y)| flickers(x, y) == flickering)
            .map(|(x, y)| left.point(x, y).is_some())
            .collect();
        of.iter().filter(|left| **left).count() as f64 / of.len() as f64
    })
}

#[test]
fn what_was_measured_once_is_no_part_of_the_surface_where_the_rest_was_often() {
    let sensor = || GlobalMap::of_sensor(SensorConfig::default().noise());
    let config = MapConfig::default();
    let [once, often] = left_of(sensor(), 24, &config);
    assert!(once < 0.02 && often > 0.8, "{once} of what flickers, {often} of the rest");
    // All was measured once, or by a model: nothing is known against it.
    for [flickering, rest] in
        [left_of(sensor(), 0, &config), left_of(GlobalMap::default(), 24, &config)]
    {
        assert!(flickering > 0.8 && rest > 0.8, "{flickering}, {rest}");
    }
    let all = MapConfig { min_measurements: 0.0, ..config };
    assert!(left_of(sensor(), 24, &all)[0] > 0.8);
}
