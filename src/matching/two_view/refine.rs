//! The pose that all correspondences together make most likely.

use nalgebra::{Matrix6, Vector6};

use super::observation::Correspondence;
use super::residual::Views;
use super::{TwoViewConfig, TwoViewPose};
use crate::geometry::robust::Kernel;
use crate::geometry::{Se3, se3};

const MAX_ITERATIONS: usize = 15;
/// A step shorter than this (rad, m) is the last.
const CONVERGED: f64 = 1e-7;

/// Returns the robust least-squares pose near `start` (Gauss–Newton, weights anew in each step),
/// with the correspondences that agree and what they say about the pose's uncertainty.
pub(super) fn refined(
    views: &Views<'_>,
    seen: &[Correspondence],
    start: Se3,
    config: &TwoViewConfig,
) -> TwoViewPose {
    let mut pose = start;
    for _ in 0..MAX_ITERATIONS {
        let (hessian, gradient) = normal_equations(views, seen, &pose, config);
        let Some(factor) = hessian.cholesky() else { break };
        let step = -factor.solve(&gradient);
        if !step.iter().all(|v| v.is_finite()) {
            break;
        }
        pose = se3::exp(&step) * pose;
        if step.norm() < CONVERGED {
            break;
        }
    }
    evidence(views, seen, pose, config)
}

/// Hessian and gradient under Tukey's kernel, which gives no weight to what is no inlier.
fn normal_equations(
    views: &Views<'_>,
    seen: &[Correspondence],
    pose: &Se3,
    config: &TwoViewConfig,
) -> (Matrix6<f64>, Vector6<f64>) {
    let kernel = Kernel::Tukey(1.5 * config.max_residual_sigmas);
    let mut sum = (Matrix6::zeros(), Vector6::zeros());
    for residual in seen.iter().filter_map(|c| views.residual(pose, c)) {
        let weight = kernel.weight(residual.squared().sqrt());
        if weight > 0.0 {
            let (hessian, gradient) = residual.normal_equations();
            sum = (sum.0 + hessian * weight, sum.1 + gradient * weight);
        }
    }
    sum
}

fn evidence(
    views: &Views<'_>,
    seen: &[Correspondence],
    pose: Se3,
    config: &TwoViewConfig,
) -> TwoViewPose {
    let gate = config.max_residual_sigmas.powi(2);
    let (mut inliers, mut information) = (Vec::new(), Matrix6::zeros());
    let (mut squares, mut freedoms) = (0.0, 0.0);
    for (index, c) in seen.iter().enumerate() {
        let Some(residual) = views.residual(&pose, c).filter(|r| r.squared() <= gate) else {
            continue;
        };
        inliers.push(index);
        information += residual.normal_equations().0;
        squares += residual.squared() * residual.freedoms();
        freedoms += residual.freedoms();
    }
    // Six of the residuals' freedoms went into the pose; what remains shows the true noise.
    let variance: f64 = squares / f64::max(freedoms - 6.0, 1.0);
    TwoViewPose {
        target_from_source: pose,
        information: information / variance.max(1.0),
        rms_sigmas: (squares / f64::max(freedoms, 1.0)).sqrt(),
        inliers,
    }
}
