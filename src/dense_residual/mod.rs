//! Dense residuals between two views: how a reference's points look, and lie, in a target.
//!
//! Each reference point gives a photometric residual `I_target(u) - (e^a I_reference + b)` at its
//! projection `u`, with the exposure change `(a, b)` estimated along (Engel et al., "Direct sparse
//! odometry", PAMI 2018), and, where the target has depth, a point-to-plane residual between the
//! moved point and the target's surface (Chen and Medioni, 1992). Both stages that align views,
//! tracking and window alignment, stand on this file.

mod depth_offset;
mod normal_equations;

use nalgebra::{Matrix3, SMatrix, SVector, Vector3, Vector6};
use rayon::prelude::*;

use crate::geometry::robust::mad_sigma;
use crate::geometry::se3::{self, Se3};
use crate::pyramid::{Level, Sample};

use crate::sensor::DepthNoise;
pub use depth_offset::{Matrix7, OffsetEquations, Vector7};
use normal_equations::Accumulator;
pub use normal_equations::{NormalEquations, by_pose};

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

impl Exposure {
    /// Returns the exposure after a step.
    pub fn stepped(&self, step: &Exposure) -> Self {
        Self { log_gain: self.log_gain + step.log_gain, offset: self.offset + step.offset }
    }
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

    /// Returns this view of a middle view as one of the reference that `middle` is a view of.
    pub fn by_way_of(&self, middle: &RelativeView) -> Self {
        let gain = self.exposure.log_gain.exp();
        Self {
            target_from_reference: self.target_from_reference * middle.target_from_reference,
            exposure: Exposure {
                log_gain: self.exposure.log_gain + middle.exposure.log_gain,
                offset: gain.mul_add(middle.exposure.offset, self.exposure.offset),
            },
        }
    }

    /// Returns the reference as a view of the target.
    pub fn inverse(&self) -> Self {
        let Exposure { log_gain, offset } = self.exposure;
        Self {
            target_from_reference: self.target_from_reference.inverse(),
            exposure: Exposure { log_gain: -log_gain, offset: -offset * (-log_gain).exp() },
        }
    }

    /// Returns the view after a step of the pose (`[omega, nu]`, on the left) and the exposure.
    pub fn stepped(&self, pose_step: &Vector6<f64>, exposure_step: &Exposure) -> Self {
        Self {
            target_from_reference: se3::exp(pose_step) * self.target_from_reference,
            exposure: self.exposure.stepped(exposure_step),
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

/// Rows of a chunk; fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 1024;
/// A surface seen this obliquely (cosine) still counts; beyond it, noise along the ray would be
/// blown up without bound.
const MIN_INCIDENCE_COS: f64 = 0.2;

/// Depths that are less certain than this share of them are guesses.
const GUESS_FRAC: f32 = 0.2;

/// A view, taken apart into what each point needs.
struct Warp {
    rotation: Matrix3<f64>,
    translation: Vector3<f64>,
    gain: f64,
    offset: f64,
}

impl From<&RelativeView> for Warp {
    fn from(view: &RelativeView) -> Self {
        Self {
            rotation: view.target_from_reference.rotation.to_rotation_matrix().into_inner(),
            translation: view.target_from_reference.translation.vector,
            gain: view.exposure.log_gain.exp(),
            offset: view.exposure.offset,
        }
    }
}

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
        let warp = Warp::from(view);
        let partial = |chunk: &[ReferencePoint]| {
            let mut sum = Accumulator::new(*scale, self.settings);
            chunk.iter().filter_map(|p| self.residual(p, &warp)).for_each(|r| sum.add(&r));
            sum.finish()
        };
        let parts: Vec<_> = self.points.par_chunks(CHUNK).map(partial).collect();
        let mut total = NormalEquations::zero();
        parts.iter().for_each(|part| total.merge(part));
        total
    }

    /// Returns the spread of the residuals' bulk at `view`, for both kinds.
    pub fn scale(&self, view: &RelativeView) -> ResidualScale {
        let warp = Warp::from(view);
        let (mut photometric, mut geometric) = (Vec::new(), Vec::new());
        // Every third point is enough for a median.
        for residual in self.points.iter().step_by(3).filter_map(|p| self.residual(p, &warp)) {
            photometric.push(residual.photometric as f32);
            geometric.extend(residual.geometric.map(|g| (g.depth_error_m / g.sigma_m) as f32));
        }
        ResidualScale {
            intensity: f64::from(mad_sigma(&mut photometric).unwrap_or(20.0)).clamp(2.0, 40.0),
            depth: f64::from(mad_sigma(&mut geometric).unwrap_or(1.0)).clamp(0.5, 10.0),
        }
    }

    #[inline]
    fn residual(&self, point: &ReferencePoint, warp: &Warp) -> Option<PointResidual> {
        let p = warp.rotation * point.point_in_reference.cast::<f64>() + warp.translation;
        let (pixel, projection) = self.target.camera.project_with_jacobian(&p.into())?;
        let sample = self.target.sample(&pixel)?;
        let gained_intensity = warp.gain * f64::from(point.intensity);
        let gradient = sample.gradient.cast::<f64>();
        Some(PointResidual {
            point_in_target: p,
            photometric: f64::from(sample.intensity) - gained_intensity - warp.offset,
            photometric_by_point: projection.tr_mul(&gradient),
            intensity_variance: self.variance_by_depth(point, warp, &projection.tr_mul(&gradient)),
            gained_intensity,
            intensity: f64::from(sample.intensity),
            geometric: self.geometric(point, &p, warp, &sample),
        })
    }

    /// Variance of the photometric residual by what is not known of the point's depth: none without
    /// parallax. It matters for guesses only.
    #[inline]
    fn variance_by_depth(
        &self,
        point: &ReferencePoint,
        warp: &Warp,
        by_point: &Vector3<f64>,
    ) -> f64 {
        let depth_m = point.point_in_reference.z;
        let is_guess = point.depth_variance_m2 > (GUESS_FRAC * depth_m).powi(2);
        if !is_guess {
            return 0.0;
        }
        let ray = warp.rotation * (point.point_in_reference / depth_m).cast::<f64>();
        by_point.dot(&ray).powi(2) * f64::from(point.depth_variance_m2)
    }

    #[inline]
    fn geometric(
        &self,
        point: &ReferencePoint,
        point_in_target: &Vector3<f64>,
        warp: &Warp,
        sample: &Sample,
    ) -> Option<GeometricResidual> {
        let depth_m = f64::from(sample.depth_m?);
        let normal = warp.rotation * point.normal_in_reference?.cast::<f64>();
        let incidence = normal.dot(point_in_target) / point_in_target.z;
        if incidence.abs() < MIN_INCIDENCE_COS {
            return None;
        }
        let noise_m = self.settings.depth_noise.sigma_m(depth_m);
        Some(GeometricResidual {
            depth_error_m: depth_m - point_in_target.z,
            // The target's surface point is ray * depth; along the normal it misses the moved
            // point by incidence * depth_error, so in units of depth the derivative is -n/incidence.
            by_point: normal * (-1.0 / incidence),
            sigma_m: (noise_m * noise_m + f64::from(point.depth_variance_m2)).sqrt(),
        })
    }
}

/// The residuals of one point, with their derivatives by the moved point.
struct PointResidual {
    point_in_target: Vector3<f64>,
    photometric: f64,
    photometric_by_point: Vector3<f64>,
    /// Of the photometric residual, as far as the point's depth is a guess.
    intensity_variance: f64,
    /// `e^a I_reference`: the derivative by the log gain, negated.
    gained_intensity: f64,
    /// Intensity of the target.
    intensity: f64,
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
