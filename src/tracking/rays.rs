//! Tracking by rays: the angle between the ray on which a frame shows a piece of the reference, and the
//! one on which that piece should be by the frame's pose (the residual by which MASt3R-SLAM tracks: Murai,
//! Dexheimer and Davison, CVPR 2025).
//!
//! Each patch brings its own contrast and brightness, so that light that differs over the image, a shadow
//! or a lamp that the robot carries, does not pull at the pose as it does where intensities are compared.
//! Where light stays as it is intensities say as much in less time, so that this is what remains when
//! they fail. Depth, where both views have it, counts as it does beside intensities.

use nalgebra::{Matrix3, Matrix6, Point3, Vector3, Vector6};

use super::align::{self, Beside, Effort, Outcome};
use super::verdict;
use super::{MotionPrior, Tracked, Tracker, Verdict};
use crate::dense_residual::{RelativeView, by_pose};
use crate::geometry::Se3;
use crate::geometry::robust::{Kernel, mad_sigma};
use crate::patches::Patch;
use crate::pyramid::{Level, Pyramid};
use crate::reference::Reference;

/// Cauchy's kernel, 95 % efficient on Gaussian noise.
const KERNEL: Kernel = Kernel::Cauchy(2.385);
/// Least and greatest standard deviation of where a patch is found, pixels.
const SIGMA_PX: [f64; 2] = [0.1, 2.0];
/// Fewer rays than this leave too much of a pose open.
const MIN_RAYS: usize = 12;
/// A patch that is found within this of where it should be is where it should be, pixels.
const INLIER_PX: f64 = 2.0;
/// Times that patches are looked for on each level: nearer to where they are, they are found better.
const ROUNDS: usize = 2;

/// A piece of the reference, and the ray on which a frame shows it.
struct Ray {
    point_in_reference: Vector3<f64>,
    depth_variance_m2: f64,
    /// Unit vector in the frame.
    seen_in_frame: Vector3<f64>,
}

/// The rays on which a frame shows pieces of a reference.
pub(super) struct Rays {
    rays: Vec<Ray>,
    /// Pieces that should be in the image, and the sum of how well they were found there.
    visible: usize,
    correlation: f64,
    /// Radians in a pixel.
    pixel_rad: f64,
}

/// What a Gauss–Newton step over the pose needs of all rays.
pub(super) struct RayEquations {
    pub hessian: Matrix6<f64>,
    pub gradient: Vector6<f64>,
    pub cost: f64,
}

impl Rays {
    /// Returns the rays on which a level of a frame shows patches, looked for where a pose puts them.
    fn find(patches: &[Patch], frame: &Level, frame_from_reference: &Se3) -> Self {
        let mut found = Self {
            rays: Vec::with_capacity(patches.len()),
            visible: 0,
            correlation: 0.0,
            pixel_rad: frame.camera.intrinsics().fx.recip(),
        };
        for patch in patches {
            found.add(patch, frame, frame_from_reference);
        }
        found
    }

    fn add(&mut self, patch: &Patch, frame: &Level, frame_from_reference: &Se3) {
        self.visible += usize::from(patch.is_visible(frame, frame_from_reference));
        let Some(found) = patch.find(frame, frame_from_reference) else { return };
        let ray = frame.camera.ray(&found.pixel).and_then(|ray| ray.try_normalize(0.0));
        let Some(seen_in_frame) = ray else { return };
        self.correlation += f64::from(found.correlation);
        self.rays.push(Ray {
            point_in_reference: patch.point_in_reference.cast(),
            depth_variance_m2: f64::from(patch.depth_variance_m2),
            seen_in_frame,
        });
    }

    /// Returns the spread of the bulk of the residuals at a pose, radians.
    pub fn sigma_rad(&self, frame_from_reference: &Se3) -> f64 {
        let mut off: Vec<f32> = self
            .rays
            .iter()
            .map(|ray| ray.off(frame_from_reference))
            .flat_map(|off| [off.x as f32, off.y as f32])
            .collect();
        let [least, most] = SIGMA_PX.map(|pixels| pixels * self.pixel_rad);
        mad_sigma(&mut off).map_or(most, |sigma| f64::from(sigma).clamp(least, most))
    }

    /// Returns the normal equations of all rays at a pose.
    pub fn linearize(&self, frame_from_reference: &Se3, sigma_rad: f64) -> RayEquations {
        let mut sum =
            RayEquations { hessian: Matrix6::zeros(), gradient: Vector6::zeros(), cost: 0.0 };
        let rotation = frame_from_reference.rotation.to_rotation_matrix().into_inner();
        for ray in &self.rays {
            sum.add(ray, &rotation, &frame_from_reference.translation.vector, sigma_rad);
        }
        sum
    }

    /// Share of the visible pieces that are where a pose puts them.
    fn inlier_frac(&self, frame_from_reference: &Se3) -> f64 {
        let limit_rad = INLIER_PX * self.pixel_rad;
        let is_near = |ray: &&Ray| ray.off(frame_from_reference).norm() <= limit_rad;
        self.rays.iter().filter(is_near).count() as f64 / self.visible.max(1) as f64
    }
}

