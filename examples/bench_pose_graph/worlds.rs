//! Made-up pose graphs of the usual kinds: a camera that goes round a sphere or a torus, or walks
//! the streets of a city of blocks, ties itself to what is near, and measures with noise.

use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::{FRAC_PI_2, TAU};

use nalgebra::{Matrix6, Rotation3, UnitQuaternion, Vector3, Vector6};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use recon_node::constraint::Constraint;
use recon_node::geometry::{Se3, se3};
use recon_node::keyframe::KeyframeId;

/// The way that the camera goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum World {
    /// Round and round from pole to pole.
    Sphere,
    /// Round the tube of a ring.
    Torus,
    /// A random walk along the streets of a city in three dimensions.
    Manhattan,
}

/// What a graph is made by.
#[derive(Debug, Clone, Copy)]
pub struct Recipe {
    pub world: World,
    pub keyframes: usize,
    pub edges: usize,
    /// Standard deviations of a measurement.
    pub noise_rad: f64,
    pub noise_m: f64,
    pub seed: u64,
}

/// A made-up graph.
#[derive(Debug, Clone)]
pub struct Made {
    pub truth: BTreeMap<KeyframeId, Se3>,
    /// Poses by the measurements from one keyframe to the next.
    pub start: BTreeMap<KeyframeId, Se3>,
    pub constraints: Vec<Constraint>,
}

/// Returns the graph of a recipe, the same each time.
pub fn make(recipe: &Recipe) -> Made {
    let mut random = SmallRng::seed_from_u64(recipe.seed);
    let poses = match recipe.world {
        World::Sphere => sphere(recipe.keyframes),
        World::Torus => torus(recipe.keyframes),
        World::Manhattan => manhattan(recipe.keyframes, &mut random),
    };
    let mut measure = |&(a, b): &(usize, usize)| measured(&poses, [a, b], recipe, &mut random);
    let ties = ties(&poses, recipe.edges);
    let constraints: Vec<Constraint> = ties.iter().map(&mut measure).collect();
    let mut start = vec![poses[0]];
    // Ties are in order of their first keyframe, the next one first.
    let steps = constraints.iter().filter(|c| c.source.0 == c.target.0 + 1);
    for step in steps {
        start.push(start[start.len() - 1] * step.target_from_source);
    }
    let named = |poses: Vec<Se3>| (0_u32..).map(KeyframeId).zip(poses).collect();
    Made { start: named(start), truth: named(poses), constraints }
}

/// Looking along `ahead`, with `up` about upwards.
fn looking(at: Vector3<f64>, ahead: Vector3<f64>, up: Vector3<f64>) -> Se3 {
    let rotation = Rotation3::face_towards(&ahead, &up);
    Se3::from_parts(at.into(), UnitQuaternion::from_rotation_matrix(&rotation))
}

/// Rounds of about as many stations as there are rounds, a metre apart.
fn rounds(count: usize) -> f64 {
    (count as f64).sqrt().round().max(2.0)
}

fn sphere(count: usize) -> Vec<Se3> {
    let rounds = rounds(count);
    let radius = rounds / TAU;
    let station = |i: usize| {
        let share = (i as f64 + 0.5) / count as f64;
        let (around, down) = (TAU * rounds * share, (1.0 - 2.0 * share).acos());
        let out = Vector3::new(down.sin() * around.cos(), down.sin() * around.sin(), down.cos());
        let ahead = Vector3::new(-around.sin(), around.cos(), 0.0);
        looking(out * radius, ahead, out)
    };
    (0..count).map(station).collect()
}

fn torus(count: usize) -> Vec<Se3> {
    let rounds = rounds(count);
    let (tube, ring) = (rounds / TAU, 2.0 * rounds / TAU);
    let station = |i: usize| {
        let (along, around) = (TAU * i as f64 / count as f64, TAU * i as f64 / rounds);
        let out = Vector3::new(along.cos(), along.sin(), 0.0);
        let normal = out * around.cos() + Vector3::z() * around.sin();
        let ahead = Vector3::z() * around.cos() - out * around.sin();
        looking(out * ring + normal * tube, ahead, normal)
    };
    (0..count).map(station).collect()
}

/// Steps of a metre, a turn at one crossing in five, within a city that the walk fills.
fn manhattan(count: usize, random: &mut SmallRng) -> Vec<Se3> {
    let half = ((count as f64).cbrt() * 0.6).ceil();
    let mut pose = Se3::identity();
    let mut all = vec![pose];
    while all.len() < count {
        let axis = [Vector3::x(), Vector3::y()][random.random_range(0..2)];
        let turn = FRAC_PI_2 * f64::from(random.random_range(-1..=1_i32));
        let turn = if random.random_bool(0.2) { turn } else { 0.0 };
        let turned = pose * UnitQuaternion::from_scaled_axis(axis * turn);
        let next = turned * Se3::translation(0.0, 0.0, 1.0);
        if next.translation.vector.amax() <= half {
            pose = next;
            all.push(pose);
        } else {
            // At the edge of the city it turns on the spot until there is a way on.
            pose *= UnitQuaternion::from_scaled_axis(axis * FRAC_PI_2);
        }
    }
    all
}

/// Neighbours on the way, and the nearest others until there are as many as are wanted.
fn ties(poses: &[Se3], wanted: usize) -> BTreeSet<(usize, usize)> {
    let mut all: BTreeSet<(usize, usize)> = (1..poses.len()).map(|i| (i - 1, i)).collect();
    let nearest = 2 * wanted / poses.len().max(1) + 2;
    let mut others = Vec::new();
    for (i, pose) in poses.iter().enumerate() {
        let distance =
            |j: usize| (poses[j].translation.vector - pose.translation.vector).norm_squared();
        let mut by_distance: Vec<(f64, usize)> =
            (0..poses.len()).filter(|j| j.abs_diff(i) > 1).map(|j| (distance(j), j)).collect();
        let last = nearest.min(by_distance.len().saturating_sub(1));
        if by_distance.is_empty() {
            continue;
        }
        by_distance.select_nth_unstable_by(last, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        others.extend(by_distance[..last].iter().map(|&(d, j)| (d, i.min(j), i.max(j))));
    }
    others.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    for (_, i, j) in others {
        if all.len() >= wanted {
            break;
        }
        all.insert((i, j));
    }
    all
}

/// The pose of the second in the frame of the first, with noise.
fn measured(
    poses: &[Se3],
    [a, b]: [usize; 2],
    recipe: &Recipe,
    random: &mut SmallRng,
) -> Constraint {
    let sigma = |i: usize| if i < 3 { recipe.noise_rad } else { recipe.noise_m };
    let noise = Vector6::from_fn(|i, _| sigma(i) * normal(random));
    Constraint {
        target: KeyframeId(a as u32),
        source: KeyframeId(b as u32),
        target_from_source: se3::exp(&noise) * poses[a].inv_mul(&poses[b]),
        information: Matrix6::from_fn(|r, c| if r == c { sigma(r).powi(-2) } else { 0.0 }),
    }
}

/// A number with mean zero and variance one (Box and Muller).
pub fn normal(random: &mut SmallRng) -> f64 {
    let (u, v): (f64, f64) = (1.0 - random.random::<f64>(), random.random());
    (-2.0 * u.ln()).sqrt() * (TAU * v).cos()
}
