//! Whether a tracked pose can be used, and how uncertain it is.

use std::fmt;

use nalgebra::Matrix6;

use super::{Tracked, TrackingConfig};
use crate::dense_residual::NormalEquations;

/// Whether a pose can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It can.
    Tracked,
    /// It cannot, for this reason.
    Lost(LostReason),
}

/// Why a frame could not be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostReason {
    /// Too little of the keyframe is in view.
    LowOverlap,
    /// The image does not look as it should from there.
    LowInliers,
    /// The depth does not lie where it should from there.
    DepthMismatch,
    /// The images leave part of the motion open.
    Degenerate,
    /// The motion since the last frame is faster than the camera can move.
    Implausible,
    /// No mapped place looks like this one.
    NotRecognized,
    /// A mapped place looks like this one, but odometry has led elsewhere.
    AgainstOdometry,
}

impl fmt::Display for LostReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LowOverlap => "too little of the map is in view",
            Self::LowInliers => "the image does not match the map",
            Self::DepthMismatch => "the depth does not match the map",
            Self::Degenerate => "the view does not determine the motion",
            Self::Implausible => "the motion is implausibly fast",
            Self::NotRecognized => "no mapped place is recognised",
            Self::AgainstOdometry => {
                "a place looks like this one, but by odometry the camera cannot have come there \
                 (where it can, as when it was carried: recognition.ask_odometry=false)"
            }
        })
    }
}

/// Neighbouring residuals err together, so that the Hessian of all of them is this many times too
/// sure of itself (about the pixels of a 3×3 neighbourhood).
const CORRELATION: f64 = 9.0;

pub(super) fn verdict(tracked: &Tracked, config: &TrackingConfig) -> Verdict {
    let depth_mismatch =
        tracked.depth_inlier_frac.is_some_and(|frac| frac < config.min_depth_inlier_frac);
    let finite = tracked.covariance.iter().all(|v| v.is_finite());
    let uncorrelated = tracked.correlation.is_some_and(|c| c < config.min_correlation);
    if tracked.overlap_frac < config.min_overlap_frac {
        Verdict::Lost(LostReason::LowOverlap)
    } else if tracked.inlier_frac < config.min_inlier_frac || uncorrelated {
        Verdict::Lost(LostReason::LowInliers)
    } else if depth_mismatch {
        Verdict::Lost(LostReason::DepthMismatch)
    } else if !finite {
        Verdict::Lost(LostReason::Degenerate)
    } else {
        Verdict::Tracked
    }
}

/// Covariance of the pose from the Hessian of its residuals; infinite where a direction is free.
pub(super) fn covariance(normal: &NormalEquations) -> Matrix6<f64> {
    covariance_of(&normal.pose_only().0)
}

/// The same from a Hessian over the pose alone.
pub(super) fn covariance_of(hessian: &Matrix6<f64>) -> Matrix6<f64> {
    match hessian.cholesky() {
        Some(factor) => factor.inverse() * CORRELATION,
        None => Matrix6::from_diagonal_element(f64::INFINITY),
    }
}
