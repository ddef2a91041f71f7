//! Carving: what has moved leaves no ghost in the map, and what is there stays.

use recon_node::cloud::PointCloud;
use recon_node::evaluation::{MapOptions, evaluate_map};
use recon_node::geometry::{Se3, Sim3};
use recon_node::keyframe::Keyframe;
use recon_node::map::{GlobalMap, MapConfig};
use recon_node::simulator::{Simulator, SimulatorConfig, World};

use crate::support::{frame_of, keyframe_of};

const SIZE: (u32, u32) = (64, 48);

/// Keyframes in one place before a wall at two metres; where `boxed`, a box stands at 1.2 m.
fn map_of(boxed: &[bool]) -> GlobalMap {
    let mut map = GlobalMap::default();
    for (id, &boxed) in (0..).zip(boxed) {
        let in_box = |x: usize, y: usize| boxed && (20..40).contains(&x) && (15..35).contains(&y);
        let depth = move |x, y| if in_box(x, y) { 1.2 } else { 2.0 };
        map.insert(keyframe_of(id, &frame_of(SIZE, |_, _| 90, depth), Se3::identity()));
    }
    map
}

/// Points of the box, and points of the wall.
fn counts(map: &GlobalMap, config: &MapConfig) -> (usize, usize) {
    let cloud = map.cloud(config);
    let near = cloud.points.iter().filter(|p| p.z < 1.6).count();
    (near, cloud.len() - near)
}

#[test]
fn what_the_last_or_most_keyframes_see_through_goes() {
    const B: bool = true;
    const W: bool = false;
    let cases: [(&str, &[bool], bool); 8] = [
        ("always there", &[B, B, B, B], true),
        ("there once, first", &[B, W, W, W], false),
        ("there once, in between", &[W, B, W], false),
        ("there and away equally often", &[B, W], false),
        ("away twice, then back for good", &[B, W, W, B, B, B], true),
        ("hidden from two of many by an error", &[B, B, B, B, B, W, W], true),
        ("there for long, and gone", &[B, B, B, B, B, W, W, W], false),
        ("come to stay", &[W, B, B, B], true),
    ];
    let config = MapConfig { max_witnesses: 0, ..MapConfig::default() };
    for (what, boxed, stays) in cases {
        let map = map_of(boxed);
        let (near, wall) = counts(&map, &config);
        assert_eq!(near > 200, stays, "{what}: {near} points of the box");
        assert!(stays || near == 0, "{what}: {near} points of the box are left");
        let all = counts(&map, &MapConfig { max_carving_views: 0, ..config.clone() });
        assert!(all.0 > 200, "{what}: the box is in the map that nobody carves");
        assert_eq!(wall, all.1, "{what}: the wall stays whole");
    }
}

/// Keyframes of a round through a world, at their true poses.
fn keyframes(simulator: &mut Simulator, every: usize) -> GlobalMap {
    let mut map = GlobalMap::default();
    for (id, index) in (0..600).step_by(every).enumerate() {
        let frame = simulator.render(index).unwrap();
        let keyframe: Keyframe = keyframe_of(id as u32, &frame, simulator.true_pose(index));
        map.insert(keyframe);
    }
    map
}

/// Half the sum of accuracy, against the exact surface, and completion, in centimetres.
fn chamfer_cm(simulator: &Simulator, cloud: &PointCloud) -> f64 {
    let distances = cloud.points.iter().map(|p| simulator.distance_to_surface_m(&p.cast()));
    let accuracy_cm = 100.0 * distances.sum::<f64>() / cloud.len() as f64;
    let options = MapOptions::default();
    let scored = evaluate_map(cloud, &simulator.surface(), &Sim3::identity(), &options).unwrap();
    0.5 * (accuracy_cm + scored.aligned.distances.unwrap().completion_cm)
}

/// The test of issue 8: a box that moves through the room leaves no ghost.
#[test]
fn a_moving_box_leaves_no_ghost() {
    let [mut moving, mut alone] = [World::MovingBox, World::Room].map(|world| {
        let config = SimulatorConfig { world, width: 160, height: 120, ..Default::default() };
        Simulator::new(config).unwrap()
    });
    let (boxed, empty) = (keyframes(&mut moving, 20), keyframes(&mut alone, 20));
    let chamfer = |map: &GlobalMap, config: &MapConfig| chamfer_cm(&alone, &map.cloud(config));
    let carving = MapConfig { max_witnesses: 0, ..MapConfig::default() };
    let none = MapConfig { max_carving_views: 0, ..carving.clone() };
    for config in [&MapConfig::default(), &carving] {
        let (with_cm, without_cm) = (chamfer(&boxed, config), chamfer(&empty, config));
        assert!(with_cm < 1.1 * without_cm, "{with_cm} cm with the box, {without_cm} cm without");
    }
    let (with_cm, without_cm) = (chamfer(&boxed, &none), chamfer(&empty, &none));
    assert!(with_cm > 1.1 * without_cm, "not carved, the ghost shows: {with_cm}, {without_cm} cm");
}
