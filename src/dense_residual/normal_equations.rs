//! Normal equations: the sum over residuals of what a Gauss–Newton step needs.

use nalgebra::{Matrix6, Vector3, Vector6};

use super::{
    Exposure, GeometricResidual, Matrix8, PointResidual, ResidualScale, ResidualSettings, Vector8,
};
use crate::geometry::robust::Kernel;

/// Both kernels are Cauchy's at 2.385 sigma: 95 % efficient on Gaussian noise, and a gross error
/// loses its influence.
const KERNEL: Kernel = Kernel::Cauchy(KERNEL_SIGMAS);
const KERNEL_SIGMAS: f64 = 2.385;
/// Factor of the logarithm in the kernel's cost.
pub(super) const KERNEL_SCALE: f64 = 0.5 * KERNEL_SIGMAS * KERNEL_SIGMAS;

/// The sum over all points of what a Gauss–Newton step needs, with evidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormalEquations {
    /// Sum of weighted `J^T J`.
    pub hessian: Matrix8,
    /// Sum of weighted `J^T r`.
    pub gradient: Vector8,
    /// Sum of robust costs.
    pub cost: f64,
    /// Residuals that the cost sums over.
    pub residuals: usize,
    /// Points left out because the target's surface is elsewhere.
    pub contradicting: usize,
    /// Points that project into the target's image.
    pub visible: usize,
    /// Visible points whose intensity agrees, and whose depth does not contradict.
    pub inliers: usize,
    /// Points where both views have depth.
    pub with_depth: usize,
    /// Of those, points whose depths agree.
    pub depth_inliers: usize,
    /// Sums over the points compared by intensity: reference, target, their squares and product.
    intensity_sums: [f64; 5],
    /// Points compared by intensity.
    compared: usize,
}

/// A reference whose points spread less than this in intensity shows no pattern to correlate.
const MIN_CONTRAST: f64 = 4.0;

impl NormalEquations {
    /// Returns the mean cost of a residual; points that contradict the target count as gross
    /// errors, so that hiding points behind surfaces does not pay. Infinite without residuals.
    pub fn mean_cost(&self) -> f64 {
        if self.residuals == 0 {
            return f64::INFINITY;
        }
        let gross = KERNEL.cost(6.0);
        let count = self.residuals + self.contradicting;
        (self.cost + gross * self.contradicting as f64) / count as f64
    }

    /// Returns the correlation of intensities, -1 to 1, between reference and target: whatever the
    /// contrast, it is near 1 where the two show the same and near 0 elsewhere. `None` where the
    /// reference shows no pattern.
    pub fn correlation(&self) -> Option<f64> {
        let n = self.compared.max(1) as f64;
        let [a, b, aa, bb, ab] = self.intensity_sums.map(|sum| sum / n);
        let (variance_a, variance_b) = (aa - a * a, bb - b * b);
        let has_pattern = variance_a > MIN_CONTRAST * MIN_CONTRAST;
        has_pattern.then(|| (ab - a * b) / (variance_a * variance_b).sqrt().max(1e-9))
    }

    /// Returns Hessian and gradient of the pose alone: the exposure is eliminated (Schur
    /// complement), as if it were always at its optimum.
    pub fn pose_only(&self) -> (Matrix6<f64>, Vector6<f64>) {
        let h = self.full_hessian();
        let pose = h.fixed_view::<6, 6>(0, 0).into_owned();
        let cross = h.fixed_view::<6, 2>(0, 6).into_owned();
        let exposure = h.fixed_view::<2, 2>(6, 6).into_owned();
        let gradient = self.gradient.fixed_rows::<6>(0).into_owned();
        let Some(inverse) = exposure.try_inverse() else { return (pose, gradient) };
        let exposure_gradient = self.gradient.fixed_rows::<2>(6).into_owned();
        (pose - cross * inverse * cross.transpose(), gradient - cross * inverse * exposure_gradient)
    }

    /// Returns the exposure step that is best once the pose has moved by `pose_step`.
    pub fn exposure_step(&self, pose_step: &Vector6<f64>) -> Exposure {
        let h = self.full_hessian();
        let exposure = h.fixed_view::<2, 2>(6, 6).into_owned();
        let cross = h.fixed_view::<6, 2>(0, 6).into_owned();
        let target = self.gradient.fixed_rows::<2>(6) + cross.transpose() * pose_step;
        let step = exposure.try_inverse().map_or_else(nalgebra::Vector2::zeros, |i| -(i * target));
        Exposure { log_gain: step.x, offset: step.y }
    }

