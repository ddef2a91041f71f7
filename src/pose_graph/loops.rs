//! Which loops to believe: graduated non-convexity with truncated least squares (Yang et al.,
//! "Graduated non-convexity for robust spatial perception", 2020). All loops pull at first; as the
//! loss is sharpened, those that cannot be had together with the chain and with one another lose
//! all weight, so that nothing of a wrong one is left in the map.

use super::descend::{Descent, Limits, descend};
use super::problem::Problem;
use crate::block_system::BlockSystem;
use crate::geometry::LieGroup;
use crate::geometry::robust::Kernel;

/// How much sharper the loss becomes from round to round.
const SHARPENING: f64 = 1.6;
/// From here on the loss is as good as truncated.
const SHARP: f64 = 1e3;
/// Until all loops have been pulled shut.
const PULL: Limits = Limits { max_iterations: 10, min_gain: 1e-3 };
/// Iterations of a round.
const ROUND: Limits = Limits { max_iterations: 2, min_gain: 1e-4 };
/// Settling of what is believed in the end: rounds at most.
const LAST_ROUNDS: usize = 4;

/// Moves the poses downhill while it is decided which loops count: those that miss by no more than
/// `limit` standard deviations in the end.
pub(super) fn descend_with_loops<G: LieGroup<D>, const D: usize>(
    problem: &mut Problem<G, D>,
    system: &mut BlockSystem<D>,
    limit: f64,
    limits: Limits,
) -> Descent {
    if worst_loop(problem) > limit {
        graduate(problem, system, limit);
    }
    let mut found = descend(problem, system, limits);
    for _ in 0..LAST_ROUNDS {
        if !decide(problem, limit) {
            break;
        }
        let next = descend(problem, system, limits);
        found = Descent { iterations: found.iterations + next.iterations, ..next };
    }
    found
}

/// Pulls all loops shut, and then sharpens their loss from round to round. The chain must not give
/// way meanwhile: its kernel is convex here.
fn graduate<G: LieGroup<D>, const D: usize>(
    problem: &mut Problem<G, D>,
    system: &mut BlockSystem<D>,
    limit: f64,
) {
    let kernel = std::mem::replace(&mut problem.kernel, Kernel::Quadratic);
    let start = problem.poses.clone();
    set_weights(problem, |_| 1.0);
    descend(problem, system, PULL);
    let worst = worst_loop(problem);
    let mut sharpness = limit * limit / (2.0 * worst * worst - limit * limit);
    while worst_loop(problem) > limit && sharpness < SHARP {
        set_weights(problem, |sigmas| weight(sigmas, limit, sharpness));
        descend(problem, system, ROUND);
        sharpness *= SHARPENING;
    }
    decide(problem, limit);
    // What wrong loops bent may have stayed so: from the start, the right ones may lead further.
    let bent = std::mem::replace(&mut problem.poses, start);
    descend(problem, system, PULL);
    if problem.cost(&bent) < problem.cost(&problem.poses) {
        problem.poses = bent;
    }
    problem.kernel = kernel;
}

/// The weight of a loop that misses by so many standard deviations.
fn weight(sigmas: f64, limit: f64, sharpness: f64) -> f64 {
    let squared = (sigmas / limit) * (sigmas / limit);
    if squared <= sharpness / (sharpness + 1.0) {
        1.0
    } else if squared < (sharpness + 1.0) / sharpness {
        (sharpness * (sharpness + 1.0) / squared).sqrt() - sharpness
    } else {
        0.0
    }
}

/// Gives loops within the limit all weight and the others none; returns whether that changes any.
fn decide<G: LieGroup<D>, const D: usize>(problem: &mut Problem<G, D>, limit: f64) -> bool {
    let before: Vec<Option<f64>> = problem.edges.iter().map(|edge| edge.loop_weight).collect();
    set_weights(problem, |sigmas| if sigmas <= limit { 1.0 } else { 0.0 });
    let changed = |(now, before): (f64, f64)| (now - before).abs() > 1e-9;
    let pairs = problem.edges.iter().zip(before);
    pairs.filter_map(|(edge, before)| edge.loop_weight.zip(before)).any(changed)
}

fn set_weights<G: LieGroup<D>, const D: usize>(
    problem: &mut Problem<G, D>,
    weight: impl Fn(f64) -> f64,
) {
    let poses = &problem.poses;
    for edge in problem.edges.iter_mut().filter(|edge| edge.loop_weight.is_some()) {
        let sigmas = edge.sigmas(poses);
        edge.loop_weight = Some(if sigmas.is_finite() { weight(sigmas) } else { 0.0 });
    }
}

/// By how many standard deviations the worst of the loops that count misses.
fn worst_loop<G: LieGroup<D>, const D: usize>(problem: &Problem<G, D>) -> f64 {
    let loops = problem.edges.iter().filter(|edge| edge.loop_weight.is_some_and(|w| w > 0.0));
    loops.map(|edge| edge.sigmas(&problem.poses)).filter(|s| s.is_finite()).fold(0.0, f64::max)
}
