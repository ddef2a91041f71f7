//! Sim(3): similarity transforms. `sophus_lie` has none, so this one is ours.

use nalgebra::{Matrix3, Matrix4, Point3, UnitQuaternion, Vector3, Vector6};

use super::se3::{Se3, skew};

/// The tangent `[omega, nu, sigma]`: rotation (rad), translation (m), log of the scale.
pub type Tangent7 = nalgebra::SVector<f64, 7>;

/// A similarity transform `destination_from_source`, acting as `s * R * p + t`.
///
/// (GTSAM writes `s * (R * p + t)`; ours scales the rotated point only, so that `t` is the
/// source's origin in the destination frame.)
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Sim3 {
    /// Rotation.
    pub rotation: UnitQuaternion<f64>,
    /// Origin of the source frame in the destination frame.
    pub translation: Vector3<f64>,
    /// Positive scale factor.
    pub scale: f64,
}

impl Sim3 {
    /// Returns the transform that changes nothing.
    pub fn identity() -> Self {
        Self::from(Se3::identity())
    }

    /// Returns the transform made of a rigid one and a scale.
    pub fn from_parts(rigid: &Se3, scale: f64) -> Self {
        Self { rotation: rigid.rotation, translation: rigid.translation.vector, scale }
    }

    /// Returns the rigid part: the same rotation and translation at scale one.
    pub fn rigid(&self) -> Se3 {
        Se3::from_parts(self.translation.into(), self.rotation)
    }

    /// Returns `source_from_destination`.
    pub fn inverse(&self) -> Self {
        let rotation = self.rotation.inverse();
        Self {
            rotation,
            translation: -(rotation * self.translation) / self.scale,
            scale: 1.0 / self.scale,
        }
    }

    /// Returns the point in the destination frame.
    pub fn transform_point(&self, point_in_source: &Point3<f64>) -> Point3<f64> {
        Point3::from(self.rotation * point_in_source.coords * self.scale + self.translation)
    }

    /// Returns the homogeneous matrix `[sR t; 0 1]`.
    pub fn matrix(&self) -> Matrix4<f64> {
        let scaled = self.rotation.to_rotation_matrix().into_inner() * self.scale;
        let mut matrix = Matrix4::identity();
        matrix.fixed_view_mut::<3, 3>(0, 0).copy_from(&scaled);
        matrix.fixed_view_mut::<3, 1>(0, 3).copy_from(&self.translation);
        matrix
    }

    /// Returns the transform at `tangent`, `[sR t; 0 1] = expm([sigma I + omega^ , nu; 0, 0])`.
    pub fn exp(tangent: &Tangent7) -> Self {
        let (omega, nu, sigma) = split(tangent);
        Self {
            rotation: UnitQuaternion::from_scaled_axis(omega),
            translation: left_matrix(&omega, sigma) * nu,
            scale: sigma.exp(),
        }
    }

    /// Returns the tangent of the transform; the inverse of [`Sim3::exp`] for angles below pi.
    pub fn log(&self) -> Tangent7 {
        let omega = self.rotation.scaled_axis();
        let sigma = self.scale.ln();
        // W is invertible for every angle below 2 pi: its determinant is that of an integral of
        // rotations, which vanishes only for a full turn.
        let nu =
            left_matrix(&omega, sigma).lu().solve(&self.translation).unwrap_or(self.translation);
        join(&omega, &nu, sigma)
    }

    /// Returns the 7×7 matrix that moves a tangent to the destination frame:
    /// `T exp(x) = exp(Ad(T) x) T`.
    pub fn adjoint(&self) -> nalgebra::SMatrix<f64, 7, 7> {
        let rotation = self.rotation.to_rotation_matrix().into_inner();
        let mut adjoint = nalgebra::SMatrix::<f64, 7, 7>::zeros();
        adjoint.fixed_view_mut::<3, 3>(0, 0).copy_from(&rotation);
        adjoint.fixed_view_mut::<3, 3>(3, 0).copy_from(&(skew(&self.translation) * rotation));
        adjoint.fixed_view_mut::<3, 3>(3, 3).copy_from(&(rotation * self.scale));
        adjoint.fixed_view_mut::<3, 1>(3, 6).copy_from(&-self.translation);
        adjoint[(6, 6)] = 1.0;
        adjoint
    }
}

