//! The map: fusion makes it surer, and its cloud stays bounded.

use std::collections::BTreeMap;
use std::sync::Arc;

use image::{Rgb, RgbImage};
use nalgebra::{Point3, Vector3};
use proptest::prelude::*;
use recon_node::frame::Frame;
use recon_node::geometry::Se3;
use recon_node::keyframe::{Keyframe, KeyframeId};
use recon_node::map::{GlobalMap, MapConfig, VoxelCloud, fuse};
use recon_node::pointmap::Pointmap;
use recon_node::raster::Raster;
use recon_node::sensor::DepthNoise;

use crate::support::{Room, frame_of, keyframe_of, on_threads, pose, prepared};

const SIZE: (u32, u32) = (64, 48);
const NOISE: DepthNoise = DepthNoise { floor_m: 0.002, per_m2: 0.0025 };

/// A wall at two metres, measured with an error that differs from pixel to pixel and from time to
/// time, 12 mm wide: that of the sensor.
fn noisy_wall(time: u32) -> Frame {
    let error = move |x: usize, y: usize| {
        let hash =
            (x as u32 * 7919 + y as u32 * 104_729 + time * 15_485_863).wrapping_mul(0x9E37_79B1);
        (hash >> 16) as f32 / 65_535.0 - 0.5
    };
    frame_of(SIZE, |x, y| (x + y) as u8, move |x, y| 2.0 + 0.04 * error(x, y))
}

fn depths(keyframe: &Keyframe) -> impl Iterator<Item = f64> + '_ {
    let map = &keyframe.pointmap;
    let pixels = (0..map.height()).flat_map(move |y| (0..map.width()).map(move |x| (x, y)));
    pixels.filter_map(|(x, y)| map.point(x, y)).map(|p| f64::from(p.z))
}

/// Mean of the squared error of a wall at two metres, m².
fn variance_m2(keyframe: &Keyframe) -> f64 {
    let errors: Vec<f64> = depths(keyframe).map(|z| (z - 2.0).powi(2)).collect();
    errors.iter().sum::<f64>() / errors.len() as f64
}

/// A keyframe that has these points, seen from the origin.
fn keyframe_with(id: u32, points: &[Vector3<f32>], confidence: f32) -> Keyframe {
    let count = points.len().max(1);
    let mut keyframe =
        keyframe_of(id, &frame_of((count as u32, 1), |_, _| 0, |_, _| 0.0), Se3::identity());
    let mut all = points.to_vec();
    all.resize(count, Vector3::zeros());
    let confidence = Raster::filled(count, 1, confidence);
    keyframe.pointmap = Pointmap::new(Raster::new(count, 1, all).unwrap(), confidence).unwrap();
    keyframe
}

fn cloud_of(keyframes: &[Keyframe], config: &MapConfig) -> VoxelCloud {
    let mut cloud = VoxelCloud::new(config);
    keyframes.iter().for_each(|keyframe| cloud.add(keyframe, &keyframe.pointmap));
    cloud
}

