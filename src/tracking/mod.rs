//! Tracking: where each frame is, relative to a keyframe, at camera rate.
//!
//! Dense alignment from coarse to fine: Levenberg–Marquardt over the photometric and geometric
//! residuals of [`crate::dense_residual`], from the best of several starts, with a verdict; by rays to
//! [patches](crate::patches) where intensities do not fit.

mod align;
mod keyframe_decision;
mod rays;
mod search;
mod verdict;

use std::ops::Range;

use nalgebra::{Matrix6, Vector6};

use crate::dense_residual::{Comparison, RelativeView, ResidualScale, ResidualSettings};
use crate::geometry::Se3;
use crate::geometry::se3;
use crate::pyramid::Pyramid;
use crate::reference::Reference;
use crate::sensor::DepthNoise;

use align::{Beside, Effort, Outcome};
pub use keyframe_decision::{KeyframeConfig, has_left_keyframe};
pub use verdict::{LostReason, Verdict};

/// How frames are tracked.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrackingConfig {
    /// Levels of the image pyramid, each half the size of the one before.
    #[schemars(range(min = 1, max = 8))]
    pub pyramid_levels: usize,
    /// Points compared on the finest level; each coarser one has half as many, but a tenth at least.
    #[schemars(range(min = 200, max = 200_000))]
    pub max_points: usize,
    /// Gauss-Newton iterations on each level.
    #[schemars(range(min = 1, max = 100))]
    pub max_iterations: usize,
    /// Weight of depth residuals against photometric ones.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub geometric_weight: f64,
    /// Patches of a keyframe, each with brightness and contrast of its own, by which frames are tracked
    /// that are lost by intensities, or that have no depth and scatter by more than
    /// `max_intensity_sigma`: where light differs over the image. 0 for none.
    #[schemars(range(min = 0, max = 5000))]
    pub max_patches: usize,
    /// Standard deviation of intensities (0..255) from what they should be, up to which they are relied on.
    #[schemars(range(min = 0.0, max = 255.0))]
    pub max_intensity_sigma: f64,
    /// Points that miss the surface by more than this share of their depth are taken as hidden.
    #[schemars(range(min = 0.001, max = 1.0))]
    pub depth_gate_frac: f64,
    /// Standard deviation of the change of velocity between frames: rotation, rad/s.
    #[schemars(range(min = 0.001, max = 1000.0))]
    pub motion_sigma_rad_per_sec: f64,
    /// Standard deviation of the change of velocity between frames: translation, m/s.
    #[schemars(range(min = 0.001, max = 1000.0))]
    pub motion_sigma_m_per_sec: f64,
    /// Motions faster than this are refused, m/s.
    #[schemars(range(min = 0.01, max = 1000.0))]
    pub max_speed_m_per_sec: f64,
    /// Turns faster than this are refused, rad/s.
    #[schemars(range(min = 0.01, max = 1000.0))]
    pub max_turn_rad_per_sec: f64,
    /// Lost below this share of the keyframe's points in view.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_overlap_frac: f64,
    /// Lost below this share of points that look as they should.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_inlier_frac: f64,
    /// Lost below this correlation between what is seen and what should be seen.
    #[schemars(range(min = -1.0, max = 1.0))]
    pub min_correlation: f64,
    /// Lost below this share of points that lie where they should.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_depth_inlier_frac: f64,
}

impl Default for TrackingConfig {
    fn default() -> Self {
        Self {
            pyramid_levels: 5,
            max_points: 8000,
            max_iterations: 10,
            geometric_weight: 1.0,
            max_patches: 300,
            max_intensity_sigma: 8.0,
            depth_gate_frac: 0.05,
            motion_sigma_rad_per_sec: 1.0,
            motion_sigma_m_per_sec: 0.5,
            max_speed_m_per_sec: 5.0,
            max_turn_rad_per_sec: 10.0,
            min_overlap_frac: 0.2,
            min_inlier_frac: 0.6,
            min_correlation: 0.5,
            min_depth_inlier_frac: 0.5,
        }
    }
}

/// Where a frame is expected, and how sure that is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MotionPrior {
    /// The expected pose.
    pub frame_from_reference: Se3,
    /// Inverse covariance of a left perturbation `[omega, nu]`.
    pub information: Matrix6<f64>,
}

impl MotionPrior {
    /// Cost, gradient and pull of the prior at a pose: `r = log(pose * expected^-1)`.
    fn residual(&self, frame_from_reference: &Se3) -> Vector6<f64> {
        se3::log(&(frame_from_reference * self.frame_from_reference.inverse()))
    }

    fn cost(&self, frame_from_reference: &Se3) -> f64 {
        let residual = self.residual(frame_from_reference);
        0.5 * (residual.transpose() * self.information * residual).x
    }
}

/// A tracked frame, with the evidence by which it can be judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tracked {
    /// Pose and exposure of the frame relative to the reference.
    pub view: RelativeView,
    /// Covariance of the pose as a left perturbation `[omega, nu]`, rad² and m².
    pub covariance: Matrix6<f64>,
    /// Share of the reference's points that fall into the frame.
    pub overlap_frac: f64,
    /// Share of those whose intensity agrees.
    pub inlier_frac: f64,
    /// Correlation of the points' intensities with the frame's, -1 to 1; `None` where the reference
    /// shows no pattern.
    pub correlation: Option<f64>,
    /// Share of those with depth on both sides whose depth agrees; `None` where there are few.
    pub depth_inlier_frac: Option<f64>,
    /// Mean robust cost of a residual.
    pub mean_cost: f64,
    /// Spread of the residuals.
    pub scale: ResidualScale,
    /// Whether the last iteration's step was small.
    pub converged: bool,
    /// Whether the pose can be used.
    pub verdict: Verdict,
}

