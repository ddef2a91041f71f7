//! The pose graph: keyframe poses that fit all relative constraints best.
//!
//! Gauss–Newton over SE(3) (depth is metric) with a robust kernel on each edge, and a sparse
//! Cholesky factorisation (faer). `world_from_k' = exp(x_k) world_from_k`, as in window alignment.

use std::collections::BTreeMap;

use faer::Side;
use faer::linalg::solvers::Solve;
use faer::sparse::{SparseColMat, Triplet};
use nalgebra::{Matrix6, Vector6};

use crate::constraint::Constraint;
use crate::geometry::robust::Kernel;
use crate::geometry::{Se3, se3};
use crate::keyframe::KeyframeId;

/// How the pose graph is solved.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PoseGraphConfig {
    /// Gauss-Newton iterations at most.
    #[schemars(range(min = 1, max = 1000))]
    pub max_iterations: usize,
    /// Constraints that miss by more than this many standard deviations lose influence.
    #[schemars(range(min = 0.1, max = 1e9))]
    pub kernel_sigmas: f64,
}

impl Default for PoseGraphConfig {
    fn default() -> Self {
        Self { max_iterations: 5, kernel_sigmas: 20.0 }
    }
}

/// Relative constraints between keyframes, one for each ordered pair.
#[derive(Debug, Clone, Default)]
pub struct PoseGraph {
    constraints: BTreeMap<(KeyframeId, KeyframeId), Constraint>,
}

impl PoseGraph {
    /// Adds constraints; one about a pair that has one replaces it, since it was measured at
    /// better poses.
    pub fn update(&mut self, constraints: &[Constraint]) {
        for constraint in constraints {
            self.constraints.insert((constraint.target, constraint.source), *constraint);
        }
    }

    /// Returns whether a constraint ties the two keyframes together directly.
    pub fn connects(&self, a: KeyframeId, b: KeyframeId) -> bool {
        self.constraints.contains_key(&(a, b)) || self.constraints.contains_key(&(b, a))
    }

    /// Returns the constraints in order of their keyframes.
    pub fn constraints(&self) -> impl Iterator<Item = &Constraint> {
        self.constraints.values()
    }

    /// Returns the poses that fit the constraints best, starting from and holding on to the first
    /// of `poses`. Constraints about keyframes without a pose are left out.
    pub fn optimize(
        &self,
        mut poses: BTreeMap<KeyframeId, Se3>,
        config: &PoseGraphConfig,
    ) -> BTreeMap<KeyframeId, Se3> {
        let index: BTreeMap<KeyframeId, usize> =
            poses.keys().enumerate().map(|(i, &id)| (id, i)).collect();
        let kernel = Kernel::Cauchy(config.kernel_sigmas);
        for _ in 0..config.max_iterations {
            let mut system = System::new(index.len());
            for constraint in self.constraints.values() {
                system.add(constraint, &poses, &index, kernel);
            }
            let Some(step) = system.solve() else { break };
            for (pose, step) in poses.values_mut().zip(&step) {
                *pose = se3::exp(step) * *pose;
            }
            if step.iter().all(|s| s.amax() < 1e-6) {
                break;
            }
        }
        poses
    }
}

/// Normal equations by 6×6 blocks; the first pose is not among the unknowns.
struct System {
    diagonal: Vec<Matrix6<f64>>,
    gradient: Vec<Vector6<f64>>,
    /// Blocks below the diagonal, by (row, column).
    off_diagonal: BTreeMap<(usize, usize), Matrix6<f64>>,
}

impl System {
    fn new(poses: usize) -> Self {
        Self {
            // A pose without any constraint stays where it is.
            diagonal: vec![Matrix6::identity() * 1e-6; poses],
            gradient: vec![Vector6::zeros(); poses],
            off_diagonal: BTreeMap::new(),
        }
    }

    fn add(
        &mut self,
        constraint: &Constraint,
        poses: &BTreeMap<KeyframeId, Se3>,
        index: &BTreeMap<KeyframeId, usize>,
        kernel: Kernel,
    ) {
        let (Some(target_pose), Some(source_pose)) =
            (poses.get(&constraint.target), poses.get(&constraint.source))
        else {
            return;
        };
        let (target, source) = (index[&constraint.target], index[&constraint.source]);
        let target_from_source = target_pose.inv_mul(source_pose);
        let residual = se3::log(&(target_from_source * constraint.target_from_source.inverse()));
        let squared = (residual.transpose() * constraint.information * residual).x;
        let information = constraint.information * kernel.weight(squared.max(0.0).sqrt());
        let adjoint = se3::adjoint(&target_pose.inverse());
        let block = adjoint.transpose() * information * adjoint;
        let slope = adjoint.transpose() * (information * residual);
        self.diagonal[source] += block;
        self.diagonal[target] += block;
        self.gradient[source] += slope;
        self.gradient[target] -= slope;
        let key = (source.max(target), source.min(target));
        *self.off_diagonal.entry(key).or_insert_with(Matrix6::zeros) -= block;
    }

    /// The step of each pose, zero for the first; `None` where the system has no solution.
    fn solve(&self) -> Option<Vec<Vector6<f64>>> {
        let unknowns = 6 * self.diagonal.len().checked_sub(1).filter(|&n| n > 0)?;
        let mut triplets = Vec::new();
        for (i, block) in self.diagonal.iter().enumerate().skip(1) {
            push_block(&mut triplets, (i - 1, i - 1), block);
        }
        for (&(row, column), block) in self.off_diagonal.iter().filter(|((_, c), _)| *c > 0) {
            push_block(&mut triplets, (row - 1, column - 1), block);
        }
        let matrix = SparseColMat::try_new_from_triplets(unknowns, unknowns, &triplets).ok()?;
        let right = faer::Col::from_fn(unknowns, |i| -self.gradient[1 + i / 6][i % 6]);
        let solution = matrix.sp_cholesky(Side::Lower).ok()?.solve(&right);
        let finite = (0..unknowns).all(|i| solution[i].is_finite());
        let step = |pose: usize| match pose.checked_sub(1) {
            Some(p) => Vector6::from_fn(|i, _| solution[6 * p + i]),
            None => Vector6::zeros(),
        };
        finite.then(|| (0..self.diagonal.len()).map(step).collect())
    }
}

/// Appends the lower triangle of a block of the matrix.
fn push_block(
    triplets: &mut Vec<Triplet<usize, usize, f64>>,
    (row, column): (usize, usize),
    block: &Matrix6<f64>,
) {
    for r in 0..6 {
        for c in 0..6 {
            if 6 * row + r >= 6 * column + c {
                triplets.push(Triplet::new(6 * row + r, 6 * column + c, block[(r, c)]));
            }
        }
    }
}
