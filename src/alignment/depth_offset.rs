//! The depth offset under which views agree best: near and far things disagree about how far the
//! camera has moved where depths are wrong, which shows when views are aligned (self-calibration
//! as in Zhou and Koltun, "Simultaneous localization and calibration", CVPR 2014, with one number
//! instead of a field). Only looks are compared: how uncertain depths are goes by the depths, and
//! what else they get wrong would count as well.

use nalgebra::{DMatrix, DVector, Matrix6, Vector6};
use rayon::prelude::*;

use super::AlignmentConfig;
use super::pair::{self, AlignmentView, Pair};
use super::refine::pairs_among;
use crate::dense_residual::OffsetEquations;
use crate::geometry::{Se3, se3};
use crate::keyframe::{Keyframe, KeyframeId};
use crate::sensor::DepthNoise;

/// Gauss-Newton rounds over all pairs at most.
const ROUNDS: usize = 12;
/// A step below this, rad or m, ends the rounds.
const SMALL_STEP: f64 = 2e-5;
/// Keeps what no pair ties where it is.
const LOOSE: f64 = 1e-3;

/// An offset with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OffsetEstimate {
    /// What is to be added to each depth, metres.
    pub offset_m: f64,
    /// Its standard deviation, by how much what the single views call for differs, metres.
    pub sigma_m: f64,
}

/// Returns the offset under which the keyframes agree best, compared by the `covisible` pairs that
/// share enough, or `None` where they do not tell. Before any is compared, offsets are taken to
/// spread by `prior_sigma_m`.
pub fn depth_offset(
    keyframes: &[&Keyframe],
    covisible: &[(KeyframeId, KeyframeId)],
    noise: DepthNoise,
    prior_sigma_m: f64,
    config: &AlignmentConfig,
) -> Option<OffsetEstimate> {
    let config = &AlignmentConfig { geometric_weight: 0.0, ..config.clone() };
    let candidates = pairs_among(keyframes, covisible);
    let views: Vec<AlignmentView<'_>> =
        keyframes.iter().map(|k| AlignmentView::new(k, config)).collect();
    let mut poses: Vec<Se3> = keyframes.iter().map(|k| k.world_from_camera).collect();
    let mut pairs = pair::sharing(&candidates, &views, &poses, noise, config);
    let held = (0..keyframes.len()).min_by_key(|&i| keyframes[i].id)?;
    let prior = prior_sigma_m.powi(-2);
    let mut offset_m = 0.0;
    for _ in 0..ROUNDS {
        let found = linearize(&mut pairs, &views, &poses, offset_m);
        let system = System::of(&found, &pairs, &poses, held, (prior, offset_m));
        let step = system.step()?;
        for (index, pose) in poses.iter_mut().enumerate().filter(|(index, _)| *index != held) {
            let own: Vector6<f64> = step.fixed_rows::<6>(6 * index).into_owned();
            *pose = se3::exp(&own) * *pose;
        }
        offset_m += step[6 * views.len()];
        if step.amax() < SMALL_STEP {
            break;
        }
    }
    let found = linearize(&mut pairs, &views, &poses, offset_m);
    let system = System::of(&found, &pairs, &poses, held, (prior, offset_m));
    let sigma_m = system.offset_sigma(&found, &pairs, &poses)?;
    Some(OffsetEstimate { offset_m, sigma_m })
}

