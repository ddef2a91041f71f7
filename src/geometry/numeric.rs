//! Numerical Jacobians, for tests that check the analytic ones.

use nalgebra::{SMatrix, SVector};

/// Returns the central-difference Jacobian of `function` at `x` with the given step.
pub fn jacobian<const M: usize, const N: usize>(
    function: impl Fn(&SVector<f64, N>) -> SVector<f64, M>,
    x: &SVector<f64, N>,
    step: f64,
) -> SMatrix<f64, M, N> {
    let mut jacobian = SMatrix::<f64, M, N>::zeros();
    for column in 0..N {
        let mut offset = SVector::<f64, N>::zeros();
        offset[column] = step;
        let difference = (function(&(x + offset)) - function(&(x - offset))) / (2.0 * step);
        jacobian.set_column(column, &difference);
    }
    jacobian
}
