//! Windows: who sees the same, and which keyframes are looked at together.

use nalgebra::Point3;
use proptest::prelude::*;
use recon_node::geometry::Se3;
use recon_node::keyframe::KeyframeId;
use recon_node::window::{CovisibilityGraph, Places, WindowConfig, overlap_frac, sample_window};

use crate::support::{Room, frame_of, pose, prepared};

fn graph(edges: &[(u32, u32, f64)]) -> CovisibilityGraph {
    let mut graph = CovisibilityGraph::default();
    for &(a, b, frac) in edges {
        graph.connect(KeyframeId(a), KeyframeId(b), frac);
    }
    graph
}

/// Keyframes stand on a line, a metre apart.
fn on_a_line(id: KeyframeId) -> Point3<f64> {
    Point3::new(f64::from(id.0), 0.0, 0.0)
}

fn numbers(window: &[KeyframeId]) -> Vec<u32> {
    window.iter().map(|id| id.0).collect()
}

proptest! {
    #[test]
    fn what_two_keyframes_share_is_the_same_from_both(
        edges in prop::collection::vec((0u32..8, 0u32..8, 0.0f64..1.0), 0..30),
    ) {
        let edges: Vec<_> = edges.into_iter().filter(|(a, b, _)| a != b).collect();
        let graph = graph(&edges);
        for a in (0..8).map(KeyframeId) {
            let neighbours = graph.neighbours(a);
            prop_assert!(neighbours.windows(2).all(|pair| pair[0].1 >= pair[1].1));
            for (b, frac) in neighbours {
                prop_assert_eq!(graph.overlap_frac(a, b), frac);
                prop_assert_eq!(graph.overlap_frac(b, a), frac);
            }
        }
        prop_assert!(graph.edges().all(|(a, b, _)| a < b));
    }

    #[test]
    fn a_window_begins_with_its_keyframe_and_has_none_twice(
        edges in prop::collection::vec((1u32..20, 0.0f64..1.0), 0..30),
        max_keyframes in 2usize..10, closest_keyframes in 1usize..12,
    ) {
        let edges: Vec<_> = edges.into_iter().map(|(id, frac)| (0, id, frac)).collect();
        let graph = graph(&edges);
        let config = WindowConfig { max_keyframes, closest_keyframes, min_overlap_frac: 0.3, ..WindowConfig::default() };
        let window = sample_window(&graph, KeyframeId(0), on_a_line, &config);
        prop_assert_eq!(window[0], KeyframeId(0));
        let mut unique = window.clone();
        unique.sort_unstable();
        unique.dedup();
        prop_assert_eq!(unique.len(), window.len());
        prop_assert!(window.len() <= max_keyframes);
        let enough = |id: &KeyframeId| graph.overlap_frac(KeyframeId(0), *id) >= 0.3;
        prop_assert!(window[1..].iter().all(enough));
        let close: Vec<_> = graph.neighbours(KeyframeId(0)).into_iter().filter(|n| n.1 >= 0.3).collect();
        let certain = close.len().min(closest_keyframes).min(max_keyframes - 1);
        prop_assert!(close[..certain].iter().all(|(id, _)| window.contains(id)));
    }

    #[test]
    fn overlap_is_a_share(turn in -180.0f64..180.0, tilt in -60.0f64..60.0, shift in -1.0f64..1.0) {
        let view = prepared(&Room { size: (48, 36), ..Room::new() }.frame(&Se3::identity()));
        let pose = pose([tilt, turn, 0.0], [shift, 0.0, -shift]);
        prop_assert!((0.0..=1.0).contains(&overlap_frac(&view.pyramid, &view.pyramid, &pose)));
    }
}

#[test]
fn a_view_shares_all_with_itself_and_nothing_with_its_opposite() {
    let room = Room::new();
    let behind = pose([0.0, 180.0, 0.0], [0.0; 3]);
    let (here, there) = (prepared(&room.frame(&Se3::identity())), prepared(&room.frame(&behind)));
    assert_eq!(overlap_frac(&here.pyramid, &here.pyramid, &Se3::identity()), 1.0);
    assert_eq!(overlap_frac(&here.pyramid, &there.pyramid, &behind.inverse()), 0.0);
}

