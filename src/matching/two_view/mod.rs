//! Two-view verification: whether two views show the same place, and how they stand to each other,
//! from matches of which most may be wrong.
//!
//! [`relative_pose`] finds the pose, [`co_location`] checks it with everything that the views saw,
//! [`verify`] does both. A refusal is no error but a value with its reason.

mod co_location;
mod observation;
pub(in crate::matching) mod p3p;
mod ransac;
mod refine;
mod residual;

use std::fmt;

use nalgebra::{Matrix3, Matrix6};

use crate::geometry::{Camera, Se3};
use crate::pointmap::Pointmap;

pub use co_location::{CoLocation, co_location};
pub use observation::{Correspondence, Observation};

/// When two views count as seeing the same place.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TwoViewConfig {
    /// Standard deviation with which matches are found, in pixels of the views.
    #[schemars(range(min = 0.01, max = 100.0))]
    pub pixel_sigma_px: f64,
    /// Matches further off than this, in standard deviations, do not count.
    #[schemars(range(min = 1.0, max = 10.0))]
    pub max_residual_sigmas: f64,
    /// Samples that are tried at most.
    #[schemars(range(min = 1, max = 1000000))]
    pub max_samples: usize,
    /// Least number of matches that agree on the pose.
    #[schemars(range(min = 4, max = 100000))]
    pub min_inliers: usize,
    /// Least share of matches that agree on the pose.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_inlier_frac: f64,
    /// Largest standard deviation of the position along any axis, metres.
    #[schemars(range(min = 0.0001, max = 10.0))]
    pub max_sigma_m: f64,
    /// Largest standard deviation of the rotation about any axis, radians.
    #[schemars(range(min = 0.0001, max = 1.0))]
    pub max_sigma_rad: f64,
    /// Least share of one view's points that are seen by the other.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_overlap_frac: f64,
    /// Least share of points at the depth that the other view measured, among those that are not
    /// hidden from it.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_agreeing_frac: f64,
}

impl Default for TwoViewConfig {
    fn default() -> Self {
        Self {
            pixel_sigma_px: 2.0,
            max_residual_sigmas: 3.0,
            max_samples: 2000,
            min_inliers: 20,
            min_inlier_frac: 0.1,
            max_sigma_m: 0.05,
            max_sigma_rad: 0.03,
            min_overlap_frac: 0.1,
            min_agreeing_frac: 0.7,
        }
    }
}

/// A relative pose with its evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct TwoViewPose {
    /// The pose.
    pub target_from_source: Se3,
    /// Inverse covariance of a left perturbation `[omega, nu]`, 1/rad² and 1/m².
    pub information: Matrix6<f64>,
    /// Indices of the correspondences that agree, ascending.
    pub inliers: Vec<usize>,
    /// Root mean square of their residuals in standard deviations.
    pub rms_sigmas: f64,
}

/// Why two views are not taken to show the same place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Refusal {
    /// Fewer correspondences with a depth than would have to agree.
    TooFewMatches {
        /// How many there are.
        got: usize,
        /// How many are needed.
        need: usize,
    },
    /// No pose explains enough of them.
    NoConsensus {
        /// How many the best pose explains.
        inliers: usize,
        /// Out of how many.
        of: usize,
    },
    /// They leave the pose, or a part of it, open.
    Uncertain {
        /// Largest standard deviation of the position, metres; infinite where it is free.
        sigma_m: f64,
        /// Largest standard deviation of the rotation, radians.
        sigma_rad: f64,
    },
    /// The views see too little of each other by this pose.
    LowOverlap {
        /// Share of points in view.
        overlap_frac: f64,
    },
    /// What the views measured does not fit together by this pose.
    DepthMismatch {
        /// Share of points at the measured depth.
        agreeing_frac: f64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFewMatches { got, need } => {
                write!(f, "{got} matches with depth, at least {need} are needed")
            }
            Self::NoConsensus { inliers, of } => {
                write!(f, "no pose explains more than {inliers} of {of} matches")
            }
            Self::Uncertain { sigma_m, sigma_rad } => write!(
                f,
                "the matches leave the pose open (standard deviation {sigma_m:.3} m, {sigma_rad:.3} rad)"
            ),
            Self::LowOverlap { overlap_frac } => {
                write!(f, "the views share {:.0} % only", 100.0 * overlap_frac)
            }
            Self::DepthMismatch { agreeing_frac } => {
                write!(f, "depth agrees at {:.0} % of the points only", 100.0 * agreeing_frac)
            }
        }
    }
}

/// One of two views, as [`verify`] needs it.
#[derive(Debug, Clone, Copy)]
pub struct VerifiedView<'a> {
    /// Its camera.
    pub camera: &'a Camera,
    /// Its geometry, of the camera's size.
    pub pointmap: &'a Pointmap,
}

