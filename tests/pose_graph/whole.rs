//! Whole worlds from the poses that their measurements chain up to.

use std::collections::BTreeMap;

use nalgebra::{Point3, SMatrix, SVector};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use recon_node::constraint::SimilarityConstraint;
use recon_node::geometry::{Se3, Sim3, align_rigid};
use recon_node::keyframe::KeyframeId;
use recon_node::pose_graph::{PoseGraph, PoseGraphConfig, SimilarityGraph};

use crate::worlds::{Made, Recipe, World, make, normal};

/// No kernel: the measurements are all right.
pub fn plain() -> PoseGraphConfig {
    PoseGraphConfig { max_iterations: 100, kernel_sigmas: 1e9, ..PoseGraphConfig::default() }
}

pub fn recipe(world: World, keyframes: usize, noise_rad: f64) -> Recipe {
    let noise_m = 5.0 * noise_rad;
    Recipe { world, keyframes, edges: 5 * keyframes, noise_rad, noise_m, seed: 4 }
}

fn error_m(poses: &BTreeMap<KeyframeId, Se3>, truth: &BTreeMap<KeyframeId, Se3>) -> f64 {
    let points = |poses: &BTreeMap<KeyframeId, Se3>| -> Vec<Point3<f64>> {
        poses.values().map(|pose| pose.translation.vector.into()).collect()
    };
    align_rigid(&points(poses), &points(truth), None).unwrap().rmse_m
}

/// Both the start by the measurements and the truth as a start must lead to one minimum.
fn comes_home(world: World, keyframes: usize, noise_rad: f64) {
    let Made { truth, start, constraints } = make(&recipe(world, keyframes, noise_rad));
    let mut graph = PoseGraph::default();
    graph.update(&constraints);
    let found = graph.solve(start.clone(), &plain());
    let ideal = graph.solve(truth.clone(), &plain());
    assert!(found.converged && ideal.converged);
    assert!(found.cost[1] < 1.0001 * ideal.cost[1], "{:?} {:?}", found.cost, ideal.cost);
    // With six numbers to a measurement and to a pose, this is what noise alone leaves.
    let expected = 3.0 * (constraints.len() - keyframes + 1) as f64;
    assert!((found.cost[1] / expected - 1.0).abs() < 0.2, "{:?}, {expected}", found.cost);
    let (before, after) = (error_m(&start, &truth), error_m(&found.poses, &truth));
    assert!(after < 0.2 * before, "{before} {after}");
    assert_eq!(found.poses[&KeyframeId(0)], start[&KeyframeId(0)]);
}

#[test]
fn a_sphere_comes_home() {
    comes_home(World::Sphere, 400, 0.01);
}

#[test]
fn a_sphere_with_much_noise_comes_home() {
    comes_home(World::Sphere, 400, 0.1);
}

#[test]
fn a_torus_with_much_noise_comes_home() {
    comes_home(World::Torus, 400, 0.1);
}

#[test]
fn a_city_with_much_noise_comes_home() {
    comes_home(World::Manhattan, 400, 0.1);
}

#[test]
fn two_runs_agree_to_the_last_bit() {
    let made = make(&recipe(World::Torus, 300, 0.02));
    let mut graph = PoseGraph::default();
    graph.update(&made.constraints);
    let run = || graph.solve(made.start.clone(), &plain()).poses;
    assert_eq!(run(), run());
}

/// The same world with a scale for each keyframe, and measurements that know of scale.
fn with_scales(made: &Made, sigma: f64) -> (BTreeMap<KeyframeId, Sim3>, Vec<SimilarityConstraint>) {
    let mut random = SmallRng::seed_from_u64(9);
    let scaled = |(&id, pose): (&KeyframeId, &Se3)| {
        let scale = if id.0 == 0 { 1.0 } else { random.random_range(0.5..2.0) };
        (id, Sim3::from_parts(pose, scale))
    };
    let truth: BTreeMap<KeyframeId, Sim3> = made.truth.iter().map(scaled).collect();
    let mut random = SmallRng::seed_from_u64(10);
    let measured = |c: &recon_node::constraint::Constraint| {
        let noise = SVector::<f64, 7>::from_fn(|_, _| sigma * normal(&mut random));
        SimilarityConstraint {
            target: c.target,
            source: c.source,
            target_from_source: Sim3::exp(&noise) * truth[&c.target].inverse() * truth[&c.source],
            information: SMatrix::identity() * sigma.powi(-2),
        }
    };
    let constraints = made.constraints.iter().map(measured).collect();
    (truth, constraints)
}

#[test]
fn a_world_without_metric_scale_comes_home() {
    let made = make(&recipe(World::Sphere, 200, 0.01));
    let (truth, constraints) = with_scales(&made, 0.01);
    let mut start = truth.clone();
    for (id, pose) in &mut start {
        if id.0 > 0 {
            // Far off: all in one place, turned away, of one size.
            *pose = Sim3::exp(&SVector::from_fn(|i, _| if i < 3 { 0.5 } else { 0.1 }));
        }
    }
    let mut graph = SimilarityGraph::default();
    graph.update(&constraints);
    let found = graph.solve(start, &plain());
    let ideal = graph.solve(truth.clone(), &plain());
    assert!(found.converged);
    assert!(found.cost[1] < 1.0001 * ideal.cost[1], "{:?} {:?}", found.cost, ideal.cost);
    for (id, pose) in &truth {
        let off = (pose.inverse() * found.poses[id]).log();
        assert!(off.amax() < 0.3, "{id}: {off}");
    }
}
