//! Singular values of 3×3 matrices, and the rotations nearest to them.

use faer::mat::MatRef;
use nalgebra::{Matrix3, Rotation3, UnitQuaternion, Vector3};

/// The rotation that maximises `trace(R^T matrix)` (Kabsch, "A solution for the best rotation to
/// relate two sets of vectors", Acta Cryst. A 1976), with what it was found from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NearestRotation {
    /// The proper rotation; the identity for a matrix of zeros.
    pub rotation: UnitQuaternion<f64>,
    /// Singular values of the matrix, largest first.
    pub singular_values: [f64; 3],
    /// `trace(R^T matrix)`: their sum, the last of them negated where the matrix mirrors.
    pub trace: f64,
}

/// Returns the rotation nearest to a matrix; `None` where the matrix has numbers that are not finite.
pub fn nearest_rotation(matrix: &Matrix3<f64>) -> Option<NearestRotation> {
    // The decomposition squares what it is given; at unit size no square overflows or vanishes.
    let size = matrix.amax();
    if !matrix.iter().all(|v| v.is_finite()) {
        return None;
    }
    if size < f64::MIN_POSITIVE {
        let rotation = UnitQuaternion::identity();
        return Some(NearestRotation { rotation, singular_values: [0.0; 3], trace: 0.0 });
    }
    let (u, values, v) = decomposition(&(matrix / size))?;
    let sign = Vector3::new(1.0, 1.0, (u * v.transpose()).determinant().signum());
    let rotation = u * Matrix3::from_diagonal(&sign) * v.transpose();
    let values = values * size;
    Some(NearestRotation {
        rotation: UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(rotation)),
        singular_values: values.into(),
        trace: values.dot(&sign),
    })
}

/// `u`, singular values, `v` with `matrix = u diag(values) v^T`.
///
/// By faer: nalgebra's own is wrong by percents where two singular values are within a thousandth
/// of each other (nalgebra issue 1172), which those of points spread evenly are.
fn decomposition(matrix: &Matrix3<f64>) -> Option<(Matrix3<f64>, Vector3<f64>, Matrix3<f64>)> {
    let svd = MatRef::from_column_major_slice(matrix.as_slice(), 3, 3).svd().ok()?;
    let (u, s, v) = (svd.U(), svd.S().column_vector(), svd.V());
    let of = |m: MatRef<'_, f64>| Matrix3::from_fn(|row, column| m[(row, column)]);
    Some((of(u), Vector3::new(s[0], s[1], s[2]), of(v)))
}
