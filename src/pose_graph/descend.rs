//! Levenberg–Marquardt: damped Gauss–Newton steps on the true cost.

use nalgebra::SVector;

use super::problem::Problem;
use crate::block_system::BlockSystem;
use crate::geometry::LieGroup;

const FIRST_DAMPING: f64 = 1e-6;
const MIN_DAMPING: f64 = 1e-12;
const MAX_DAMPING: f64 = 1e6;
/// A step below this, rad or m, moves nothing any more.
const SMALL_STEP: f64 = 1e-9;

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub max_iterations: usize,
    /// Ends when an iteration gains less than this share of the cost.
    pub min_gain: f64,
}

/// How a descent ended.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Descent {
    pub cost: f64,
    pub iterations: usize,
    pub converged: bool,
}

/// A step that costs less, with what is known of it.
struct Accepted<G> {
    poses: Vec<G>,
    cost: f64,
    largest: f64,
}

/// Moves the problem's poses downhill.
pub(super) fn descend<G: LieGroup<D>, const D: usize>(
    problem: &mut Problem<G, D>,
    system: &mut BlockSystem<D>,
    limits: Limits,
) -> Descent {
    let mut damping = FIRST_DAMPING;
    let mut found = Descent { cost: problem.cost(&problem.poses), ..Descent::default() };
    while found.iterations < limits.max_iterations && !found.converged {
        found.iterations += 1;
        problem.linearize(system);
        let Some(next) = step(problem, system, found.cost, &mut damping) else {
            found.converged = true;
            break;
        };
        let gain = found.cost - next.cost;
        found.converged = gain <= limits.min_gain * found.cost || next.largest < SMALL_STEP;
        found.cost = next.cost;
        problem.poses = next.poses;
    }
    found
}

/// The first step that costs less, at whatever damping that takes; `None` where there is none.
fn step<G: LieGroup<D>, const D: usize>(
    problem: &Problem<G, D>,
    system: &mut BlockSystem<D>,
    cost: f64,
    damping: &mut f64,
) -> Option<Accepted<G>> {
    while *damping < MAX_DAMPING {
        let solution = system.factorize(*damping).then(|| system.solve()).flatten();
        let Some(solution) = solution else {
            *damping *= 10.0;
            continue;
        };
        let promised =
            0.5 * (*damping * system.diagonal_norm(&solution) + system.right_dot(&solution));
        let poses = problem.stepped(&solution);
        let next = problem.cost(&poses);
        let largest = largest(&solution);
        if next < cost {
            let ratio = (cost - next) / promised;
            *damping = adapted(*damping, ratio);
            return Some(Accepted { poses, cost: next, largest });
        }
        if promised <= 1e-14 * cost || largest < SMALL_STEP {
            return None;
        }
        *damping *= 10.0;
    }
    None
}

fn largest<const D: usize>(step: &[SVector<f64, D>]) -> f64 {
    step.iter().map(|step| step.amax()).fold(0.0, f64::max)
}

/// Less damping where a step gained what it promised, more where it gained little.
fn adapted(damping: f64, gain_ratio: f64) -> f64 {
    match gain_ratio {
        ratio if ratio > 0.75 => (damping * 0.1).max(MIN_DAMPING),
        ratio if ratio > 0.25 => damping,
        _ => damping * 4.0,
    }
}