/// Aligns frames with references.
#[derive(Debug, Clone)]
pub struct Tracker {
    config: TrackingConfig,
    settings: ResidualSettings,
}

impl Tracker {
    /// Returns a tracker for a sensor with this depth noise.
    pub fn new(config: TrackingConfig, depth_noise: DepthNoise) -> Self {
        let settings = ResidualSettings {
            depth_noise,
            depth_gate_frac: config.depth_gate_frac,
            intensity_inlier: 25.0,
            depth_inlier_frac: 0.02,
            geometric_weight: config.geometric_weight,
        };
        Self { config, settings }
    }

    /// Returns the prior that says: the velocity is about what it was, `elapsed_secs` ago.
    pub fn motion_prior(&self, frame_from_reference: Se3, elapsed_secs: f64) -> MotionPrior {
        let elapsed = elapsed_secs.clamp(0.001, 10.0);
        let rotation = (self.config.motion_sigma_rad_per_sec * elapsed).powi(-2);
        let translation = (self.config.motion_sigma_m_per_sec * elapsed).powi(-2);
        let diagonal =
            Vector6::new(rotation, rotation, rotation, translation, translation, translation);
        MotionPrior { frame_from_reference, information: Matrix6::from_diagonal(&diagonal) }
    }

    /// Returns the frame's pose relative to `reference`, from the best of `starts` (at least one),
    /// with a verdict that says whether it can be used: by intensities, and where those do not fit, by
    /// the patches that the reference has.
    pub fn track(
        &self,
        reference: &Reference,
        frame: &Pyramid,
        starts: &[RelativeView],
        prior: Option<&MotionPrior>,
    ) -> Tracked {
        let levels = reference.levels().len().min(frame.levels().len());
        let start = align::best_start(&self.comparison(reference, frame, levels - 1), starts);
        let outcome = self.descend(reference, frame, 0..levels, start, prior);
        let tracked = self.judge(&self.comparison(reference, frame, 0), &outcome);
        match self.trusts_intensities(&tracked) {
            true => tracked,
            false => self.track_by_rays(reference, frame, &tracked, starts, prior),
        }
    }

    /// Whether intensities fit as well as they do where light stays as it is; that depth holds a pose
    /// in place is as good.
    fn trusts_intensities(&self, tracked: &Tracked) -> bool {
        let has_depth = tracked.depth_inlier_frac.is_some();
        let fits = tracked.scale.intensity <= self.config.max_intensity_sigma;
        tracked.verdict == Verdict::Tracked && (has_depth || fits)
    }

    /// Aligns over the given levels, the coarsest first.
    fn descend(
        &self,
        reference: &Reference,
        frame: &Pyramid,
        levels: Range<usize>,
        start: RelativeView,
        prior: Option<&MotionPrior>,
    ) -> Outcome {
        let mut outcome = Outcome::at(start);
        for index in levels.rev() {
            // The level next to the finest only brings the view near enough for it.
            let rounds = if index == 1 { 1 } else { 2 };
            let effort = Effort { rounds, max_iterations: self.config.max_iterations };
            let comparison = self.comparison(reference, frame, index);
            let beside = Beside { prior, rays: None };
            outcome = align::minimize(&comparison, outcome.view, beside, &effort);
        }
        outcome
    }

    fn comparison<'a>(
        &self,
        reference: &'a Reference,
        frame: &'a Pyramid,
        index: usize,
    ) -> Comparison<'a> {
        let (points, target) = (&reference.levels()[index], &frame.levels()[index]);
        Comparison { points, target, settings: self.settings_at(index) }
    }

    /// A pixel of a coarse level covers more of a surface, so depths differ more within it.
    fn settings_at(&self, level: usize) -> ResidualSettings {
        let gate = self.settings.depth_gate_frac * (1.0 + level as f64);
        ResidualSettings { depth_gate_frac: gate, ..self.settings }
    }

    fn judge(&self, comparison: &Comparison<'_>, outcome: &Outcome) -> Tracked {
        let Outcome { view, scale, converged } = *outcome;
        let normal = comparison.linearize(&view, &scale);
        let share = |part: usize, of: usize| part as f64 / of.max(1) as f64;
        let enough_depth = normal.with_depth * 10 > comparison.points.len();
        let mut tracked = Tracked {
            view,
            covariance: verdict::covariance(&normal),
            overlap_frac: share(normal.visible, comparison.points.len()),
            inlier_frac: share(normal.inliers, normal.visible),
            correlation: normal.correlation(),
            depth_inlier_frac: enough_depth.then(|| share(normal.depth_inliers, normal.with_depth)),
            mean_cost: normal.mean_cost(),
            scale,
            converged,
            verdict: Verdict::Tracked,
        };
        tracked.verdict = verdict::verdict(&tracked, &self.config);
        tracked
    }
}
