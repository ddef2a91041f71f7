//! The pose graph: relative poses in, a world that fits them out.

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use nalgebra::Matrix6;
use proptest::prelude::*;
use recon_node::constraint::Constraint;
use recon_node::geometry::Se3;
use recon_node::keyframe::KeyframeId;
use recon_node::pose_graph::{PoseGraph, PoseGraphConfig};

use crate::support::{pose, pose_error};

/// Keyframes of the loop.
const COUNT: u32 = 12;
/// What a solver that has converged leaves.
const LIMIT: (f64, f64) = (1e-6, 1e-5);

type Poses = BTreeMap<KeyframeId, Se3>;

/// A round of two metres' radius, the camera looking outwards.
fn round() -> Poses {
    let stand = |id: u32| {
        let angle = TAU * f64::from(id) / f64::from(COUNT);
        let at = [2.0 * angle.sin(), 0.1 * f64::from(id % 3), 2.0 * angle.cos()];
        (KeyframeId(id), pose([0.0, angle.to_degrees(), 0.0], at))
    };
    (0..COUNT).map(stand).collect()
}

/// The exact constraint between two poses: a tenth of a millimetre, of a milliradian, sure.
fn constraint(poses: &Poses, target: u32, source: u32) -> Constraint {
    let (target, source) = (KeyframeId(target), KeyframeId(source));
    let target_from_source = poses[&target].inv_mul(&poses[&source]);
    let information = Matrix6::identity() * 1e8;
    Constraint { target, source, target_from_source, information }
}

/// Each keyframe tied to the next two, and the last ones to the first.
fn tied(poses: &Poses) -> PoseGraph {
    let mut graph = PoseGraph::default();
    for id in 0..COUNT {
        let next = [1, 2].map(|step| constraint(poses, id, (id + step) % COUNT));
        graph.update(&next);
    }
    graph
}

fn disturbed(poses: &Poses, metres: f64, degrees: f64) -> Poses {
    let off = |id: u32| {
        let sign = |bit: u32| if (id >> bit) & 1 == 0 { 1.0 } else { -1.0 };
        let turn = [degrees * sign(0), degrees * sign(1), -degrees * sign(0)];
        pose(turn, [metres * sign(1), -metres * sign(0), metres * sign(2)])
    };
    let moved =
        poses.iter().map(|(&id, pose)| (id, if id.0 == 0 { *pose } else { pose * off(id.0) }));
    moved.collect()
}

fn config(max_iterations: usize, kernel_sigmas: f64) -> PoseGraphConfig {
    PoseGraphConfig { max_iterations, kernel_sigmas, ..PoseGraphConfig::default() }
}

/// The largest miss over all poses, metres.
fn worst_m(found: &Poses, truth: &Poses) -> f64 {
    truth.iter().map(|(id, pose)| pose_error(&found[id], pose).metres).fold(0.0, f64::max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_disturbed_round_comes_back(metres in 0.0f64..0.1, degrees in 0.0f64..5.0) {
        let truth = round();
        let found = tied(&truth).optimize(disturbed(&truth, metres, degrees), &config(30, 1e9));
        for (id, pose) in &truth {
            let error = pose_error(&found[id], pose);
            prop_assert!(error.is_within(LIMIT.0, LIMIT.1), "{}: {:?}", id, error);
        }
        prop_assert_eq!(found[&KeyframeId(0)], truth[&KeyframeId(0)]);
    }
}

#[test]
fn what_fits_already_stays() {
    let truth = round();
    let found = tied(&truth).optimize(truth.clone(), &PoseGraphConfig::default());
    assert!(worst_m(&found, &truth) < 1e-9);
}

#[test]
fn one_wrong_constraint_bends_nothing() {
    let truth = round();
    let mut graph = tied(&truth);
    let mut wrong = constraint(&truth, 2, 8);
    wrong.target_from_source = pose([0.0, 20.0, 0.0], [0.5, 0.0, 0.5]) * wrong.target_from_source;
    graph.update(&[wrong]);
    let start = disturbed(&truth, 0.001, 0.05);
    let trusting = graph.optimize(start.clone(), &config(30, 1e9));
    let robust = graph.optimize(start, &config(30, 20.0));
    assert!(worst_m(&trusting, &truth) > 0.05, "the case is too easy to show anything");
    // What is left is the pull of the wrong one: some 1e4 sigmas off, a hundredth of a sigma.
    assert!(worst_m(&robust, &truth) < 0.001, "{}", worst_m(&robust, &truth));
}

#[test]
fn a_newer_constraint_replaces_the_one_about_the_same_pair() {
    let truth = round();
    let mut graph = tied(&truth);
    let count = graph.constraints().count();
    let mut wrong = constraint(&truth, 0, 1);
    wrong.target_from_source.translation.vector.x += 0.3;
    graph.update(&[wrong]);
    graph.update(&[constraint(&truth, 0, 1)]);
    assert_eq!(graph.constraints().count(), count);
    let found = graph.optimize(disturbed(&truth, 0.01, 0.5), &config(30, 1e9));
    assert!(worst_m(&found, &truth) < LIMIT.0);
    assert!(
        graph.connects(KeyframeId(1), KeyframeId(0))
            && graph.connects(KeyframeId(0), KeyframeId(1))
    );
    assert!(!graph.connects(KeyframeId(0), KeyframeId(6)));
}

#[test]
fn a_pose_that_nothing_ties_stays_where_it_is() {
    let truth = round();
    let mut start = disturbed(&truth, 0.02, 1.0);
    let alone = pose([10.0, 20.0, 30.0], [5.0, 6.0, 7.0]);
    start.insert(KeyframeId(40), alone);
    let found = tied(&truth).optimize(start, &config(30, 1e9));
    assert_eq!(found[&KeyframeId(40)], alone);
    assert!(worst_m(&found, &truth) < LIMIT.0);
}

#[test]
fn constraints_about_unknown_keyframes_are_left_out() {
    let truth = round();
    let mut graph = tied(&truth);
    let known = constraint(&truth, 0, 1);
    graph.update(&[Constraint { source: KeyframeId(99), ..known }]);
    let found = graph.optimize(truth.clone(), &PoseGraphConfig::default());
    assert_eq!(found.len(), truth.len());
    assert!(worst_m(&found, &truth) < 1e-9);
}

#[test]
fn few_poses_and_no_constraints_change_nothing() {
    let truth = round();
    let few = |count: usize| -> Poses { truth.clone().into_iter().take(count).collect() };
    for count in [0, 1, 2] {
        let found = PoseGraph::default().optimize(few(count), &PoseGraphConfig::default());
        assert_eq!(found, few(count), "{count} poses");
    }
    assert_eq!(tied(&truth).optimize(few(1), &PoseGraphConfig::default()), few(1));
}

#[test]
fn a_constraint_that_is_not_finite_moves_nothing() {
    let truth = round();
    let mut graph = tied(&truth);
    let mut broken = constraint(&truth, 0, 6);
    broken.target_from_source.translation.vector.x = f64::NAN;
    graph.update(&[broken]);
    let found = graph.optimize(truth.clone(), &PoseGraphConfig::default());
    assert!(found.values().all(|p| p.translation.vector.iter().all(|v| v.is_finite())));
    assert!(worst_m(&found, &truth) < 1e-9);
}
