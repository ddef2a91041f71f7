//! One Gauss–Newton step of all poses of a window.

use nalgebra::{DMatrix, DVector, Vector6};

use super::pair::Factor;
use crate::geometry::Se3;
use crate::geometry::se3;

/// Returns the mean robust cost of a residual over all pairs.
pub(super) fn mean_cost(factors: &[Factor]) -> f64 {
    let residuals: usize = factors.iter().map(|f| f.normal.residuals).sum();
    let cost: f64 = factors.iter().map(|f| f.normal.mean_cost() * f.normal.residuals as f64).sum();
    if residuals == 0 { f64::INFINITY } else { cost / residuals as f64 }
}

/// Moves all poses but the held one by one step, and returns its largest component (rad or m).
///
/// With `world_from_k' = exp(x_k) world_from_k`, the relative pose of a pair moves by
/// `Ad(target_from_world) (x_source - x_target)`.
pub(super) fn step(factors: &[Factor], held: usize, poses: &mut [Se3]) -> f64 {
    let size = 6 * poses.len();
    let (mut hessian, mut gradient) = (DMatrix::zeros(size, size), DVector::zeros(size));
    for factor in factors {
        let adjoint = se3::adjoint(&poses[factor.target].inverse());
        let block = adjoint.transpose() * factor.hessian * adjoint;
        let slope = adjoint.transpose() * factor.gradient;
        let (s, t) = (6 * factor.source, 6 * factor.target);
        for (row, column, sign) in [(s, s, 1.0), (t, t, 1.0), (s, t, -1.0), (t, s, -1.0)] {
            let mut view = hessian.fixed_view_mut::<6, 6>(row, column);
            view += block * sign;
        }
        let mut of_source = gradient.fixed_rows_mut::<6>(s);
        of_source += slope;
        let mut of_target = gradient.fixed_rows_mut::<6>(t);
        of_target -= slope;
    }
    hold(&mut hessian, &mut gradient, held);
    let Some(factor) = hessian.cholesky() else { return 0.0 };
    let step = -factor.solve(&gradient);
    if !step.iter().all(|v| v.is_finite()) {
        return 0.0;
    }
    for (index, pose) in poses.iter_mut().enumerate().filter(|(index, _)| *index != held) {
        let own: Vector6<f64> = step.fixed_rows::<6>(6 * index).into_owned();
        *pose = se3::exp(&own) * *pose;
    }
    step.amax()
}

/// Keeps one pose where it is, and views without any pair where they are.
fn hold(hessian: &mut DMatrix<f64>, gradient: &mut DVector<f64>, held: usize) {
    let strong = 1e6 * hessian.diagonal().amax().max(1.0);
    for i in 0..hessian.nrows() {
        let of_held = i / 6 == held;
        hessian[(i, i)] += if of_held { strong } else { 1e-3 };
        if of_held {
            gradient[i] = 0.0;
        }
    }
}