fn linearize(
    pairs: &mut [Pair],
    views: &[AlignmentView<'_>],
    poses: &[Se3],
    offset_m: f64,
) -> Vec<OffsetEquations> {
    pairs.par_iter_mut().map(|pair| pair.linearize_with_offset(views, poses, offset_m)).collect()
}

/// The normal equations of all poses and, last, the offset.
struct System {
    hessian: DMatrix<f64>,
    gradient: DVector<f64>,
}

impl System {
    fn of(
        found: &[OffsetEquations],
        pairs: &[Pair],
        poses: &[Se3],
        held: usize,
        (prior, offset_m): (f64, f64),
    ) -> Self {
        let last = 6 * poses.len();
        let mut hessian = DMatrix::zeros(last + 1, last + 1);
        let mut gradient = DVector::zeros(last + 1);
        for (equations, pair) in found.iter().zip(pairs) {
            let part = Part::of(equations, pair, poses);
            let [source, target] = pair.ends();
            let (s, t) = (6 * source, 6 * target);
            for (row, column, sign) in [(s, s, 1.0), (t, t, 1.0), (s, t, -1.0), (t, s, -1.0)] {
                let mut view = hessian.fixed_view_mut::<6, 6>(row, column);
                view += part.block * sign;
            }
            for (row, sign) in [(s, 1.0), (t, -1.0)] {
                let mut rows = gradient.fixed_rows_mut::<6>(row);
                rows += part.slope * sign;
                let mut column = hessian.fixed_view_mut::<6, 1>(row, last);
                column += part.cross * sign;
                let mut line = hessian.fixed_view_mut::<1, 6>(last, row);
                line += part.cross.transpose() * sign;
            }
            hessian[(last, last)] += equations.hessian[(6, 6)];
            gradient[last] += equations.gradient[6];
        }
        hessian[(last, last)] += prior;
        gradient[last] += prior * offset_m;
        let strong = 1e6 * hessian.diagonal().amax().max(1.0);
        for i in 0..last {
            let of_held = i / 6 == held;
            hessian[(i, i)] += if of_held { strong } else { LOOSE };
            if of_held {
                gradient[i] = 0.0;
            }
        }
        Self { hessian, gradient }
    }

    fn step(&self) -> Option<DVector<f64>> {
        let step = -self.hessian.clone().cholesky()?.solve(&self.gradient);
        step.iter().all(|v| v.is_finite()).then_some(step)
    }

    /// The standard deviation of the offset where what errs together are the pairs of one view:
    /// by how much the offset would move if each view had not been there.
    fn offset_sigma(
        &self,
        found: &[OffsetEquations],
        pairs: &[Pair],
        poses: &[Se3],
    ) -> Option<f64> {
        let last = 6 * poses.len();
        let mut unit = DVector::zeros(last + 1);
        unit[last] = 1.0;
        // What a slope of each unknown does to the offset.
        let influence = self.hessian.clone().cholesky()?.solve(&unit);
        let mut by_view = vec![0.0; poses.len()];
        for (equations, pair) in found.iter().zip(pairs) {
            let part = Part::of(equations, pair, poses);
            let [source, target] = pair.ends();
            let at = |view: usize| influence.fixed_rows::<6>(6 * view).into_owned();
            let shift = part.slope.dot(&(at(source) - at(target)))
                + influence[last] * equations.gradient[6];
            by_view[source] += shift;
            by_view[target] += shift;
        }
        let views = by_view.len() as f64;
        let variance: f64 = by_view.iter().map(|shift| shift * shift).sum();
        Some((variance * views / (views - 1.0).max(1.0)).sqrt())
    }
}

/// A pair's part, in perturbations of its source's pose in the world.
struct Part {
    block: Matrix6<f64>,
    slope: Vector6<f64>,
    cross: Vector6<f64>,
}

impl Part {
    fn of(equations: &OffsetEquations, pair: &Pair, poses: &[Se3]) -> Self {
        let [_, target] = pair.ends();
        let adjoint = se3::adjoint(&poses[target].inverse());
        let hessian = equations.hessian.fixed_view::<6, 6>(0, 0);
        Self {
            block: adjoint.transpose() * hessian * adjoint,
            slope: adjoint.transpose() * equations.gradient.fixed_rows::<6>(0),
            cross: adjoint.transpose() * equations.hessian.fixed_view::<6, 1>(0, 6),
        }
    }
}
