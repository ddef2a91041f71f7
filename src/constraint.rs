//! Constraints: what is known of one keyframe's pose relative to another's.

use nalgebra::SMatrix;

use crate::geometry::{Se3, Sim3};
use crate::keyframe::KeyframeId;

/// A measured relative pose in a group of transforms whose tangents have `D` numbers; an edge of
/// the pose graph.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RelativePose<G, const D: usize> {
    /// The keyframe in whose frame the pose is given.
    pub target: KeyframeId,
    /// The keyframe whose pose is given.
    pub source: KeyframeId,
    /// The measured pose.
    pub target_from_source: G,
    /// Inverse covariance of a left perturbation `[omega, nu]` (and `sigma`), 1/rad² and 1/m².
    pub information: SMatrix<f64, D, D>,
}

/// A constraint where scale is metric.
pub type Constraint = RelativePose<Se3, 6>;

/// A constraint where it is not: each keyframe has a scale of its own.
pub type SimilarityConstraint = RelativePose<Sim3, 7>;