    pub(super) fn zero() -> Self {
        Self {
            hessian: Matrix8::zeros(),
            gradient: Vector8::zeros(),
            cost: 0.0,
            residuals: 0,
            contradicting: 0,
            visible: 0,
            inliers: 0,
            with_depth: 0,
            depth_inliers: 0,
            intensity_sums: [0.0; 5],
            compared: 0,
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.hessian += other.hessian;
        self.gradient += other.gradient;
        self.cost += other.cost;
        self.residuals += other.residuals;
        self.contradicting += other.contradicting;
        self.visible += other.visible;
        self.inliers += other.inliers;
        self.with_depth += other.with_depth;
        self.depth_inliers += other.depth_inliers;
        self.compared += other.compared;
        for (sum, more) in self.intensity_sums.iter_mut().zip(other.intensity_sums) {
            *sum += more;
        }
    }

    fn full_hessian(&self) -> Matrix8 {
        let mut full = self.hessian;
        full.fill_lower_triangle_with_upper_triangle();
        // Gain and offset cannot be told apart on a plain wall: hold them where they are.
        full[(6, 6)] += 1.0;
        full[(7, 7)] += 1e-4;
        full
    }

    /// Adds one weighted residual; only the upper triangle, which `full_hessian` mirrors.
    #[inline]
    fn accumulate<const N: usize>(&mut self, jacobian: &[f64; N], residual: f64, weight: f64) {
        self.residuals += 1;
        for (column, derivative) in jacobian.iter().enumerate() {
            let scaled = weight * derivative;
            self.gradient[column] += scaled * residual;
            for (row, other) in jacobian[..=column].iter().enumerate() {
                self.hessian[(row, column)] += scaled * other;
            }
        }
    }
}

/// Sums residuals, one by one.
pub(super) struct Accumulator {
    sum: NormalEquations,
    scale: ResidualScale,
    settings: ResidualSettings,
    photometric_cost: LogSum,
    geometric_cost: LogSum,
}

impl Accumulator {
    pub(super) fn new(scale: ResidualScale, settings: ResidualSettings) -> Self {
        let sum = NormalEquations::zero();
        let (photometric_cost, geometric_cost) = (LogSum::default(), LogSum::default());
        Self { sum, scale, settings, photometric_cost, geometric_cost }
    }

    pub(super) fn add(&mut self, point: &PointResidual) {
        self.sum.visible += 1;
        if let Some(geometric) = &point.geometric {
            self.sum.with_depth += 1;
            if geometric.contradicts(point.point_in_target.z, &self.settings) {
                self.sum.contradicting += 1;
                return;
            }
            self.add_geometric(geometric, &point.point_in_target);
        }
        self.add_photometric(point);
    }

    pub(super) fn finish(mut self) -> NormalEquations {
        let weighted = self.settings.geometric_weight * self.geometric_cost.value();
        self.sum.cost = KERNEL_SCALE * (self.photometric_cost.value() + weighted);
        self.sum
    }

    fn add_geometric(&mut self, residual: &GeometricResidual, point: &Vector3<f64>) {
        let inlier_m = self.settings.depth_inlier_frac * point.z + residual.sigma_m;
        self.sum.depth_inliers += usize::from(residual.depth_error_m.abs() < inlier_m);
        let sigma = residual.sigma_m * self.scale.depth;
        let growth = growth(residual.depth_error_m, sigma);
        self.geometric_cost.add(growth);
        let weight = self.settings.geometric_weight / (growth * sigma * sigma);
        let jacobian = by_pose(&residual.by_point, point);
        self.sum.accumulate(&jacobian, residual.depth_error_m, weight);
    }

    fn add_photometric(&mut self, residual: &PointResidual) {
        let (a, b) = (residual.gained_intensity, residual.intensity);
        for (sum, term) in self.sum.intensity_sums.iter_mut().zip([a, b, a * a, b * b, a * b]) {
            *sum += term;
        }
        self.sum.compared += 1;
        let inlier = residual.photometric.abs() < self.settings.intensity_inlier;
        self.sum.inliers += usize::from(inlier);
        let sigma = self.scale.intensity;
        let sigma = match residual.intensity_variance {
            variance if variance > 0.0 => (sigma * sigma + variance).sqrt(),
            _ => sigma,
        };
        let growth = growth(residual.photometric, sigma);
        self.photometric_cost.add(growth);
        let [a, b, c, d, e, f] = by_pose(&residual.photometric_by_point, &residual.point_in_target);
        let jacobian = [a, b, c, d, e, f, -residual.gained_intensity, -1.0];
        self.sum.accumulate(&jacobian, residual.photometric, 1.0 / (growth * sigma * sigma));
    }
}

/// `1 + (r/c)²`: its inverse is the kernel's weight, its logarithm the cost.
#[inline]
pub(super) fn growth(residual: f64, sigma: f64) -> f64 {
    1.0 + (residual / (sigma * KERNEL_SIGMAS)).powi(2)
}

/// Returns the derivative of a residual by a left perturbation `[omega, nu]`, given that by the moved
/// point.
pub fn by_pose(by_point: &Vector3<f64>, point: &Vector3<f64>) -> [f64; 6] {
    let rotation = point.cross(by_point);
    [rotation.x, rotation.y, rotation.z, by_point.x, by_point.y, by_point.z]
}

/// A sum of logarithms that takes few of them: the logarithm of a product is the sum.
struct LogSum {
    product: f64,
    sum: f64,
}

impl Default for LogSum {
    fn default() -> Self {
        Self { product: 1.0, sum: 0.0 }
    }
}

impl LogSum {
    /// Adds `ln(factor)`, for a factor of at least one and at most 1e100.
    #[inline]
    fn add(&mut self, factor: f64) {
        self.product *= factor;
        if self.product > 1e200 {
            self.sum += self.product.ln();
            self.product = 1.0;
        }
    }

    fn value(&self) -> f64 {
        self.sum + self.product.ln()
    }
}
