//! Dense residuals between two views: how a reference's points look, and lie, in a target.
//!
//! Each reference point gives a photometric residual `I_target(u) - (e^a I_reference + b)` at its
//! projection `u`, with the exposure change `(a, b)` estimated along (Engel et al., "Direct sparse
//! odometry", PAMI 2018), and, where the target has depth, a point-to-plane residual between the
//! moved point and the target's surface (Chen and Medioni, 1992). Both stages that align views,
//! tracking and window alignment, stand on this file.

use nalgebra::{Matrix6, SMatrix, SVector, Vector3, Vector6};
use rayon::prelude::*;

use crate::geometry::robust::{Kernel, mad_sigma};
use crate::geometry::se3::{self, Se3};
use crate::pyramid::{Level, Sample};
use crate::sensor::DepthNoise;

/// Pose (`[omega, nu]`, left perturbation of `target_from_reference`), then `a` and `b`.
pub type Vector8 = SVector<f64, 8>;
/// Hessian over the same eight parameters.
pub type Matrix8 = SMatrix<f64, 8, 8>;

/// A point of the reference view, with all that its residuals need.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReferencePoint {
    /// Position in the reference's optical frame, metres.
    pub point_in_reference: Vector3<f32>,
    /// Unit normal of the surface, where known.
    pub normal_in_reference: Option<Vector3<f32>>,
    /// Intensity, 0..255.
    pub intensity: f32,
    /// Variance of the depth, m².
    pub depth_variance_m2: f32,
}

/// Exposure change between two views: `I_target = e^log_gain * I_reference + offset`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Exposure {
    /// Logarithm of the gain.
    pub log_gain: f64,
    /// Offset in intensity units (0..255).
    pub offset: f64,
}

/// Where the target is, and how its exposure differs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RelativeView {
    /// Pose of the reference in the target's frame.
    pub target_from_reference: Se3,
    /// Exposure of the target relative to the reference.
    pub exposure: Exposure,
}

impl RelativeView {
    /// Returns the view of a target that stands where the reference stands.
    pub fn identity() -> Self {
        Self::at(Se3::identity())
    }

    /// Returns the view at a pose, with the reference's exposure.
    pub fn at(target_from_reference: Se3) -> Self {
        Self { target_from_reference, exposure: Exposure::default() }
    }

    /// Returns the view after a step of the pose (`[omega, nu]`, on the left) and the exposure.
    pub fn stepped(&self, pose_step: &Vector6<f64>, exposure_step: &Exposure) -> Self {
        Self {
            target_from_reference: se3::exp(pose_step) * self.target_from_reference,
            exposure: Exposure {
                log_gain: self.exposure.log_gain + exposure_step.log_gain,
                offset: self.exposure.offset + exposure_step.offset,
            },
        }
    }
}

/// Standard deviations that make residuals comparable.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResidualScale {
    /// Of photometric residuals, in intensity units.
    pub intensity: f64,
    /// Of depth residuals, as a multiple of the noise that the sensor model expects.
    pub depth: f64,
}

/// How residuals are formed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResidualSettings {
    /// Noise of the target's depth.
    pub depth_noise: DepthNoise,
    /// Points that miss the target's surface by more than this share of their depth are taken as
    /// hidden, or as another object, and left out.
    pub depth_gate_frac: f64,
    /// A photometric residual below this counts as inlier, intensity units.
    pub intensity_inlier: f64,
    /// A depth residual below this share of the depth counts as inlier.
    pub depth_inlier_frac: f64,
    /// Weight of geometric against photometric residuals.
    pub geometric_weight: f64,
}

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
}

/// Both kernels are Cauchy's at 2.385 sigma: 95 % efficient on Gaussian noise, and a gross error
/// loses its influence.
const KERNEL: Kernel = Kernel::Cauchy(2.385);
/// Rows of a chunk; fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 1024;
/// A surface seen this obliquely (cosine) still counts; beyond it, noise along the ray would be
/// blown up without bound.
const MIN_INCIDENCE_COS: f64 = 0.2;