#[test]
fn the_further_a_camera_turns_the_less_it_shares() {
    let room = Room::new();
    let here = prepared(&room.frame(&Se3::identity()));
    let shared = [0.0, 10.0, 20.0, 30.0, 45.0, 70.0].map(|turn_deg| {
        let turned = pose([0.0, turn_deg, 0.0], [0.0; 3]);
        let there = prepared(&room.frame(&turned));
        overlap_frac(&here.pyramid, &there.pyramid, &turned.inverse())
    });
    assert!(shared.windows(2).all(|pair| pair[1] < pair[0]), "{shared:?}");
    assert_eq!(shared[5], 0.0);
}

#[test]
fn surfaces_that_are_elsewhere_are_not_shared() {
    let wall = |depth_m: f32| prepared(&frame_of((64, 48), |_, _| 9, |_, _| depth_m));
    // 5 cm and 5 % of the depth are taken as the same surface.
    for (depth_m, shared) in [(2.0, 1.0), (2.1, 1.0), (2.3, 0.0), (1.7, 0.0)] {
        let found = overlap_frac(&wall(2.0).pyramid, &wall(depth_m).pyramid, &Se3::identity());
        assert_eq!(found, shared, "a wall at {depth_m} m");
    }
}

#[test]
fn without_depth_nothing_is_shared() {
    let (blind, wall) = (
        prepared(&frame_of((64, 48), |_, _| 9, |_, _| f32::NAN)),
        prepared(&frame_of((64, 48), |_, _| 9, |_, _| 2.0)),
    );
    for (a, b) in [(&blind, &blind), (&blind, &wall), (&wall, &blind)] {
        assert_eq!(overlap_frac(&a.pyramid, &b.pyramid, &Se3::identity()), 0.0);
    }
}

#[test]
fn of_equal_neighbours_the_newest_comes_first() {
    let graph = graph(&[(0, 3, 0.5), (0, 1, 0.5), (0, 2, 0.9)]);
    let order: Vec<u32> = graph.neighbours(KeyframeId(0)).iter().map(|n| n.0.0).collect();
    assert_eq!(order, [2, 3, 1]);
}

#[test]
fn a_window_has_the_closest_and_then_the_furthest_apart() {
    let edges: Vec<_> = (0..10).map(|id| (10, id, 0.3 + 0.05 * f64::from(id))).collect();
    let graph = graph(&edges);
    let config = WindowConfig {
        max_keyframes: 5,
        closest_keyframes: 2,
        min_overlap_frac: 0.3,
        ..WindowConfig::default()
    };
    let window = sample_window(&graph, KeyframeId(10), on_a_line, &config);
    // 9 and 8 share most; of the rest 0 is furthest from them, then 4 from all.
    assert_eq!(numbers(&window), [10, 9, 8, 0, 4]);
}

#[test]
fn a_keyframe_alone_is_a_window() {
    let mut graph = CovisibilityGraph::default();
    let config = WindowConfig::default();
    let alone = |graph: &CovisibilityGraph| sample_window(graph, KeyframeId(7), on_a_line, &config);
    assert_eq!(numbers(&alone(&graph)), [7]);
    graph.insert(KeyframeId(7));
    assert_eq!(numbers(&alone(&graph)), [7]);
    assert_eq!((graph.neighbours(KeyframeId(9)).len(), graph.edges().count()), (0, 0));
    assert_eq!(graph.overlap_frac(KeyframeId(7), KeyframeId(9)), 0.0);
}

proptest! {
    #[test]
    fn places_find_what_a_look_at_all_finds(
        stands in prop::collection::vec((0u32..30, prop::array::uniform3(-9.0f64..9.0)), 0..80),
        place in prop::array::uniform3(-9.0f64..9.0), reach_m in 0.0f64..6.0,
    ) {
        let (mut places, mut all) = (Places::default(), std::collections::BTreeMap::new());
        for (id, at) in stands {
            // A number that comes again has moved.
            places.set(KeyframeId(id), at.into());
            all.insert(KeyframeId(id), Point3::from(at));
        }
        let place = Point3::from(place);
        let near = all.iter().filter(|(_, at)| (*at - place).norm() <= reach_m);
        let near: Vec<KeyframeId> = near.map(|(&id, _)| id).collect();
        prop_assert_eq!(places.within(&place, reach_m), near);
    }
}
