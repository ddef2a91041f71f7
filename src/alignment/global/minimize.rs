//! Iteratively reweighted least squares with Levenberg's and Marquardt's damping.

use nalgebra::{DVector, Point3, Vector6};
use rayon::prelude::*;

use super::normal::{DIM, Reduced, ViewPlan, reduced};
use super::state::{GlobalState, weight};
use super::{GlobalConfig, PairwiseMaps};
use crate::alignment::progress::{Iteration, Stage, Watch};
use crate::geometry::{Sim3, se3};

/// Distances below this share of the world's extent weigh no more.
const FLOOR_SHARE: f64 = 1e-5;
/// A gain below this share is none.
const MIN_GAIN: f64 = 1e-6;
/// Iterations without a gain, each with more damping, after which none will come.
const PATIENCE: usize = 8;
/// Steps of the logarithm of a depth or a focal length are no longer.
const MAX_LOG_STEP: f64 = 0.5;
const DEPTH_ITERATIONS: usize = 20;

/// Returns the state of least loss near `state`, and the iterations done.
pub(super) fn minimize(
    mut state: GlobalState,
    pairs: &[PairwiseMaps<'_>],
    config: &GlobalConfig,
    watch: Watch<'_>,
) -> (GlobalState, usize) {
    let plans = plans(&state, pairs, config.pixels_per_view);
    let floor = FLOOR_SHARE * extent(&state);
    let (mut damping, mut failures) = (1e-3, 0);
    let mut loss = planned_loss(&state, pairs, &plans);
    for iteration in 0..config.iterations {
        let system = reduced(&state, pairs, &plans, (floor, damping));
        let next = step(&state, system, pairs.len()).map(|step| moved(&state, &plans, &step));
        let next = next.map(|next| (planned_loss(&next, pairs, &plans), next));
        match next.filter(|(next, _)| *next < loss) {
            Some((next_loss, next)) => {
                let gain = (loss - next_loss) / loss;
                (state, loss) = (next, next_loss);
                damping = (damping / 3.0).max(1e-9);
                failures = if gain < MIN_GAIN { failures + 1 } else { 0 };
            }
            None => {
                damping = (damping * 5.0).min(1e6);
                failures += 1;
            }
        }
        let (done, most) = (iteration + 1, config.iterations);
        watch(Iteration { stage: Stage::Global, done, most, loss });
        if failures >= PATIENCE {
            return (state, iteration + 1);
        }
    }
    (state, config.iterations)
}

/// The pixels of each view that take part, on a grid, and the pairs that bear on it.
fn plans(state: &GlobalState, pairs: &[PairwiseMaps<'_>], most: usize) -> Vec<ViewPlan> {
    let plan = |view: usize| {
        let depth = &state.views[view].depth;
        let (width, height) = (depth.width(), depth.height());
        let share = (width * height) as f64 / most.max(1) as f64;
        let step = share.sqrt().ceil().max(1.0) as usize;
        let rows = (step / 2..height).step_by(step);
        let columns = || (step / 2..width).step_by(step);
        let sides = |pair: usize| {
            (0..2).filter(move |&side| pairs[pair].views[side] == view).map(move |s| (pair, s))
        };
        ViewPlan {
            pixels: rows.flat_map(|y| columns().map(move |x| (x, y))).collect(),
            pairs: (0..pairs.len()).flat_map(sides).collect(),
        }
    };
    (0..state.views.len()).map(plan).collect()
}

fn extent(state: &GlobalState) -> f64 {
    let depths = state.views.iter().flat_map(|view| view.depth.values().iter().step_by(17));
    let (sum, count) = depths.fold((0.0, 0usize), |(sum, count), depth| (sum + depth, count + 1));
    sum / count.max(1) as f64
}

/// The loss over the pixels that take part.
fn planned_loss(state: &GlobalState, pairs: &[PairwiseMaps<'_>], plans: &[ViewPlan]) -> f64 {
    let of_view = |(view, plan): (usize, &ViewPlan)| {
        let view = &state.views[view];
        let of_pixel = |&(x, y): &(usize, usize)| {
            let point = view.point(x, y);
            let of_pair = |&(pair, side): &(usize, usize)| {
                let said = Point3::from(pairs[pair].points[side].at(x, y).cast::<f64>());
                let off = point - state.world_from_pairs[pair].transform_point(&said);
                weight(pairs[pair].confidence[side].at(x, y)) * off.norm()
            };
            plan.pairs.iter().map(of_pair).sum::<f64>()
        };
        plan.pixels.iter().map(of_pixel).sum::<f64>()
    };
    let sums: Vec<f64> = plans.par_iter().enumerate().map(of_view).collect();
    sums.iter().sum()
}

/// A step of cameras and pairs, and of the depths of each view's pixels.
struct Step {
    unknowns: DVector<f64>,
    depths: Vec<DVector<f64>>,
}

fn step(state: &GlobalState, mut system: Reduced, pairs: usize) -> Option<Step> {
    // The sum of the pairs' log scales stays: shrinking the world would be an easy gain.
    let scales: Vec<usize> =
        (0..pairs).map(|pair| DIM * (state.views.len() + pair) + DIM - 1).collect();
    let stiffness = scales.iter().map(|&i| system.hessian[(i, i)]).fold(0.0, f64::max);
    for &i in &scales {
        for &j in &scales {
            system.hessian[(i, j)] += stiffness;
        }
    }
    let diagonal = system.hessian.diagonal();
    let smallest = 1e-9 * diagonal.iter().copied().fold(0.0, f64::max);
    for i in 0..diagonal.len() {
        system.hessian[(i, i)] += smallest;
    }
    let unknowns = -system.hessian.cholesky()?.solve(&system.gradient);
    let depths = system.depths.iter().map(|terms| {
        let mut own = DVector::zeros(DIM * terms.blocks.len());
        for (i, &block) in terms.blocks.iter().enumerate() {
            own.rows_mut(DIM * i, DIM).copy_from(&unknowns.rows(DIM * block, DIM));
        }
        -(&terms.rows * own + &terms.gradient).component_div(&terms.root)
    });
    let step = Step { depths: depths.collect(), unknowns };
    step.unknowns.iter().all(|v| v.is_finite()).then_some(step)
}

fn moved(state: &GlobalState, plans: &[ViewPlan], step: &Step) -> GlobalState {
    let mut next = state.clone();
    for (i, (view, plan)) in next.views.iter_mut().zip(plans).enumerate() {
        let own = step.unknowns.fixed_rows::<DIM>(DIM * i);
        let tangent = Vector6::from_iterator(own.iter().take(6).copied());
        view.world_from_camera = se3::exp(&tangent) * view.world_from_camera;
        view.world_from_camera.rotation.renormalize();
        view.focal_px *= own[6].clamp(-MAX_LOG_STEP, MAX_LOG_STEP).exp();
        let width = view.depth.width();
        for (&(x, y), change) in plan.pixels.iter().zip(step.depths[i].iter()) {
            view.depth.values_mut()[y * width + x] *=
                change.clamp(-MAX_LOG_STEP, MAX_LOG_STEP).exp();
        }
    }
    for (k, pair) in next.world_from_pairs.iter_mut().enumerate() {
        let own = step.unknowns.fixed_rows::<DIM>(DIM * (state.views.len() + k)).into_owned();
        *pair = Sim3::exp(&own) * *pair;
    }
    next.normalize();
    next
}

/// Gives every pixel the depth at which its point is nearest to what the pairs say, all else
/// fixed: Weiszfeld's iteration along the ray.
pub(super) fn settle_depths(state: &mut GlobalState, pairs: &[PairwiseMaps<'_>]) {
    let floor = FLOOR_SHARE * extent(state);
    let plans = plans(state, pairs, usize::MAX);
    let world_from_pairs = &state.world_from_pairs;
    for (view, plan) in state.views.iter_mut().zip(&plans) {
        let settled: Vec<f64> = plan
            .pixels
            .par_iter()
            .map(|&(x, y)| {
                let (origin, direction) = (
                    view.world_from_camera.translation.vector,
                    view.world_from_camera.rotation * view.ray(x, y),
                );
                let said: Vec<_> = plan
                    .pairs
                    .iter()
                    .map(|&(pair, side)| {
                        let point = Point3::from(pairs[pair].points[side].at(x, y).cast::<f64>());
                        let point = world_from_pairs[pair].transform_point(&point).coords - origin;
                        (point, weight(pairs[pair].confidence[side].at(x, y)))
                    })
                    .collect();
                let start = view.depth.at(x, y);
                (0..DEPTH_ITERATIONS).fold(start, |depth, _| {
                    let (mut top, mut bottom) = (0.0, 0.0);
                    for (point, weight) in &said {
                        let weight = weight / (direction * depth - point).norm().max(floor);
                        top += weight * direction.dot(point);
                        bottom += weight * direction.norm_squared();
                    }
                    let next = top / bottom;
                    if next.is_finite() && next > 0.0 { next } else { depth }
                })
            })
            .collect();
        view.depth.values_mut().copy_from_slice(&settled);
    }
}