/// Reference points to be compared with one level of a target.
#[derive(Clone, Copy)]
pub struct Comparison<'a> {
    /// Points of the reference.
    pub points: &'a [ReferencePoint],
    /// The target image at the resolution of the points.
    pub target: &'a Level,
    /// How residuals are formed.
    pub settings: ResidualSettings,
}

impl Comparison<'_> {
    /// Returns the normal equations of all residuals at `view`.
    pub fn linearize(&self, view: &RelativeView, scale: &ResidualScale) -> NormalEquations {
        let partial = |chunk: &[ReferencePoint]| {
            let mut sum = NormalEquations::zero();
            for point in chunk {
                if let Some(residual) = self.residual(point, view) {
                    sum.add(&residual, scale, &self.settings);
                }
            }
            sum
        };
        let parts: Vec<_> = self.points.par_chunks(CHUNK).map(partial).collect();
        let mut total = NormalEquations::zero();
        parts.iter().for_each(|part| total.merge(part));
        total
    }

    /// Returns the spread of the residuals' bulk at `view`, for both kinds.
    pub fn scale(&self, view: &RelativeView) -> ResidualScale {
        let residuals: Vec<_> = self.points.iter().filter_map(|p| self.residual(p, view)).collect();
        let mut photometric: Vec<f32> = residuals.iter().map(|r| r.photometric as f32).collect();
        let mut geometric: Vec<f32> = residuals
            .iter()
            .filter_map(|r| r.geometric.as_ref())
            .map(|g| (g.depth_error_m / g.sigma_m) as f32)
            .collect();
        ResidualScale {
            intensity: f64::from(mad_sigma(&mut photometric).unwrap_or(20.0)).clamp(2.0, 40.0),
            depth: f64::from(mad_sigma(&mut geometric).unwrap_or(1.0)).clamp(0.5, 10.0),
        }
    }

    fn residual(&self, point: &ReferencePoint, view: &RelativeView) -> Option<PointResidual> {
        let pose = &view.target_from_reference;
        let p = pose.transform_point(&point.point_in_reference.cast::<f64>().into());
        let (pixel, projection) = self.target.camera.project_with_jacobian(&p)?;
        let sample = self.target.sample(&pixel)?;
        let gain = view.exposure.log_gain.exp();
        let expected = gain * f64::from(point.intensity) + view.exposure.offset;
        Some(PointResidual {
            point_in_target: p.coords,
            photometric: f64::from(sample.intensity) - expected,
            photometric_by_point: (sample.gradient.cast::<f64>().transpose() * projection)
                .transpose(),
            gained_intensity: expected - view.exposure.offset,
            geometric: self.geometric(point, &p.coords, pose, &sample),
        })
    }

    fn geometric(
        &self,
        point: &ReferencePoint,
        point_in_target: &Vector3<f64>,
        target_from_reference: &Se3,
        sample: &Sample,
    ) -> Option<GeometricResidual> {
        let depth_m = f64::from(sample.depth_m?);
        let normal = target_from_reference.rotation * point.normal_in_reference?.cast::<f64>();
        let ray = point_in_target / point_in_target.z;
        let incidence = normal.dot(&ray);
        if incidence.abs() < MIN_INCIDENCE_COS {
            return None;
        }
        let noise_m = self.settings.depth_noise.sigma_m(depth_m);
        Some(GeometricResidual {
            depth_error_m: depth_m - point_in_target.z,
            // The target's surface point is ray * depth; along the normal it misses the moved
            // point by incidence * depth_error, so in units of depth the derivative is -n/incidence.
            by_point: -normal / incidence,
            sigma_m: (noise_m * noise_m + f64::from(point.depth_variance_m2)).sqrt(),
        })
    }
}

/// The residuals of one point, with their derivatives by the moved point.
struct PointResidual {
    point_in_target: Vector3<f64>,
    photometric: f64,
    photometric_by_point: Vector3<f64>,
    /// `e^a I_reference`: the derivative by the log gain, negated.
    gained_intensity: f64,
    geometric: Option<GeometricResidual>,
}

