//! Closed-form alignment of corresponding points (Umeyama, "Least-squares estimation of
//! transformation parameters between two point patterns", PAMI 1991), weighted.

use nalgebra::{Matrix3, Point3, UnitQuaternion, Vector3};

use super::{GeometryError, Sim3};

/// The transform that best maps the source points onto the destination points, with evidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alignment {
    /// `destination_from_source`.
    pub transform: Sim3,
    /// Weighted root mean square of the remaining distances, in metres.
    pub rmse_m: f64,
    /// Singular values of the cross-covariance, largest first: two near zero mean that the points
    /// lie on a line and leave a rotation free.
    pub singular_values: [f64; 3],
}

/// Returns the rigid transform `destination_from_source` of least weighted squared distance.
///
/// # Errors
/// [`GeometryError::Degenerate`] for fewer than three points of positive weight.
pub fn align_rigid(
    points_in_source: &[Point3<f64>],
    points_in_destination: &[Point3<f64>],
    weights: Option<&[f64]>,
) -> Result<Alignment, GeometryError> {
    let moments = Moments::of(points_in_source, points_in_destination, weights)?;
    Ok(moments.alignment(points_in_source, points_in_destination, weights, false))
}

/// Returns the similarity `destination_from_source` of least weighted squared distance.
///
/// # Errors
/// [`GeometryError::Degenerate`] for fewer than three points of positive weight, or where the
/// source points all coincide so that no scale can be seen.
pub fn align_similarity(
    points_in_source: &[Point3<f64>],
    points_in_destination: &[Point3<f64>],
    weights: Option<&[f64]>,
) -> Result<Alignment, GeometryError> {
    let moments = Moments::of(points_in_source, points_in_destination, weights)?;
    if moments.source_variance <= f64::EPSILON {
        return Err(degenerate(points_in_source.len(), moments.covariance));
    }
    Ok(moments.alignment(points_in_source, points_in_destination, weights, true))
}

/// Weighted first and second moments of a set of correspondences.
struct Moments {
    source_mean: Vector3<f64>,
    destination_mean: Vector3<f64>,
    source_variance: f64,
    /// Sum of `w (destination - mean) (source - mean)^T` over the sum of weights.
    covariance: Matrix3<f64>,
}

impl Moments {
    fn of(
        source: &[Point3<f64>],
        destination: &[Point3<f64>],
        weights: Option<&[f64]>,
    ) -> Result<Self, GeometryError> {
        let count = source.len().min(destination.len());
        let weight = |i: usize| weights.map_or(1.0, |w| w[i].max(0.0));
        let total: f64 = (0..count).map(weight).sum();
        let used = (0..count).filter(|&i| weight(i) > 0.0).count();
        if used < 3 || !total.is_finite() {
            return Err(degenerate(used, Matrix3::zeros()));
        }
        let mean = |points: &[Point3<f64>]| -> Vector3<f64> {
            (0..count).map(|i| points[i].coords * weight(i)).sum::<Vector3<f64>>() / total
        };
        let (source_mean, destination_mean) = (mean(source), mean(destination));
        let mut covariance = Matrix3::zeros();
        let mut source_variance = 0.0;
        for i in 0..count {
            let from = source[i].coords - source_mean;
            let to = destination[i].coords - destination_mean;
            covariance += to * from.transpose() * (weight(i) / total);
            source_variance += from.norm_squared() * weight(i) / total;
        }
        Ok(Self { source_mean, destination_mean, source_variance, covariance })
    }

    fn alignment(
        &self,
        source: &[Point3<f64>],
        destination: &[Point3<f64>],
        weights: Option<&[f64]>,
        with_scale: bool,
    ) -> Alignment {
        let (rotation, singular_values, signed_trace) = nearest_rotation(&self.covariance);
        let scale = if with_scale { signed_trace / self.source_variance } else { 1.0 };
        let translation = self.destination_mean - rotation * self.source_mean * scale;
        let transform = Sim3 { rotation, translation, scale };
        let rmse_m = weighted_rmse(&transform, source, destination, weights);
        Alignment { transform, rmse_m, singular_values }
    }
}

/// The rotation that maximises `trace(R^T covariance)`, the singular values, and that trace.
fn nearest_rotation(covariance: &Matrix3<f64>) -> (UnitQuaternion<f64>, [f64; 3], f64) {
    let svd = covariance.svd(true, true);
    let (u, v_t) = (svd.u.unwrap_or_default(), svd.v_t.unwrap_or_default());
    let mut sign = Vector3::new(1.0, 1.0, 1.0);
    if (u * v_t).determinant() < 0.0 {
        sign.z = -1.0;
    }
    let rotation = u * Matrix3::from_diagonal(&sign) * v_t;
    let d = svd.singular_values;
    (UnitQuaternion::from_matrix(&rotation), [d.x, d.y, d.z], d.dot(&sign))
}

fn weighted_rmse(
    transform: &Sim3,
    source: &[Point3<f64>],
    destination: &[Point3<f64>],
    weights: Option<&[f64]>,
) -> f64 {
    let (mut sum, mut total) = (0.0, 0.0);
    for (i, (from, to)) in source.iter().zip(destination).enumerate() {
        let weight = weights.map_or(1.0, |w| w[i].max(0.0));
        sum += weight * (transform.transform_point(from) - to).norm_squared();
        total += weight;
    }
    (sum / total).sqrt()
}

fn degenerate(count: usize, covariance: Matrix3<f64>) -> GeometryError {
    let d = covariance.singular_values();
    GeometryError::Degenerate {
        what: "aligning corresponding points needs three that do not coincide",
        count,
        singular_values: [d.x, d.y, d.z],
    }
}