impl From<Se3> for Sim3 {
    fn from(rigid: Se3) -> Self {
        Self::from_parts(&rigid, 1.0)
    }
}

impl std::ops::Mul for Sim3 {
    type Output = Sim3;

    fn mul(self, middle_from_source: Sim3) -> Sim3 {
        Sim3 {
            rotation: self.rotation * middle_from_source.rotation,
            translation: self.rotation * middle_from_source.translation * self.scale
                + self.translation,
            scale: self.scale * middle_from_source.scale,
        }
    }
}

fn split(tangent: &Tangent7) -> (Vector3<f64>, Vector3<f64>, f64) {
    (tangent.fixed_rows::<3>(0).into_owned(), tangent.fixed_rows::<3>(3).into_owned(), tangent[6])
}

fn join(omega: &Vector3<f64>, nu: &Vector3<f64>, sigma: f64) -> Tangent7 {
    let rigid = Vector6::new(omega.x, omega.y, omega.z, nu.x, nu.y, nu.z);
    rigid.push(sigma)
}

/// The integral over 0..1 of `exp(u (sigma I + omega^))`, which maps `nu` to the translation:
/// `W = C I + A omega^ + B omega^ omega^` (Strasdat, "Local accuracy and global consistency for
/// efficient visual SLAM", 2012, section 2.4.3).
fn left_matrix(omega: &Vector3<f64>, sigma: f64) -> Matrix3<f64> {
    let theta = omega.norm();
    let hat = skew(omega);
    let coefficients = left_coefficients(theta, sigma);
    Matrix3::identity() * coefficients[0] + hat * coefficients[1] + hat * hat * coefficients[2]
}

/// `[C, A, B]` of [`left_matrix`]: the integrals over 0..1 of `e^(u sigma)` times `1`,
/// `sin(u theta)/theta` and `(1 - cos(u theta))/theta²`.
fn left_coefficients(theta: f64, sigma: f64) -> [f64; 3] {
    // Near zero the closed forms divide two small numbers; the series is exact to 1e-12 there.
    if theta < 1e-2 && sigma.abs() < 1e-2 {
        return series_coefficients(theta, sigma);
    }
    let growth = exp_m1_over(sigma);
    if theta < 1e-4 {
        return small_angle_coefficients(sigma, growth);
    }
    let scale = sigma.exp();
    let norm2 = sigma * sigma + theta * theta;
    let (sin, cos) = theta.sin_cos();
    let sin_integral = (scale * (sigma * sin - theta * cos) + theta) / norm2;
    let cos_integral = (scale * (sigma * cos + theta * sin) - sigma) / norm2;
    [growth, sin_integral / theta, (growth - cos_integral) / (theta * theta)]
}

/// The same integrals by their Taylor series, terms `u^n sigma^n / n!` integrated one by one.
fn series_coefficients(theta: f64, sigma: f64) -> [f64; 3] {
    let mut sums = [0.0; 3];
    let theta2 = theta * theta;
    let mut term = 1.0;
    for n in 0..6 {
        let n = f64::from(n);
        sums[0] += term / (n + 1.0);
        sums[1] += term * (1.0 / (n + 2.0) - theta2 / (6.0 * (n + 4.0)));
        sums[2] += term * (0.5 / (n + 3.0) - theta2 / (24.0 * (n + 5.0)));
        term *= sigma / (n + 1.0);
    }
    sums
}

/// The limits at angle zero: integrals of `u e^(u sigma)` and `u² e^(u sigma) / 2`.
fn small_angle_coefficients(sigma: f64, growth: f64) -> [f64; 3] {
    let scale = sigma.exp();
    let first = (scale - growth) / sigma;
    let second = (scale - 2.0 * first) / (2.0 * sigma);
    [growth, first, second]
}

fn exp_m1_over(sigma: f64) -> f64 {
    if sigma.abs() < 1e-12 { 1.0 } else { sigma.exp_m1() / sigma }
}