struct GeometricResidual {
    depth_error_m: f64,
    by_point: Vector3<f64>,
    sigma_m: f64,
}

impl GeometricResidual {
    fn contradicts(&self, depth_m: f64, settings: &ResidualSettings) -> bool {
        let gate = settings.depth_gate_frac * depth_m + 3.0 * self.sigma_m;
        self.depth_error_m.abs() > gate
    }
}

/// Derivative of a residual by a left perturbation `[omega, nu]`, given that by the moved point.
fn by_pose(by_point: &Vector3<f64>, point: &Vector3<f64>) -> [f64; 6] {
    let rotation = point.cross(by_point);
    [rotation.x, rotation.y, rotation.z, by_point.x, by_point.y, by_point.z]
}

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

    fn full_hessian(&self) -> Matrix8 {
        let mut full = self.hessian;
        full.fill_lower_triangle_with_upper_triangle();
        // Gain and offset cannot be told apart on a plain wall: hold them where they are.
        full[(6, 6)] += 1.0;
        full[(7, 7)] += 1e-4;
        full
    }

    fn zero() -> Self {
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
        }
    }

    fn merge(&mut self, other: &Self) {
        self.hessian += other.hessian;
        self.gradient += other.gradient;
        self.cost += other.cost;
        self.residuals += other.residuals;
        self.contradicting += other.contradicting;
        self.visible += other.visible;
        self.inliers += other.inliers;
        self.with_depth += other.with_depth;
        self.depth_inliers += other.depth_inliers;
    }

    fn add(&mut self, point: &PointResidual, scale: &ResidualScale, settings: &ResidualSettings) {
        self.visible += 1;
        let depth_m = point.point_in_target.z;
        if let Some(geometric) = &point.geometric {
            self.with_depth += 1;
            if geometric.contradicts(depth_m, settings) {
                self.contradicting += 1;
                return;
            }
            self.add_geometric(geometric, &point.point_in_target, scale, settings);
        }
        self.add_photometric(point, scale);
        self.inliers += usize::from(point.photometric.abs() < settings.intensity_inlier);
    }

    fn add_geometric(
        &mut self,
        residual: &GeometricResidual,
        point: &Vector3<f64>,
        scale: &ResidualScale,
        settings: &ResidualSettings,
    ) {
        let inlier_m = settings.depth_inlier_frac * point.z + residual.sigma_m;
        self.depth_inliers += usize::from(residual.depth_error_m.abs() < inlier_m);
        let sigma = residual.sigma_m * scale.depth;
        let pose = by_pose(&residual.by_point, point);
        let jacobian = [pose[0], pose[1], pose[2], pose[3], pose[4], pose[5], 0.0, 0.0];
        self.accumulate(&jacobian, residual.depth_error_m, sigma, settings.geometric_weight);
    }

    fn add_photometric(&mut self, residual: &PointResidual, scale: &ResidualScale) {
        let pose = by_pose(&residual.photometric_by_point, &residual.point_in_target);
        let by_gain = -residual.gained_intensity;
        let jacobian = [pose[0], pose[1], pose[2], pose[3], pose[4], pose[5], by_gain, -1.0];
        self.accumulate(&jacobian, residual.photometric, scale.intensity, 1.0);
    }

    fn accumulate(&mut self, jacobian: &[f64; 8], residual: f64, sigma: f64, weight: f64) {
        let normalized = residual / sigma;
        self.cost += weight * KERNEL.cost(normalized);
        self.residuals += 1;
        let weight = weight * KERNEL.weight(normalized) / (sigma * sigma);
        for (column, derivative) in jacobian.iter().enumerate() {
            let scaled = weight * derivative;
            self.gradient[column] += scaled * residual;
            // The upper triangle is enough: `full_hessian` mirrors it.
            for (row, other) in jacobian[..=column].iter().enumerate() {
                self.hessian[(row, column)] += scaled * other;
            }
        }
    }
}
