//! Constraints: what is known of one keyframe's pose relative to another's.

use nalgebra::{Matrix6, SMatrix, Vector6};

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

impl Constraint {
    /// Returns the constraint with all lengths multiplied by `factor`.
    pub fn lengthened(&self, factor: f64) -> Self {
        let [turn, way] = [1.0, factor.recip()];
        let inverse = Matrix6::from_diagonal(&Vector6::new(turn, turn, turn, way, way, way));
        let mut lengthened = *self;
        lengthened.target_from_source.translation.vector *= factor;
        lengthened.information = inverse * self.information * inverse;
        lengthened
    }
}
