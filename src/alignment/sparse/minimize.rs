//! Damped Gauss–Newton (Levenberg–Marquardt) on the true robust cost.

use super::factor::Curvature;
use super::normal::{Normal, Term, objective};
use super::reduced::{Columns, ReducedSolver};
use super::schur::{depth_steps, reduce};
use super::state::{SIZE, SceneState, ViewStep};

/// What to minimise over, and for how long.
pub struct Search<'a> {
    /// The objective.
    pub terms: &'a [Term<'a>],
    /// The cameras' unknowns.
    pub columns: Columns,
    /// Whether depths are among the unknowns.
    pub with_depths: bool,
    /// Whether no size may fall below one.
    pub sizes_from_one: bool,
    /// Iterations at most.
    pub max_iterations: usize,
    /// Ends when an iteration gains less than this share of the cost.
    pub min_gain: f64,
    /// How much of the loss's curvature to keep.
    pub curvature: Curvature,
}

/// Where a search ended.
#[derive(Debug, Clone)]
pub struct Found {
    /// The state of least cost.
    pub state: SceneState,
    /// Cost at the start and the end.
    pub cost: [f64; 2],
    /// Iterations that were done.
    pub iterations: usize,
    /// Whether the last iteration gained next to nothing.
    pub converged: bool,
}

const FIRST_DAMPING: f64 = 1e-4;
const DAMPING_RANGE: [f64; 2] = [1e-9, 1e8];

impl Search<'_> {
    /// Returns the state of least cost that is downhill from `start`.
    pub fn run(&self, start: SceneState) -> Found {
        let first = objective(self.terms, &start);
        let mut found =
            Found { state: start, cost: [first, first], iterations: 0, converged: false };
        let mut solver = ReducedSolver::new(self.columns.clone());
        let mut damping = FIRST_DAMPING;
        while found.iterations < self.max_iterations && !found.converged {
            found.iterations += 1;
            let normal = Normal::of(self.terms, &found.state, self.curvature, self.with_depths);
            let Some((state, cost)) = self.descend(&normal, &found, &mut solver, &mut damping) else {
                found.converged = true;
                break;
            };
            let gain = (found.cost[1] - cost) / found.cost[1].max(f64::MIN_POSITIVE);
            found.converged = gain < self.min_gain;
            (found.state, found.cost[1]) = (state, cost);
        }
        found
    }

    /// The next state of less cost, or `None` where no step gets there.
    fn descend(
        &self,
        normal: &Normal,
        from: &Found,
        solver: &mut ReducedSolver,
        damping: &mut f64,
    ) -> Option<(SceneState, f64)> {
        let pinned = self.pinned(normal, &from.state);
        while *damping < DAMPING_RANGE[1] {
            if let Some((state, predicted)) = self.try_step(normal, &from.state, solver, *damping, &pinned) {
                let cost = objective(self.terms, &state);
                let ratio = (from.cost[1] - cost) / predicted;
                if cost < from.cost[1] {
                    let factor = if ratio > 0.5 { 0.2 } else { 2.0 };
                    *damping = (*damping * factor).max(DAMPING_RANGE[0]);
                    return Some((state, cost));
                }
                if predicted < 1e-12 * from.cost[1] {
                    return None;
                }
            }
            *damping *= 8.0;
        }
        None
    }

    /// A damped step, and the gain that the quadratic model promises.
    fn try_step(
        &self,
        normal: &Normal,
        state: &SceneState,
        solver: &mut ReducedSolver,
        damping: f64,
        pinned: &[usize],
    ) -> Option<(SceneState, f64)> {
        let reduced = reduce(normal, damping);
        let step = solver.solve(&reduced, pinned)?;
        let depths = depth_steps(normal, damping, &step);
        let mut moved = state.stepped(&step, &depths);
        if self.sizes_from_one {
            for view in &mut moved.views {
                view.size = view.size.max(1.0);
            }
        }
        Some((moved, promised(normal, damping, &step, &depths)))
    }

    /// The columns of sizes that stand still: those at their limit that would cross it, and at
    /// least one, since the smallest size is the unit.
    fn pinned(&self, normal: &Normal, state: &SceneState) -> Vec<usize> {
        if !self.sizes_from_one {
            return Vec::new();
        }
        let slope = |view: usize| normal.gradients[view][SIZE];
        let (smallest, size) = state.smallest();
        let at_limit = |view: &usize| state.views[*view].size <= size * (1.0 + 1e-12);
        let limited: Vec<usize> = (0..state.views.len()).filter(at_limit).collect();
        let steepest = limited.iter().copied().max_by(|a, b| slope(*a).total_cmp(&slope(*b)));
        let still = limited.into_iter().filter(|&view| slope(view) > 0.0);
        let still = still.chain(steepest.or(Some(smallest)));
        still.filter_map(|view| self.columns.of(view, SIZE)).collect()
    }
}

/// Half of `step · (damping · diagonal · step - gradient)`, which a solution of the damped system
/// gains in the quadratic model.
fn promised(normal: &Normal, damping: f64, step: &[ViewStep], depths: &[Vec<f64>]) -> f64 {
    let mut sum = 0.0;
    for (view, step) in step.iter().enumerate() {
        let diagonal = normal.blocks[&(view, view)].diagonal();
        sum += step.component_mul(&step.component_mul(&diagonal)).sum() * damping;
        sum -= step.dot(&normal.gradients[view]);
    }
    for (depths, step) in normal.depths.iter().zip(depths) {
        for ((s, h), g) in step.iter().zip(&depths.hessian).zip(&depths.gradient) {
            sum += s * (damping * h * s - g);
        }
    }
    0.5 * sum
}
