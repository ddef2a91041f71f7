//! Damped Gauss–Newton (Levenberg–Marquardt) on the true robust cost.

use rayon::prelude::*;

use super::factor::{DepthCost, Softening};
use super::normal::{Normal, Term, objective};
use super::reduced::{Columns, ReducedSolver};
use super::schur::{depth_steps, reduce};
use super::state::{SIZE, SceneState, ViewStep};
use crate::alignment::progress::{Iteration, Stage, Watch};

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
    /// Iterations at most, once the loss is no longer rounded off.
    pub max_iterations: usize,
    /// Ends when an iteration gains less than this share of the cost.
    pub min_gain: f64,
    /// Who is told of iterations.
    pub told: Told<'a>,
}

/// Who is told of iterations, and as what.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    /// The search that they are of.
    pub stage: Stage,
    /// How many there are at most.
    pub most: usize,
    /// Is told.
    pub watch: Watch<'a>,
}

impl Told<'_> {
    fn tell(&self, done: usize, loss: f64) {
        (self.watch)(Iteration { stage: self.stage, done, most: self.most, loss });
    }
}

/// Where a search ended.
#[derive(Debug, Clone)]
pub struct Found {
    /// The state of least cost.
    pub state: SceneState,
    /// Its cost.
    pub cost: f64,
    /// Iterations that were done.
    pub iterations: usize,
    /// Whether the last iteration gained next to nothing.
    pub converged: bool,
}

/// A state with its cost.
struct Trial {
    state: SceneState,
    cost: f64,
}

/// A step of all unknowns.
struct Step {
    views: Vec<ViewStep>,
    depths: Vec<Vec<f64>>,
}

const FIRST_DAMPING: f64 = 1e-4;
const MIN_DAMPING: f64 = 1e-9;
const MAX_DAMPING: f64 = 1e8;

impl Search<'_> {
    /// Returns where a search begins.
    pub fn begin(&self, start: SceneState) -> Found {
        let cost = objective(self.terms, &start, Softening::NONE);
        Found { state: start, cost, iterations: 0, converged: false }
    }

    /// Goes downhill in the loss rounded off by `softening`, for some iterations at most.
    pub fn run(&self, found: &mut Found, softening: Softening, max_iterations: usize) {
        let mut solver = ReducedSolver::new(self.columns.clone());
        let mut damping = FIRST_DAMPING;
        let mut cost = objective(self.terms, &found.state, softening);
        found.converged = false;
        for _ in 0..max_iterations {
            found.iterations += 1;
            let normal = Normal::of(self.terms, &found.state, softening, self.with_depths);
            let from = Trial { state: found.state.clone(), cost };
            let next = self.descend(&normal, from, softening, &mut solver, &mut damping);
            let Some(next) = next else {
                found.converged = true;
                break;
            };
            found.converged = cost - next.cost < self.min_gain * cost;
            (found.state, cost) = (next.state, next.cost);
            self.told.tell(found.iterations, cost);
            if found.converged {
                break;
            }
        }
        found.cost = objective(self.terms, &found.state, Softening::NONE);
    }

    /// The next state of less cost, or `None` where no step gets there.
    fn descend(
        &self,
        normal: &Normal,
        from: Trial,
        softening: Softening,
        solver: &mut ReducedSolver,
        damping: &mut f64,
    ) -> Option<Trial> {
        let pinned = self.pinned(normal, &from.state);
        while *damping < MAX_DAMPING {
            if let Some((step, promised)) = self.solve(normal, solver, *damping, &pinned) {
                let next = self.trial(&from.state, &step, 1.0, softening);
                if next.cost < from.cost {
                    let ratio = (from.cost - next.cost) / promised;
                    *damping = adapted(*damping, ratio);
                    // The reweighted square lies above the loss, so its minimum comes too soon.
                    let farther =
                        (ratio > 1.0).then(|| self.trial(&from.state, &step, 2.0, softening));
                    return Some(farther.filter(|f| f.cost < next.cost).unwrap_or(next));
                }
                if promised < 1e-12 * from.cost {
                    return None;
                }
            }
            *damping *= 8.0;
        }
        None
    }

    fn trial(&self, from: &SceneState, step: &Step, multiple: f64, softening: Softening) -> Trial {
        let state = self.stepped(from, step, multiple);
        let cost = objective(self.terms, &state, softening);
        Trial { cost, state }
    }

    /// Moves each depth to the best of some multiples of it: with the cameras held, depths do not
    /// depend on one another.
    pub fn search_depths(&self, found: &mut Found, factors: &[f64]) {
        let mut state = found.state.clone();
        let mut best = self.depth_costs(&state);
        for &factor in factors {
            let mut tried = found.state.clone();
            for view in &mut tried.views {
                view.scale_depths(factor);
            }
            let costs = self.depth_costs(&tried);
            for (v, view) in state.views.iter_mut().enumerate() {
                let rows = view.anchor_depths.iter_mut().zip(&tried.views[v].anchor_depths);
                let compared = rows.zip(best[v].iter_mut().zip(&costs[v]));
                for ((depth, tried), (best, cost)) in
                    compared.filter(|(_, (best, cost))| **cost < **best)
                {
                    (*depth, *best) = (*tried, *cost);
                }
            }
        }
        let cost = objective(self.terms, &state, Softening::NONE);
        if cost < found.cost {
            (found.state, found.cost) = (state, cost);
        }
    }

    /// What each depth costs, by view and anchor.
    fn depth_costs(&self, state: &SceneState) -> Vec<Vec<f64>> {
        let of_term = |term: &Term<'_>| {
            let mut costs = Vec::new();
            term.factor.depth_costs(state, &mut costs);
            costs
        };
        let parts: Vec<Vec<DepthCost>> = self.terms.par_iter().map(of_term).collect();
        let mut sums: Vec<Vec<f64>> =
            state.views.iter().map(|view| vec![0.0; view.anchor_depths.len()]).collect();
        for (term, costs) in self.terms.iter().zip(parts) {
            for cost in costs {
                sums[cost.view][cost.anchor] += term.scale * cost.cost;
            }
        }
        sums
    }

    /// A damped step, and the gain that the quadratic model promises.
    fn solve(
        &self,
        normal: &Normal,
        solver: &mut ReducedSolver,
        damping: f64,
        pinned: &[usize],
    ) -> Option<(Step, f64)> {
        let reduced = reduce(normal, damping);
        let views = solver.solve(&reduced, pinned)?;
        let depths = depth_steps(normal, damping, &views);
        let gain = promised(normal, damping, &views, &depths);
        Some((Step { views, depths }, gain))
    }

    /// The state at a multiple of a step.
    fn stepped(&self, state: &SceneState, step: &Step, multiple: f64) -> SceneState {
        let mut moved = state.stepped(&step.views, &step.depths, multiple);
        if self.sizes_from_one {
            for view in &mut moved.views {
                view.size = view.size.max(1.0);
            }
        }
        moved
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

/// The next damping: less where a step gained what it promised, more where it gained little.
fn adapted(damping: f64, gain_ratio: f64) -> f64 {
    let factor = if gain_ratio > 0.5 { 0.2 } else { 2.0 };
    (damping * factor).max(MIN_DAMPING)
}
