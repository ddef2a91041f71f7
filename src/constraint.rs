//! Constraints: what is known of one keyframe's pose relative to another's.

use nalgebra::Matrix6;

use crate::geometry::Se3;
use crate::keyframe::KeyframeId;

/// A measured relative pose; an edge of the pose graph.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constraint {
    /// The keyframe in whose frame the pose is given.
    pub target: KeyframeId,
    /// The keyframe whose pose is given.
    pub source: KeyframeId,
    /// The measured pose.
    pub target_from_source: Se3,
    /// Inverse covariance of a left perturbation `[omega, nu]`, 1/rad² and 1/m².
    pub information: Matrix6<f64>,
}
