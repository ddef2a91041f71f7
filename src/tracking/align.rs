//! One level of the alignment: a robust Levenberg–Marquardt over pose and exposure.

use nalgebra::{Matrix6, Vector6};

use super::MotionPrior;
use crate::dense_residual::{Comparison, NormalEquations, RelativeView, ResidualScale};

/// A step that moves the image by less than this many pixels ends the search on a level.
const SMALL_STEP_PX: f64 = 0.03;
/// Steps in a row that may fail to lower the cost: more than that and it is as low as it gets.
const MAX_REJECTED: usize = 1;

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

impl Outcome {
    /// A start from which nothing has been done yet.
    pub fn at(view: RelativeView) -> Self {
        let scale = ResidualScale { intensity: 10.0, depth: 1.0 };
        Self { view, scale, converged: false }
    }
}

/// How long a level is searched.
pub(super) struct Effort {
    /// How often the spread of the residuals is measured anew: it shrinks as the views come
    /// together.
    pub rounds: usize,
    /// Most steps of a round.
    pub max_iterations: usize,
}

/// Returns the view of least robust cost near `start`.
pub(super) fn minimize(
    comparison: &Comparison<'_>,
    start: RelativeView,
    prior: Option<&MotionPrior>,
    effort: &Effort,
) -> Outcome {
    let mut view = start;
    let mut converged = false;
    let mut scale = comparison.scale(&view);
    for round in 0..effort.rounds {
        if round > 0 {
            scale = comparison.scale(&view);
        }
        let problem = Problem { comparison, prior, scale };
        (view, converged) = descend(&problem, view, effort.max_iterations);
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
    let (mut damping, mut rejected) = (1e-4, 0);
    // A turn by one over the focal length moves the image by a pixel; so does, at a metre, a step.
    let small_step = SMALL_STEP_PX / problem.comparison.target.camera.intrinsics().fx;
    for _ in 0..max_iterations {
        let Some(step) = problem.pose_step(&normal, &view, damping) else { return (view, false) };
        let candidate = view.stepped(&step, &normal.exposure_step(&step));
        let (candidate_normal, candidate_cost) = problem.linearize(&candidate);
        if candidate_cost < cost {
            (view, normal, cost) = (candidate, candidate_normal, candidate_cost);
            damping = (damping * 0.2).max(1e-6);
            rejected = 0;
        } else {
            damping *= 20.0;
            rejected += 1;
        }
        if step.amax() < small_step || rejected > MAX_REJECTED {
            return (view, true);
        }
    }
    (view, false)
}
