//! Closed-form alignment of corresponding points (Umeyama, "Least-squares estimation of
//! transformation parameters between two point patterns", PAMI 1991), weighted.

use nalgebra::{Matrix3, Point3, Vector3};

use super::{GeometryError, Sim3, nearest_rotation};

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
/// [`GeometryError::Degenerate`] for fewer than three points of positive weight, or numbers that
/// are not finite or whose squares are not.
pub fn align_rigid(
    points_in_source: &[Point3<f64>],
    points_in_destination: &[Point3<f64>],
    weights: Option<&[f64]>,
) -> Result<Alignment, GeometryError> {
    let moments = Moments::of(points_in_source, points_in_destination, weights)?;
    moments.alignment(points_in_source, points_in_destination, weights, false)
}

/// Returns the similarity `destination_from_source` of least weighted squared distance.
///
/// # Errors
/// As [`align_rigid`]; also [`GeometryError::Degenerate`] where the points of either set coincide
/// so that no scale can be seen.
pub fn align_similarity(
    points_in_source: &[Point3<f64>],
    points_in_destination: &[Point3<f64>],
    weights: Option<&[f64]>,
) -> Result<Alignment, GeometryError> {
    let moments = Moments::of(points_in_source, points_in_destination, weights)?;
    if moments.source_variance.min(moments.destination_variance) <= f64::EPSILON {
        return Err(moments.degenerate());
    }
    moments.alignment(points_in_source, points_in_destination, weights, true)
}

/// Weighted first and second moments of a set of correspondences, all finite.
struct Moments {
    count: usize,
    source_mean: Vector3<f64>,
    destination_mean: Vector3<f64>,
    source_variance: f64,
    destination_variance: f64,
    /// Sum of `w (destination - mean) (source - mean)^T` over the sum of weights.
    covariance: Matrix3<f64>,
}

impl Moments {
    fn of(
        source: &[Point3<f64>],
        destination: &[Point3<f64>],
        weights: Option<&[f64]>,
    ) -> Result<Self, GeometryError> {
        let rows = || weighted(source, destination, weights);
        let (count, total) = rows().fold((0, 0.0), |(n, sum), (_, _, w)| (n + 1, sum + w));
        if count < 3 {
            return Err(degenerate(count, [0.0; 3]));
        }
        let source_mean: Vector3<f64> = rows().map(|(p, _, w)| p * (w / total)).sum();
        let destination_mean: Vector3<f64> = rows().map(|(_, q, w)| q * (w / total)).sum();
        let mut covariance = Matrix3::zeros();
        let (mut source_variance, mut destination_variance) = (0.0, 0.0);
        for (p, q, w) in rows() {
            let (from, to) = (p - source_mean, q - destination_mean);
            covariance += to * from.transpose() * (w / total);
            source_variance += from.norm_squared() * w / total;
            destination_variance += to.norm_squared() * w / total;
        }
        // The decomposition below would search for ever in numbers that are none.
        if !(source_variance + destination_variance + covariance.abs().sum()).is_finite() {
            return Err(degenerate(count, [0.0; 3]));
        }
        Ok(Self {
            count,
            source_mean,
            destination_mean,
            source_variance,
            destination_variance,
            covariance,
        })
    }

    fn alignment(
        &self,
        source: &[Point3<f64>],
        destination: &[Point3<f64>],
        weights: Option<&[f64]>,
        with_scale: bool,
    ) -> Result<Alignment, GeometryError> {
        let nearest = nearest_rotation(&self.covariance).ok_or_else(|| self.degenerate())?;
        let (rotation, singular_values) = (nearest.rotation, nearest.singular_values);
        let scale = if with_scale { nearest.trace / self.source_variance } else { 1.0 };
        let translation = self.destination_mean - rotation * self.source_mean * scale;
        let transform = Sim3 { rotation, translation, scale };
        let rmse_m = weighted_rmse(&transform, weighted(source, destination, weights));
        if scale > 0.0 && (translation.sum() + scale + rmse_m).is_finite() {
            return Ok(Alignment { transform, rmse_m, singular_values });
        }
        Err(self.degenerate())
    }

    fn degenerate(&self) -> GeometryError {
        let values = nearest_rotation(&self.covariance).map_or([0.0; 3], |n| n.singular_values);
        degenerate(self.count, values)
    }
}

/// The correspondences that count: source, destination, and a positive weight.
fn weighted<'a>(
    source: &'a [Point3<f64>],
    destination: &'a [Point3<f64>],
    weights: Option<&'a [f64]>,
) -> impl Iterator<Item = (Vector3<f64>, Vector3<f64>, f64)> + 'a {
    let weight = move |i: usize| weights.map_or(1.0, |w| w.get(i).copied().unwrap_or(0.0));
    let pairs = source.iter().zip(destination).enumerate();
    pairs.map(move |(i, (p, q))| (p.coords, q.coords, weight(i))).filter(|&(_, _, w)| w > 0.0)
}

fn weighted_rmse(
    transform: &Sim3,
    rows: impl Iterator<Item = (Vector3<f64>, Vector3<f64>, f64)>,
) -> f64 {
    let (mut sum, mut total) = (0.0, 0.0);
    for (p, q, weight) in rows {
        sum += weight * (transform.transform_point(&p.into()).coords - q).norm_squared();
        total += weight;
    }
    (sum / total).sqrt()
}

fn degenerate(count: usize, singular_values: [f64; 3]) -> GeometryError {
    let what = "aligning corresponding points needs three that are finite and do not coincide";
    GeometryError::Degenerate { what, count, singular_values }
}
