//! What SE(3) and Sim(3) have in common, for solvers that serve both.

use std::fmt::Debug;

use nalgebra::{Matrix3, SMatrix, SVector, Vector3};

use super::se3::{self, Se3, skew};
use super::sim3::Sim3;

/// A group of transforms with tangents of `D` numbers, `[omega, nu]` and for Sim(3) `sigma`.
pub trait LieGroup<const D: usize>: Copy + Debug + PartialEq + Send + Sync {
    /// Returns the transform at a tangent.
    fn exp(tangent: &SVector<f64, D>) -> Self;

    /// Returns the tangent of the transform.
    fn log(&self) -> SVector<f64, D>;

    /// Returns `destination_from_source` for `self` = `destination_from_middle`.
    fn compose(&self, middle_from_source: &Self) -> Self;

    /// Returns the transform the other way round.
    fn inverse(&self) -> Self;

    /// Returns the matrix that moves a tangent to the destination frame.
    fn adjoint(&self) -> SMatrix<f64, D, D>;

    /// Returns the matrix of the Lie bracket with a tangent, the derivative of the adjoint.
    fn bracket(tangent: &SVector<f64, D>) -> SMatrix<f64, D, D>;

    /// Returns the transform as a similarity.
    fn to_similarity(&self) -> Sim3;

    /// Returns the transform nearest to a similarity.
    fn from_similarity(similarity: &Sim3) -> Self;
}

impl LieGroup<6> for Se3 {
    fn exp(tangent: &SVector<f64, 6>) -> Self {
        se3::exp(tangent)
    }

    fn log(&self) -> SVector<f64, 6> {
        se3::log(self)
    }

    fn compose(&self, middle_from_source: &Self) -> Self {
        self * middle_from_source
    }

    fn inverse(&self) -> Self {
        Se3::inverse(self)
    }

    fn adjoint(&self) -> SMatrix<f64, 6, 6> {
        se3::adjoint(self)
    }

    fn bracket(tangent: &SVector<f64, 6>) -> SMatrix<f64, 6, 6> {
        bracket(tangent, 0.0)
    }

    fn to_similarity(&self) -> Sim3 {
        Sim3::from(*self)
    }

    fn from_similarity(similarity: &Sim3) -> Self {
        similarity.rigid()
    }
}

impl LieGroup<7> for Sim3 {
    fn exp(tangent: &SVector<f64, 7>) -> Self {
        Sim3::exp(tangent)
    }

    fn log(&self) -> SVector<f64, 7> {
        Sim3::log(self)
    }

    fn compose(&self, middle_from_source: &Self) -> Self {
        *self * *middle_from_source
    }

    fn inverse(&self) -> Self {
        Sim3::inverse(self)
    }

    fn adjoint(&self) -> SMatrix<f64, 7, 7> {
        Sim3::adjoint(self)
    }

    fn bracket(tangent: &SVector<f64, 7>) -> SMatrix<f64, 7, 7> {
        let mut matrix = bracket(tangent, tangent[6]);
        matrix.fixed_view_mut::<3, 1>(3, 6).copy_from(&-tangent.fixed_rows::<3>(3));
        matrix
    }

    fn to_similarity(&self) -> Sim3 {
        *self
    }

    fn from_similarity(similarity: &Sim3) -> Self {
        *similarity
    }
}

/// The rows and columns of rotation and translation in the matrix of the bracket.
fn bracket<const D: usize>(tangent: &SVector<f64, D>, sigma: f64) -> SMatrix<f64, D, D> {
    let omega = skew(&Vector3::new(tangent[0], tangent[1], tangent[2]));
    let nu = skew(&Vector3::new(tangent[3], tangent[4], tangent[5]));
    let mut matrix = SMatrix::<f64, D, D>::zeros();
    matrix.fixed_view_mut::<3, 3>(0, 0).copy_from(&omega);
    matrix.fixed_view_mut::<3, 3>(3, 0).copy_from(&nu);
    matrix.fixed_view_mut::<3, 3>(3, 3).copy_from(&(omega + Matrix3::identity() * sigma));
    matrix
}

/// Below this square of angle and log-scale the Bernoulli series is exact to 1e-10.
const SERIES_LIMIT: f64 = 0.5;

/// Returns the inverse of the left Jacobian: `log(exp(x) exp(tangent))` is `tangent` plus this times
/// a small `x` (Barfoot, "State Estimation for Robotics", 2017, section 7.1.5).
pub fn left_jacobian_inverse<G: LieGroup<D>, const D: usize>(
    tangent: &SVector<f64, D>,
) -> SMatrix<f64, D, D> {
    let bracket = G::bracket(tangent);
    let sigma = if D > 6 { tangent[D - 1] } else { 0.0 };
    let turn = Vector3::new(tangent[0], tangent[1], tangent[2]).norm_squared();
    if turn + sigma * sigma > SERIES_LIMIT {
        return by_inversion(&bracket);
    }
    let one = SMatrix::<f64, D, D>::identity();
    let square = bracket * bracket;
    // The Bernoulli numbers over factorials, by Horner's scheme.
    let mut sum = square * (-1.0 / 1_209_600.0) + one * (1.0 / 30_240.0);
    for factor in [-1.0 / 720.0, 1.0 / 12.0, 1.0] {
        sum = square * sum + one * factor;
    }
    sum - bracket * 0.5
}

/// The inverse of the sum of `bracket^n / (n + 1)!`.
fn by_inversion<const D: usize>(bracket: &SMatrix<f64, D, D>) -> SMatrix<f64, D, D> {
    let mut term = SMatrix::<f64, D, D>::identity();
    let mut sum = term;
    for n in 1..40 {
        term = term * bracket / (f64::from(n) + 1.0);
        sum += term;
        if term.amax() < 1e-17 * sum.amax() {
            break;
        }
    }
    let half = SMatrix::<f64, D, D>::identity() - bracket * 0.5;
    let mut inverse = sum;
    if nalgebra::linalg::try_invert_to(sum, &mut inverse) { inverse } else { half }
}
