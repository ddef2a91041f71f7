//! How firmly poses are known: blocks of the inverse of the Hessian, by back-substitution for the
//! columns that are asked for.

use std::collections::BTreeMap;

use nalgebra::SMatrix;

use super::problem::Problem;
use crate::block_system::BlockSystem;
use crate::geometry::LieGroup;
use crate::keyframe::KeyframeId;

/// Covariances of the poses of a graph relative to an anchor.
pub struct Marginals<G, const D: usize> {
    system: BlockSystem<D>,
    /// Pose and number among the unknowns.
    poses: BTreeMap<KeyframeId, (G, Option<usize>)>,
}

impl<G: LieGroup<D>, const D: usize> Marginals<G, D> {
    pub(super) fn new(problem: &Problem<G, D>, ids: &[KeyframeId]) -> Option<Self> {
        let mut system = problem.system::<D>()?;
        problem.linearize(&mut system);
        let numbered = problem.poses.iter().copied().zip(problem.unknown.iter().copied());
        let poses = ids.iter().copied().zip(numbered).collect();
        system.factorize(0.0).then_some(Self { system, poses })
    }

    /// Returns the covariance of a left perturbation of `world_from_camera` with the anchor held,
    /// in rad² and m²: zero for the anchor, `None` for a keyframe that is not in the graph.
    pub fn covariance(&mut self, id: KeyframeId) -> Option<SMatrix<f64, D, D>> {
        let (pose, unknown) = *self.poses.get(&id)?;
        let Some(unknown) = unknown else { return Some(SMatrix::zeros()) };
        let own = self.system.inverse_block(unknown);
        let adjoint = pose.adjoint();
        let covariance = adjoint * own * adjoint.transpose();
        covariance.iter().all(|v| v.is_finite()).then_some(covariance)
    }
}
