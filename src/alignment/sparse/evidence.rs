//! What a stage returns beside the state: how well everything fits, and how firmly.

use faer::linalg::solvers::Solve;
use nalgebra::Matrix6;

use super::factor::{Softening, ViewBlock};
use super::minimize::{Found, Search};
use super::normal::{Normal, objective};
use super::priors::left_from_own;
use super::reduced::{Columns, ReducedSolver};
use super::schur::reduce;
use super::state::SceneState;
use crate::error::Result;
use crate::geometry::{GeometryError, Se3};

/// A scene after a stage.
#[derive(Debug, Clone)]
pub struct StageResult {
    /// Poses, sizes, lenses and depths.
    pub state: SceneState,
    /// How well everything fits.
    pub evidence: StageEvidence,
}

/// How well a stage's result fits.
#[derive(Debug, Clone)]
pub struct StageEvidence {
    /// Mean loss of the matches by confidence, with the pointmaps' share, before and after. This
    /// is the number that the reference minimises.
    pub loss: [f64; 2],
    /// What the priors add, in the same unit, after.
    pub prior_loss: f64,
    /// Iterations that were done.
    pub iterations: usize,
    /// Whether the last iteration gained next to nothing.
    pub converged: bool,
    /// Residuals by view.
    pub views: Vec<ViewResidual>,
    /// How firmly the cameras are known.
    pub information: CameraInformation,
}

/// The residuals of a view's matches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ViewResidual {
    /// Matches of the view.
    pub matches: usize,
    /// Those nearer than the limit.
    pub inliers: usize,
    /// Median length of the residuals: world units after the coarse stage, pixels after the fine.
    pub median: f64,
}

/// Inverse covariance of the cameras, the depths eliminated: weights of matches are taken at their
/// word, as inverse scales of their loss.
#[derive(Debug, Clone)]
pub struct CameraInformation {
    columns: Columns,
    normal: Normal,
    poses: Vec<Se3>,
}

impl CameraInformation {
    /// Returns the covariance of a view's pose, of a left perturbation `[omega, nu]`, in rad² and
    /// square world units, about the gauge that was held (for which it is zero); `None` where
    /// what was given leaves it open.
    pub fn pose_covariance(&self, view: usize) -> Option<Matrix6<f64>> {
        let columns: Vec<Option<usize>> = (0..6).map(|i| self.columns.of(view, i)).collect();
        let factor = ReducedSolver::new(self.columns.clone()).factorize(&self.normal, &[])?;
        let mut covariance = Matrix6::zeros();
        for (c, column) in columns.iter().enumerate() {
            let Some(column) = column else { continue };
            let mut unit = faer::Col::<f64>::zeros(self.columns.count());
            unit[*column] = 1.0;
            let solution = factor.solve(&unit);
            for (r, row) in columns.iter().enumerate() {
                covariance[(r, c)] = row.map_or(0.0, |row| solution[row]);
            }
        }
        let left = left_from_own(self.poses.get(view)?);
        let covariance = left * covariance * left.transpose();
        covariance.iter().all(|v| v.is_finite()).then_some(covariance)
    }

    /// Returns the block of the reduced Hessian between two views, over the view's unknowns:
    /// rotation about its own centre, centre, focal length (log), principal point (shares of the
    /// image), size (log).
    pub fn block(&self, row: usize, column: usize) -> Option<ViewBlock> {
        let block = self.normal.blocks.get(&(row.min(column), row.max(column)))?;
        Some(if row <= column { *block } else { block.transpose() })
    }

    /// Returns how many unknowns the cameras have.
    pub fn unknowns(&self) -> usize {
        self.columns.count()
    }

    fn is_finite(&self) -> bool {
        self.normal.blocks.values().all(|b| b.iter().all(|v| v.is_finite()))
    }

    /// The views of which some unknown is not tied by anything.
    fn loose_view(&self) -> Option<usize> {
        let loose = |view: &usize| {
            let block = &self.normal.blocks[&(*view, *view)];
            (0..6).any(|i| self.columns.of(*view, i).is_some() && block[(i, i)] <= 0.0)
        };
        (0..self.poses.len()).find(loose)
    }
}

impl StageResult {
    /// Returns a stage's result with its evidence; `total_weight` is the sum of the matches'
    /// confidences.
    pub(super) fn new(
        search: &Search<'_>,
        start: &SceneState,
        found: Found,
        data_terms: usize,
        total_weight: f64,
        views: Vec<ViewResidual>,
    ) -> Result<Self> {
        let (data, priors) = search.terms.split_at(data_terms);
        let normal = Normal::of(search.terms, &found.state, Softening::NONE, search.with_depths);
        let mut normal = reduce(&normal, 0.0);
        for block in normal.blocks.values_mut() {
            *block *= total_weight;
        }
        let poses = found.state.views.iter().map(|view| view.world_from_camera).collect();
        let information = CameraInformation { columns: search.columns.clone(), normal, poses };
        if !information.is_finite() || !found.cost.is_finite() || information.loose_view().is_some()
        {
            let what = "aligning a scene needs matches that fix every view";
            let count = views.iter().map(|view| view.matches).sum();
            return Err(GeometryError::Degenerate { what, count, singular_values: [0.0; 3] }.into());
        }
        let evidence = StageEvidence {
            loss: [
                objective(data, start, Softening::NONE),
                objective(data, &found.state, Softening::NONE),
            ],
            prior_loss: objective(priors, &found.state, Softening::NONE),
            iterations: found.iterations,
            converged: found.converged,
            views,
            information,
        };
        Ok(Self { state: found.state, evidence })
    }
}

/// Returns what there is to say of a view's residuals. Reorders them.
pub(super) fn inliers(lengths: &mut [f64], limit: f64) -> ViewResidual {
    let inliers = lengths.iter().filter(|length| **length < limit).count();
    let middle = lengths.len() / 2;
    let median = match lengths.len() {
        0 => 0.0,
        _ => *lengths.select_nth_unstable_by(middle, f64::total_cmp).1,
    };
    ViewResidual { matches: lengths.len(), inliers, median }
}
