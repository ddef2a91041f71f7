//! Loops, right and wrong, on a way that goes twice round a ring.

use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::TAU;

use nalgebra::{Matrix6, UnitQuaternion, Vector3, Vector6};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use recon_node::constraint::Constraint;
use recon_node::geometry::{Se3, se3};
use recon_node::keyframe::KeyframeId;
use recon_node::pose_graph::{Optimized, PoseGraph, PoseGraphConfig};

use crate::worlds::normal;

type Poses = BTreeMap<KeyframeId, Se3>;

/// Keyframes of one round; the way is two.
const ROUND: u32 = 100;
const SIGMA_RAD: f64 = 0.001;
const SIGMA_M: f64 = 0.004;

fn ring() -> Vec<Se3> {
    let stand = |i: u32| {
        let angle = TAU * f64::from(i) / f64::from(ROUND);
        let turn = UnitQuaternion::from_scaled_axis(Vector3::y() * angle);
        // The second round is a little higher than the first.
        let lift = if i < ROUND { 0.0 } else { 0.05 };
        Se3::from_parts((turn * Vector3::new(8.0, lift, 0.0)).into(), turn)
    };
    (0..2 * ROUND).map(stand).collect()
}

/// A measurement of `source` from `target` with noise and, per step, a bias in sigmas.
fn measured(
    poses: &[Se3],
    [target, source]: [u32; 2],
    bias: f64,
    random: &mut SmallRng,
) -> Constraint {
    let between = poses[target as usize].inv_mul(&poses[source as usize]);
    let sigma = |i: usize| if i < 3 { SIGMA_RAD } else { SIGMA_M };
    let drift = |i: usize| if i == 1 { bias } else { 0.0 };
    let noise = Vector6::from_fn(|i, _| sigma(i) * (normal(random) + drift(i)));
    Constraint {
        target: KeyframeId(target),
        source: KeyframeId(source),
        target_from_source: se3::exp(&noise) * between,
        information: Matrix6::from_fn(|r, c| if r == c { sigma(r).powi(-2) } else { 0.0 }),
    }
}

/// A graph of the way alone, and where its measurements lead.
fn way(bias: f64, random: &mut SmallRng) -> (PoseGraph, Poses) {
    let truth = ring();
    let mut graph = PoseGraph::default();
    let mut start = vec![truth[0]];
    for i in 1..2 * ROUND {
        let step = measured(&truth, [i - 1, i], bias, random);
        start.push(start[start.len() - 1] * step.target_from_source);
        graph.update(&[step]);
    }
    (graph, (0..).map(KeyframeId).zip(start).collect())
}

fn right_loops(every: usize, random: &mut SmallRng) -> Vec<Constraint> {
    let truth = ring();
    (0..ROUND).step_by(every).map(|i| measured(&truth, [i, i + ROUND], 0.0, random)).collect()
}

/// A wrong loop: two places that are taken for one another.
fn mistaken(target: u32, source: u32, off: Se3) -> Constraint {
    Constraint {
        target: KeyframeId(target),
        source: KeyframeId(source),
        target_from_source: off,
        information: Matrix6::from_fn(|r, c| match (r == c, r < 3) {
            (true, true) => SIGMA_RAD.powi(-2),
            (true, false) => SIGMA_M.powi(-2),
            _ => 0.0,
        }),
    }
}

fn config() -> PoseGraphConfig {
    PoseGraphConfig { max_iterations: 100, ..PoseGraphConfig::default() }
}

fn keys(loops: &[Constraint]) -> BTreeSet<(KeyframeId, KeyframeId)> {
    loops.iter().map(|l| (l.target, l.source)).collect()
}

/// Root mean square distance from the truth, metres: the first keyframe is where it belongs.
fn error_m(poses: &Poses) -> f64 {
    let gaps = poses.values().zip(ring());
    let sum: f64 =
        gaps.map(|(p, t)| (p.translation.vector - t.translation.vector).norm_squared()).sum();
    (sum / poses.len() as f64).sqrt()
}

fn farthest_m(a: &Poses, b: &Poses) -> f64 {
    let gap = |(a, b): (&Se3, &Se3)| (a.translation.vector - b.translation.vector).norm();
    a.values().zip(b.values()).map(gap).fold(0.0, f64::max)
}

/// Solves the way with right and wrong loops, and holds it against the right ones alone.
fn wrong_loops_bend_nothing(wrong: &[Constraint], seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let (mut graph, start) = way(0.0, &mut random);
    graph.update_loops(&right_loops(10, &mut random));
    let alone = graph.solve(start.clone(), &config());
    assert!(alone.refused_loops.is_empty(), "{:?}", alone.refused_loops);
    assert!(error_m(&alone.poses) < 0.5 * error_m(&start), "the right loops must help");
    graph.update_loops(wrong);
    let Optimized { poses, refused_loops, .. } = graph.solve(start, &config());
    assert_eq!(refused_loops.into_iter().collect::<BTreeSet<_>>(), keys(wrong));
    assert!(farthest_m(&poses, &alone.poses) < 1e-4, "{}", farthest_m(&poses, &alone.poses));
}

#[test]
fn one_wrong_loop_bends_nothing() {
    for seed in 0..4 {
        wrong_loops_bend_nothing(&[mistaken(13, 66, Se3::identity())], seed);
    }
}

