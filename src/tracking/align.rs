//! One level of the alignment: a robust Levenberg–Marquardt over pose and exposure.

use nalgebra::{Matrix6, Vector6};

use super::MotionPrior;
use crate::dense_residual::{Comparison, NormalEquations, RelativeView, ResidualScale};

/// A rotation step below this, and a translation step below this many metres, ends the search.
const SMALL_STEP: f64 = 1e-4;
/// How often the spread of the residuals is measured anew: it shrinks as the views come together.
const ROUNDS: usize = 2;

/// Result of one level.
pub(super) struct Outcome {
    pub view: RelativeView,
    pub scale: ResidualScale,
    pub converged: bool,
}

/// Returns the start whose residuals are smallest; the first where they say nothing.
pub(super) fn best_start(comparison: &Comparison<'_>, starts: &[RelativeView]) -> RelativeView {
    let loose = ResidualScale { intensity: 15.0, depth: 4.0 };
    let cost = |view: &RelativeView| {
        let normal = comparison.linearize(view, &loose);
        let enough = normal.visible * 5 > comparison.points.len();
        if enough { normal.mean_cost() } else { f64::INFINITY }
    };
    let mut best = starts.first().copied().unwrap_or_else(RelativeView::identity);
    if starts.len() < 2 {
        return best;
    }
    let mut lowest = f64::INFINITY;
    for start in starts {
        let found = cost(start);
        if found < lowest {
            (best, lowest) = (*start, found);
        }
    }
    best
}

/// Returns the view of least robust cost near `start`.
pub(super) fn minimize(
    comparison: &Comparison<'_>,
    start: RelativeView,
    prior: Option<&MotionPrior>,
    max_iterations: usize,
) -> Outcome {
    let mut view = start;
    let mut converged = false;
    let mut scale = comparison.scale(&view);
    for round in 0..ROUNDS {
        if round > 0 {
            scale = comparison.scale(&view);
        }
        (view, converged) = descend(&Problem { comparison, prior, scale }, view, max_iterations);
    }
    Outcome { view, scale, converged }
}

/// The residuals at fixed scale, with the prior.
struct Problem<'a> {
    comparison: &'a Comparison<'a>,
    prior: Option<&'a MotionPrior>,
    scale: ResidualScale,
}

impl Problem<'_> {
    fn linearize(&self, view: &RelativeView) -> (NormalEquations, f64) {
        let normal = self.comparison.linearize(view, &self.scale);
        let prior = self.prior.map_or(0.0, |p| p.cost(&view.target_from_reference));
        let cost = normal.mean_cost() + prior / normal.residuals.max(1) as f64;
        (normal, cost)
    }

    /// The damped Gauss–Newton step of the pose, or `None` for a system without solution.
    fn pose_step(
        &self,
        normal: &NormalEquations,
        view: &RelativeView,
        damping: f64,
    ) -> Option<Vector6<f64>> {
        let (mut hessian, mut gradient) = normal.pose_only();
        if let Some(prior) = self.prior {
            hessian += prior.information;
            gradient += prior.information * prior.residual(&view.target_from_reference);
        }
        hessian += Matrix6::from_diagonal(&hessian.diagonal()) * damping;
        let step = -hessian.cholesky()?.solve(&gradient);
        step.iter().all(|v| v.is_finite()).then_some(step)
    }
}

fn descend(
    problem: &Problem<'_>,
    start: RelativeView,
    max_iterations: usize,
) -> (RelativeView, bool) {
    let mut view = start;
    let (mut normal, mut cost) = problem.linearize(&view);
    let mut damping = 1e-4;
    for _ in 0..max_iterations {
        let Some(step) = problem.pose_step(&normal, &view, damping) else { return (view, false) };
        let candidate = view.stepped(&step, &normal.exposure_step(&step));
        let (candidate_normal, candidate_cost) = problem.linearize(&candidate);
        if candidate_cost < cost {
            (view, normal, cost) = (candidate, candidate_normal, candidate_cost);
            damping = (damping * 0.2).max(1e-6);
        } else {
            damping *= 20.0;
        }
        if step.amax() < SMALL_STEP || damping > 1e3 {
            return (view, true);
        }
    }
    (view, false)
}