fn any_points() -> impl Strategy<Value = Vec<Vector3<f32>>> {
    let point = (-2.0f32..2.0, -2.0f32..2.0, 0.1f32..4.0);
    prop::collection::vec(point.prop_map(|(x, y, z)| Vector3::new(x, y, z)), 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_cloud_never_has_more_voxels_than_allowed(points in any_points(), max_voxels in 8usize..50) {
        let config = MapConfig { max_voxels, ..MapConfig::default() };
        let cloud = cloud_of(&[keyframe_with(0, &points, 1.0)], &config);
        // The edge is doubled, as often as needed and no oftener.
        let doublings = (cloud.voxel_size_m() / config.voxel_size_m).log2();
        prop_assert!((doublings - doublings.round()).abs() < 1e-9);
        prop_assert!(points.len() > max_voxels || doublings < 0.5);
        prop_assert!((1..=max_voxels).contains(&cloud.into_point_cloud().len()));
    }

    #[test]
    fn a_voxels_point_is_the_mean_of_its_points_and_all_are_counted(points in any_points()) {
        let config = MapConfig { voxel_size_m: 10.0, ..MapConfig::default() };
        let cloud = cloud_of(&[keyframe_with(0, &points, 1.0)], &config).into_point_cloud();
        // Voxels of ten metres: one for each octant that has points.
        let octant = |p: &Vector3<f32>| (p.x < 0.0, p.y < 0.0);
        for found in &cloud.points {
            let own: Vec<_> = points.iter().filter(|p| octant(p) == octant(&found.coords)).collect();
            let mean = own.iter().fold(Vector3::zeros(), |sum, p| sum + **p) / own.len() as f32;
            prop_assert!((mean - found.coords).norm() < 1e-4);
        }
    }
}

#[test]
fn measurements_that_agree_make_a_wall_flatter() {
    let mut keyframe = keyframe_of(0, &noisy_wall(0), Se3::identity());
    let (before, confidence) = (variance_m2(&keyframe), keyframe.pointmap.confidence(30, 20));
    for time in 1..10 {
        let frame = prepared(&noisy_wall(time));
        let level = &frame.pyramid.levels()[0];
        let moved = fuse(&mut keyframe, level, &Se3::identity(), NOISE, &MapConfig::default());
        assert!(moved > 2000, "{moved} of {} points", SIZE.0 * SIZE.1);
    }
    let after = variance_m2(&keyframe);
    // Ten measurements of equal weight: a tenth, but for chance.
    assert!(after < 0.2 * before, "{before} m², then {after} m²");
    assert!(keyframe.pointmap.confidence(30, 20) > 5.0 * confidence);
}

#[test]
fn a_point_is_never_surer_than_allowed() {
    let config = MapConfig { max_fused_measurements: 3.0, ..MapConfig::default() };
    let mut keyframe = keyframe_of(0, &noisy_wall(0), Se3::identity());
    let frame = prepared(&noisy_wall(0));
    for _ in 0..20 {
        fuse(&mut keyframe, &frame.pyramid.levels()[0], &Se3::identity(), NOISE, &config);
    }
    let one = NOISE.sigma_m(2.0).powi(-2);
    let confidence = f64::from(keyframe.pointmap.confidence(30, 20));
    // The measured depth itself differs from two metres by a percent, its variance by two.
    assert!((confidence / one - 3.0).abs() < 0.2, "{} measurements", confidence / one);
}

/// Where a surface ends, nothing can be interpolated, but the surface was measured all the same.
#[test]
fn the_edge_of_a_surface_is_measured_by_the_pixels_that_are_of_it() {
    let step = frame_of(SIZE, |_, _| 0, |x, _| if x < 30 { 1.5 } else { 2.0 });
    let mut keyframe = keyframe_of(0, &step, Se3::identity());
    let frame = prepared(&step);
    let level = &frame.pyramid.levels()[0];
    // A fraction of a pixel to the side: both edges' pixels fall between near and far ones.
    let aside = pose([0.0; 3], [0.005, 0.0, 0.0]);
    let before = keyframe.pointmap.confidence(29, 20);
    fuse(&mut keyframe, level, &aside, NOISE, &MapConfig::default());
    for x in 28..32 {
        let depth_m = if x < 30 { 1.5 } else { 2.0 };
        assert!(keyframe.pointmap.confidence(x, 20) > 1.5 * NOISE.sigma_m(2.0).powi(-2) as f32);
        assert!((keyframe.pointmap.point(x, 20).unwrap().z - depth_m).abs() < 1e-3, "column {x}");
    }
    assert!(keyframe.pointmap.confidence(29, 20) > 1.5 * before);
}

#[test]
fn what_disagrees_or_is_out_of_view_changes_nothing() {
    let original = keyframe_of(0, &noisy_wall(0), Se3::identity());
    let wall = |depth_m: f32| prepared(&frame_of(SIZE, |_, _| 0, move |_, _| depth_m));
    let behind = pose([0.0, 180.0, 0.0], [0.0; 3]);
    let cases = [
        ("a nearer wall", wall(1.6), Se3::identity()),
        ("a further wall", wall(2.5), Se3::identity()),
        ("no depth", wall(f32::NAN), Se3::identity()),
        ("a view of the other side", wall(2.0), behind),
        ("a pose that is not one", wall(2.0), pose([0.0; 3], [f64::NAN, 0.0, 0.0])),
    ];
    for (what, frame, frame_from_keyframe) in cases {
        let mut keyframe = original.clone();
        let level = &frame.pyramid.levels()[0];
        let moved = fuse(&mut keyframe, level, &frame_from_keyframe, NOISE, &MapConfig::default());
        assert_eq!(moved, 0, "{what}");
        assert_eq!(keyframe.pointmap, original.pointmap, "{what}");
    }
}

#[test]
fn points_move_along_their_rays_only() {
    let room = Room { size: SIZE, ..Room::new() };
    let (original, there) =
        (room.keyframe(0, &Se3::identity()), pose([1.0, 2.0, 0.0], [0.05, 0.0, 0.0]));
    let mut keyframe = original.clone();
    let frame = prepared(&room.frame(&there));
    let level = &frame.pyramid.levels()[0];
    assert!(fuse(&mut keyframe, level, &there.inverse(), NOISE, &MapConfig::default()) > 1000);
    for (x, y) in (0..48).flat_map(|y| (0..64).map(move |x| (x, y))) {
        let (before, after) = (original.pointmap.point(x, y), keyframe.pointmap.point(x, y));
        assert_eq!(before.is_some(), after.is_some());
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        assert!(before.cross(&after).norm() < 1e-5, "({x}, {y}) left its ray");
    }
}

#[test]
fn voxels_seen_by_too_few_keyframes_are_left_out() {
    let (seen_twice, seen_once) = (Vector3::new(0.5, 0.5, 1.5), Vector3::new(0.5, 0.5, 3.5));
    let keyframes = [
        keyframe_with(0, &[seen_twice, seen_once, seen_once], 1.0),
        keyframe_with(1, &[seen_twice], 1.0),
    ];
    for (min_observations, expected) in [(1, 2), (2, 1), (3, 0)] {
        let config = MapConfig { min_observations, voxel_size_m: 1.0, ..MapConfig::default() };
        assert_eq!(cloud_of(&keyframes, &config).into_point_cloud().len(), expected);
    }
}

#[test]
fn surer_points_and_their_colours_count_more() {
    let [mut near, far] = [(1.0f32, 3.0), (3.0, 1.0)]
        .map(|(z, confidence)| keyframe_with(0, &[Vector3::new(0.1, 0.1, z)], confidence));
    near.frame.color = Arc::new(RgbImage::from_pixel(1, 1, Rgb([200, 100, 40])));
    let config = MapConfig { voxel_size_m: 10.0, ..MapConfig::default() };
    let cloud = cloud_of(&[near, far], &config).into_point_cloud();
    assert_eq!(cloud.colors, [[150, 75, 30]]);
    assert!((cloud.points[0] - Point3::new(0.1, 0.1, 1.5)).norm() < 1e-6);
}

#[test]
fn the_map_bends_with_its_keyframes() {
    let mut map = GlobalMap::default();
    let id = map.take_id();
    map.insert(keyframe_with(id.0, &[Vector3::new(0.0, 0.0, 1.0)], 1.0));
    let shifted = pose([0.0, 90.0, 0.0], [0.0, 2.0, 0.0]);
    map.set_poses(&BTreeMap::from([(id, shifted), (KeyframeId(77), Se3::identity())]));
    let cloud = map.cloud(&MapConfig::default());
    assert_eq!((map.len(), cloud.len()), (1, 1));
    assert!((cloud.points[0] - Point3::new(1.0, 2.0, 0.0)).norm() < 1e-6);
    assert_eq!(map.get(id).unwrap().world_from_camera, shifted);
}

#[test]
fn numbers_are_never_used_twice() {
    let mut map = GlobalMap::default();
    map.insert(keyframe_with(5, &[], 1.0));
    assert_eq!((map.take_id(), map.take_id()), (KeyframeId(6), KeyframeId(7)));
    assert_eq!(map.keyframes().map(|k| k.id.0).collect::<Vec<_>>(), [5]);
}

#[test]
fn an_empty_map_has_an_empty_cloud() {
    let map = GlobalMap::default();
    assert!(map.is_empty() && map.cloud(&MapConfig::default()).is_empty());
    let blind = keyframe_with(0, &[Vector3::new(f32::NAN, 0.0, 1.0)], 1.0);
    assert!(cloud_of(&[blind], &MapConfig::default()).into_point_cloud().is_empty());
}

#[test]
fn the_cloud_is_the_same_on_any_number_of_threads() {
    let room = Room { size: SIZE, ..Room::new() };
    let made = || {
        let mut keyframe = room.keyframe(0, &Se3::identity());
        let there = pose([0.0, 1.0, 0.0], [0.02, 0.0, 0.0]);
        let frame = prepared(&room.frame(&there));
        fuse(
            &mut keyframe,
            &frame.pyramid.levels()[0],
            &there.inverse(),
            NOISE,
            &MapConfig::default(),
        );
        cloud_of(&[keyframe], &MapConfig::default()).into_point_cloud()
    };
    let clouds = [1, 2, 3].map(|threads| on_threads(threads, made));
    assert!(clouds[0].len() > 1000);
    assert!(clouds[1] == clouds[0] && clouds[2] == clouds[0]);
}