#[test]
fn several_wrong_loops_that_contradict_each_other_bend_nothing() {
    for seed in 0..4 {
        let turned = |turn: f64| se3::exp(&Vector6::new(0.0, turn, 0.0, 0.3, 0.0, turn));
        let wrong = [
            mistaken(5, 42, turned(0.1)),
            mistaken(17, 88, turned(-0.4)),
            mistaken(30, 155, turned(0.8)),
            mistaken(61, 120, turned(0.2)),
            mistaken(70, 199, turned(1.5)),
            mistaken(90, 140, turned(-1.0)),
        ];
        wrong_loops_bend_nothing(&wrong, seed);
    }
}

#[test]
fn wrong_loops_that_agree_with_each_other_bend_nothing() {
    for seed in 0..4 {
        // Look-alike doors on opposite sides of the ring, one after the other.
        let wrong: Vec<Constraint> =
            (0..5).map(|i| mistaken(20 + i, 70 + i, Se3::identity())).collect();
        wrong_loops_bend_nothing(&wrong, seed);
    }
}

#[test]
fn a_wrong_loop_without_right_ones_leaves_the_way_as_it_is() {
    let (mut graph, start) = way(0.0, &mut SmallRng::seed_from_u64(3));
    let wrong = mistaken(20, 70, Se3::identity());
    graph.update_loops(&[wrong]);
    let found = graph.solve(start.clone(), &config());
    assert_eq!(found.refused_loops, vec![(KeyframeId(20), KeyframeId(70))]);
    assert!(farthest_m(&found.poses, &start) < 1e-6, "{}", farthest_m(&found.poses, &start));
}

#[test]
fn a_right_loop_closes_a_way_that_has_drifted_far() {
    let mut random = SmallRng::seed_from_u64(11);
    // Each step turns too far by eight standard deviations.
    let (mut graph, start) = way(8.0, &mut random);
    assert!(error_m(&start) > 2.0, "{}", error_m(&start));
    graph.update_loops(&right_loops(33, &mut random));
    let found = graph.solve(start.clone(), &config());
    assert!(found.refused_loops.is_empty(), "{:?}", found.refused_loops);
    assert!(error_m(&found.poses) < error_m(&start) / 5.0, "{}", error_m(&found.poses));
}

#[test]
fn a_refused_loop_is_remembered_and_not_tried_again() {
    let mut random = SmallRng::seed_from_u64(5);
    let (mut graph, start) = way(0.0, &mut random);
    let right = right_loops(10, &mut random);
    graph.update_loops(&right);
    let mut poses = graph.solve(start, &config()).poses;
    let wrong = mistaken(20, 70, Se3::identity());
    graph.update_loops(&[wrong]);
    let settled =
        graph.settle(&[wrong.target, wrong.source], |id| poses.get(&id).copied(), &config());
    assert_eq!(settled.refused_loops, vec![(wrong.target, wrong.source)]);
    assert_eq!(graph.refused_loops().count(), 1);
    poses.extend(settled.poses);
    // The next change nearby is a small one again.
    let again = graph.settle(&[KeyframeId(21)], |id| poses.get(&id).copied(), &config());
    assert!(again.poses.len() <= config().local_keyframes, "{}", again.poses.len());
    assert_eq!(graph.refused_loops().count(), 1);
}

/// A window that is aligned around a closed loop ties more keyframes of the two places together. Of
/// a wrong loop that bent the map for good, as it was believed once.
#[test]
fn what_windows_tie_across_a_wrong_loop_is_dropped_with_it() {
    for seed in 0..4 {
        let mut random = SmallRng::seed_from_u64(seed);
        let (mut graph, start) = way(0.0, &mut random);
        let right = right_loops(10, &mut random);
        let truth = ring();
        let beside = [[20, 22], [69, 71]].map(|pair| measured(&truth, pair, 0.0, &mut random));
        let mut alone = graph.clone();
        alone.update(&beside);
        alone.update_loops(&right);
        let alone = alone.solve(start.clone(), &config());
        let wrong = mistaken(20, 70, Se3::identity());
        graph.update_loops(&[wrong]);
        let across = [(20, 70), (70, 20), (21, 70), (20, 71), (19, 71), (22, 69)];
        let across = across.map(|(target, source)| mistaken(target, source, Se3::identity()));
        graph.update(&across);
        graph.update(&beside);
        graph.update_loops(&right);
        let found = graph.solve(start, &config());
        assert_eq!(found.refused_loops.into_iter().collect::<BTreeSet<_>>(), keys(&across));
        assert!(farthest_m(&found.poses, &alone.poses) < 1e-4, "seed {seed}");
    }
}

#[test]
fn a_window_ties_a_new_keyframe_firmly_to_the_ones_before_it_only() {
    let mut random = SmallRng::seed_from_u64(7);
    let truth = ring();
    let mut graph = PoseGraph::default();
    for i in 1..120 {
        graph.update(&[measured(&truth, [i - 1, i], 0.0, &mut random)]);
    }
    graph.update_loops(&[measured(&truth, [19, 119], 0.0, &mut random)]);
    // Keyframe 120 comes with a window of both rounds.
    let pairs = [[20, 120], [119, 120], [118, 120], [19, 120], [18, 118]];
    graph.update(&pairs.map(|pair| measured(&truth, pair, 0.0, &mut random)));
    let is_loop = |[target, source]: [u32; 2]| {
        let ends = (KeyframeId(target), KeyframeId(source));
        let stored = graph.stored().find(|s| (s.constraint.target, s.constraint.source) == ends);
        stored.unwrap().loop_weight.is_some()
    };
    assert_eq!(pairs.map(is_loop), [true, false, false, true, true]);
}