impl Ray {
    /// The residual at a pose, between unit vectors.
    fn off(&self, frame_from_reference: &Se3) -> Vector3<f64> {
        let point = (frame_from_reference * Point3::from(self.point_in_reference)).coords;
        // A point in the camera itself is in no direction.
        point.try_normalize(0.0).unwrap_or_else(Vector3::zeros) - self.seen_in_frame
    }
}

impl RayEquations {
    fn add(&mut self, ray: &Ray, rotation: &Matrix3<f64>, translation: &Vector3<f64>, sigma: f64) {
        let turned = rotation * ray.point_in_reference;
        let point = turned + translation;
        let distance = point.norm().max(1e-9);
        let direction = point / distance;
        let across = |v: &Vector3<f64>| (v - direction * direction.dot(v)) / distance;
        // Along the line on which an unsure depth moves the point the ray says as much less.
        let by_depth = across(&(turned / ray.point_in_reference.z));
        let variance = sigma * sigma + by_depth.norm_squared() * ray.depth_variance_m2;
        let off = direction - ray.seen_in_frame;
        let sigmas = off.norm() / variance.sqrt();
        self.cost += KERNEL.cost(sigmas);
        let weight = KERNEL.weight(sigmas) / variance;
        for axis in 0..3 {
            let jacobian = Vector6::from(by_pose(&across(&Vector3::ith(axis, 1.0)), &point));
            self.hessian += jacobian * jacobian.transpose() * weight;
            self.gradient += jacobian * (weight * off[axis]);
        }
    }
}

impl Tracker {
    /// Returns the frame's pose by rays, from where intensities put it, if they do, or from the first of
    /// `starts` that leads to one that can be used; else what intensities say.
    pub(super) fn track_by_rays(
        &self,
        reference: &Reference,
        frame: &Pyramid,
        by_intensities: &Tracked,
        starts: &[RelativeView],
        prior: Option<&MotionPrior>,
    ) -> Tracked {
        let is_placed = by_intensities.verdict == Verdict::Tracked;
        let starts = is_placed.then_some(by_intensities.view).into_iter().chain(starts.to_vec());
        let mut tracked =
            starts.filter_map(|start| self.follow_rays(reference, frame, start, prior));
        let found = tracked.find(|tracked| tracked.verdict == Verdict::Tracked);
        found.unwrap_or(*by_intensities)
    }

    /// Aligns by rays over all levels that have patches, the coarsest first; `None` where no level shows
    /// enough.
    fn follow_rays(
        &self,
        reference: &Reference,
        frame: &Pyramid,
        start: RelativeView,
        prior: Option<&MotionPrior>,
    ) -> Option<Tracked> {
        let mut outcome = Outcome::at(start);
        let effort = Effort { rounds: 2, max_iterations: self.config.max_iterations };
        let levels = reference.patches().iter().zip(frame.levels()).enumerate();
        for (index, (patches, level)) in levels.rev() {
            for _ in 0..ROUNDS {
                let rays = Rays::find(patches, level, &outcome.view.target_from_reference);
                if rays.rays.len() < MIN_RAYS {
                    break;
                }
                let beside = Beside { prior, rays: Some(&rays) };
                let comparison = self.comparison(reference, frame, index);
                outcome = align::minimize(&comparison, outcome.view, beside, &effort);
            }
        }
        self.judge_rays(reference, frame, &outcome)
    }

    /// Judges a pose by the finest level that shows enough patches; `None` where none does.
    fn judge_rays(
        &self,
        reference: &Reference,
        frame: &Pyramid,
        outcome: &Outcome,
    ) -> Option<Tracked> {
        let pose = &outcome.view.target_from_reference;
        let mut levels = reference.patches().iter().zip(frame.levels()).enumerate();
        let (index, patches, rays) = levels.find_map(|(index, (patches, level))| {
            let rays = Rays::find(patches, level, pose);
            (rays.rays.len() >= MIN_RAYS).then_some((index, patches, rays))
        })?;
        let comparison = self.comparison(reference, frame, index);
        let by_depth = comparison.linearize(&outcome.view, &outcome.scale);
        let by_rays = rays.linearize(pose, rays.sigma_rad(pose));
        let mut tracked = Tracked {
            covariance: verdict::covariance_of(&(by_depth.pose_only().0 + by_rays.hessian)),
            overlap_frac: rays.visible as f64 / patches.len() as f64,
            inlier_frac: rays.inlier_frac(pose),
            correlation: Some(rays.correlation / rays.visible.max(1) as f64),
            ..self
                .judge(&comparison, &Outcome { scale: comparison.scale(&outcome.view), ..*outcome })
        };
        tracked.verdict = verdict::verdict(&tracked, &self.config);
        Some(tracked)
    }
}