/// Returns the pose that most of `seen` agree on: consensus of random samples of three (points on
/// both sides, or points and pixels), then Gauss–Newton over all under a robust kernel. The result
/// is the same every time.
pub fn relative_pose(
    source: &Camera,
    target: &Camera,
    seen: &[Correspondence],
    config: &TwoViewConfig,
) -> Result<TwoViewPose, Refusal> {
    let usable = seen.iter().filter(|c| c.source.depth.is_some() || c.target.depth.is_some());
    let got = usable.count();
    if got < config.min_inliers {
        return Err(Refusal::TooFewMatches { got, need: config.min_inliers });
    }
    let views = residual::Views { source, target, pixel_sigma_px: config.pixel_sigma_px };
    let start = ransac::search(&views, seen, config);
    let start = start.ok_or(Refusal::NoConsensus { inliers: 0, of: got })?;
    let pose = refine::refined(&views, seen, start, config);
    let inliers = pose.inliers.len();
    if inliers < config.min_inliers || (inliers as f64) < config.min_inlier_frac * got as f64 {
        return Err(Refusal::NoConsensus { inliers, of: got });
    }
    check_certain(&pose.information, config)?;
    Ok(pose)
}

/// Returns the pose of [`relative_pose`] and how the two pointmaps fit together by it, where both
/// hold.
pub fn verify(
    source: &VerifiedView<'_>,
    target: &VerifiedView<'_>,
    seen: &[Correspondence],
    config: &TwoViewConfig,
) -> Result<(TwoViewPose, CoLocation), Refusal> {
    let pose = relative_pose(source.camera, target.camera, seen, config)?;
    let found = fitting(source, target, &pose.target_from_source, config)?;
    Ok((pose, found))
}

/// Returns the same for a source whose lengths may differ from the target's by a factor: the pose in the
/// target's lengths, by where the source sees the target's points and not how far away, and how many
/// times as long as the source's those are.
pub fn verify_up_to_scale(
    source: &VerifiedView<'_>,
    target: &VerifiedView<'_>,
    seen: &[Correspondence],
    config: &TwoViewConfig,
) -> Result<(TwoViewPose, f64), Refusal> {
    let flat = |c: &Correspondence| Correspondence {
        source: Observation { depth: None, ..c.source },
        ..*c
    };
    let flat: Vec<Correspondence> = seen.iter().map(flat).collect();
    let pose = relative_pose(source.camera, target.camera, &flat, config)?;
    let factor = length_ratio(&pose, seen).ok_or(Refusal::DepthMismatch { agreeing_frac: 0.0 })?;
    let pointmap = source.pointmap.scaled(factor);
    let source = VerifiedView { pointmap: &pointmap, ..*source };
    fitting(&source, target, &pose.target_from_source, config)?;
    Ok((pose, factor))
}

/// How many times as long as the source's the target's lengths are: the median over what agrees.
fn length_ratio(pose: &TwoViewPose, seen: &[Correspondence]) -> Option<f64> {
    let source_from_target = pose.target_from_source.inverse();
    let ratio = |c: &Correspondence| {
        let (depth, _) = c.source.depth?;
        Some((source_from_target * c.target.point()?).z / depth)
    };
    let agreeing = pose.inliers.iter().filter_map(|&index| seen.get(index));
    let mut ratios: Vec<f64> = agreeing.filter_map(ratio).collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied().filter(|ratio| *ratio > 0.0)
}

/// Returns how two pointmaps fit together by a pose, where they do.
pub fn fitting(
    source: &VerifiedView<'_>,
    target: &VerifiedView<'_>,
    target_from_source: &Se3,
    config: &TwoViewConfig,
) -> Result<CoLocation, Refusal> {
    let found = co_location(source, target, target_from_source);
    if found.overlap_frac < config.min_overlap_frac {
        return Err(Refusal::LowOverlap { overlap_frac: found.overlap_frac });
    }
    if found.agreeing_frac < config.min_agreeing_frac {
        return Err(Refusal::DepthMismatch { agreeing_frac: found.agreeing_frac });
    }
    Ok(found)
}

fn check_certain(information: &Matrix6<f64>, config: &TwoViewConfig) -> Result<(), Refusal> {
    let covariance = information.cholesky().map(|factor| factor.inverse());
    let sigma = |first: usize| {
        let block = |c: &Matrix6<f64>| c.fixed_view::<3, 3>(first, first).into_owned();
        covariance.as_ref().map_or(f64::INFINITY, |c| largest_sigma(&block(c)))
    };
    let (sigma_rad, sigma_m) = (sigma(0), sigma(3));
    if sigma_m <= config.max_sigma_m && sigma_rad <= config.max_sigma_rad {
        return Ok(());
    }
    Err(Refusal::Uncertain { sigma_m, sigma_rad })
}

fn largest_sigma(covariance: &Matrix3<f64>) -> f64 {
    covariance.symmetric_eigenvalues().max().max(0.0).sqrt()
}
