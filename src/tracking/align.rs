//! One level of the alignment: a robust Levenberg–Marquardt over pose and exposure.

use nalgebra::{Matrix6, Vector6};

use super::MotionPrior;
use super::rays::{RayEquations, Rays};
use crate::dense_residual::{Comparison, NormalEquations, RelativeView, ResidualScale};

/// A step that moves the image by less than this many pixels ends the search on a level.
const SMALL_STEP_PX: f64 = 0.03;
/// Steps in a row that may fail to lower the cost: more than that and it is as low as it gets.
const MAX_REJECTED: usize = 1;

/// Result of one level.
#[derive(Clone, Copy)]
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

/// What speaks for a pose beside depths and intensities. Rays stand in the place of intensities.
#[derive(Clone, Copy, Default)]
pub(super) struct Beside<'a> {
    pub prior: Option<&'a MotionPrior>,
    pub rays: Option<&'a Rays>,
}

/// Returns the view of least robust cost near `start`.
pub(super) fn minimize(
    comparison: &Comparison<'_>,
    start: RelativeView,
    beside: Beside<'_>,
    effort: &Effort,
) -> Outcome {
    let mut view = start;
    let mut converged = false;
    let measured = |view: &RelativeView| {
        let scale = comparison.scale(view);
        let intensity = if beside.rays.is_some() { f64::INFINITY } else { scale.intensity };
        ResidualScale { intensity, ..scale }
    };
    let mut scale = measured(&view);
    for round in 0..effort.rounds {
        if round > 0 {
            scale = measured(&view);
        }
        let rays = beside.rays.map(|rays| (rays, rays.sigma_rad(&view.target_from_reference)));
        let problem = Problem { comparison, prior: beside.prior, rays, scale };
        (view, converged) = descend(&problem, view, effort.max_iterations);
    }
    Outcome { view, scale, converged }
}

/// The residuals at fixed scale, with the prior.
struct Problem<'a> {
    comparison: &'a Comparison<'a>,
    prior: Option<&'a MotionPrior>,
    /// Rays with their standard deviation, radians.
    rays: Option<(&'a Rays, f64)>,
    scale: ResidualScale,
}

/// The residuals' equations at a view.
struct Linearized {
    normal: NormalEquations,
    rays: Option<RayEquations>,
    cost: f64,
}

impl Problem<'_> {
    fn linearize(&self, view: &RelativeView) -> Linearized {
        let pose = &view.target_from_reference;
        let normal = self.comparison.linearize(view, &self.scale);
        let rays = self.rays.map(|(rays, sigma_rad)| rays.linearize(pose, sigma_rad));
        let prior = self.prior.map_or(0.0, |p| p.cost(pose));
        let beside = prior + rays.as_ref().map_or(0.0, |rays| rays.cost);
        let cost = normal.mean_cost() + beside / normal.residuals.max(1) as f64;
        Linearized { normal, rays, cost }
    }

    /// The damped Gauss–Newton step of the pose, or `None` for a system without solution.
    fn pose_step(
        &self,
        at: &Linearized,
        view: &RelativeView,
        damping: f64,
    ) -> Option<Vector6<f64>> {
        let (mut hessian, mut gradient) = at.normal.pose_only();
        if let Some(rays) = &at.rays {
            hessian += rays.hessian;
            gradient += rays.gradient;
        }
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
    let mut at = problem.linearize(&view);
    let (mut damping, mut rejected) = (1e-4, 0);
    // A turn by one over the focal length moves the image by a pixel; so does, at a metre, a step.
    let small_step = SMALL_STEP_PX / problem.comparison.target.camera.intrinsics().fx;
    for _ in 0..max_iterations {
        let Some(step) = problem.pose_step(&at, &view, damping) else { return (view, false) };
        let candidate = view.stepped(&step, &at.normal.exposure_step(&step));
        let there = problem.linearize(&candidate);
        if there.cost < at.cost {
            (view, at) = (candidate, there);
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
