//! Sparse alignment in two stages, for views whose geometry comes from a model and has no common
//! scale: after MASt3R-SfM (Duisterhof et al., 2024), with second-order solvers for its Adam.
//!
//! - [`align_coarse`]: matches as 3D distances; a pose and a size for each view.
//! - [`align_fine`]: matches as 2D reprojections; poses, depths and, where allowed, lenses.
//!
//! Both minimise exactly the reference's losses, so that figures can be compared: the matches'
//! mean loss by confidence, and for pairs whose matches cannot be trusted the distance to what
//! the model saw. What is known beforehand enters as more [`Factor`]s.

mod canonical;
mod chain;
mod coarse;
mod distance;
mod evidence;
mod factor;
mod fine;
mod loss;
mod minimize;
mod normal;
mod placement;
mod pointmap;
mod priors;
mod reduced;
mod reprojection;
mod scene;
mod schur;
mod state;
mod tree;

pub use canonical::{CELL_PX, CanonicalBuilder, CanonicalView};
pub use coarse::align_coarse;
pub use distance::PointDistance;
pub use evidence::{CameraInformation, StageEvidence, StageResult, ViewResidual};
pub use factor::{
    Coupling, DepthCost, DepthTerm, Factor, Linearization, Softening, ViewBlock, ViewGradient,
};
pub use fine::align_fine;
pub use loss::{GammaLoss, SoftenedLoss};
pub use pointmap::PointmapDistance;
pub use priors::{DepthPrior, IntrinsicsPrior, PosePrior, RelativePosePrior};
pub use reprojection::Reprojection;
pub use scene::{Match, MatchedPair, PairPointmap, Sample, SparseScene, SparseView};
pub use state::{SceneState, VIEW_DIM, ViewState, ViewStep};
pub use tree::{KinematicTree, TreeRule, kinematic_tree};

use super::progress::Watch;
use crate::error::Result;

/// Which of a lens's unknowns fine alignment may change.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum LensFreedom {
    /// It stays as it is.
    Fixed,
    /// One value for all views.
    Shared,
    /// Each view has its own.
    Free,
}

/// How a scene is aligned.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SparseConfig {
    /// Focal lengths in the fine stage.
    pub focal_length: LensFreedom,
    /// Principal points in the fine stage.
    pub principal_point: LensFreedom,
    /// Whether the fine stage moves the depth of each anchor, or only whole views.
    pub free_depths: bool,
    /// Pairs whose best match is not more confident than this count by their pointmaps alone.
    #[schemars(range(min = 0.0, max = 1e9))]
    pub min_pair_confidence: f64,
    /// Weight of those pointmaps against the matches.
    #[schemars(range(min = 0.0, max = 1e6))]
    pub pointmap_weight: f64,
    /// Iterations of the coarse stage at most.
    #[schemars(range(min = 1, max = 10_000))]
    pub coarse_iterations: usize,
    /// Iterations of the fine stage at most, after those of the rounded-off loss.
    #[schemars(range(min = 1, max = 10_000))]
    pub fine_iterations: usize,
    /// Matches nearer than this after the coarse stage are inliers, as a share of the depth.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub inlier_depth_frac: f64,
    /// Matches nearer than this after the fine stage are inliers.
    #[schemars(range(min = 0.0, max = 1e3))]
    pub inlier_px: f64,
}

impl Default for SparseConfig {
    fn default() -> Self {
        Self {
            focal_length: LensFreedom::Free,
            principal_point: LensFreedom::Free,
            free_depths: true,
            min_pair_confidence: 5.0,
            pointmap_weight: 0.01,
            coarse_iterations: 60,
            fine_iterations: 20,
            inlier_depth_frac: 0.05,
            inlier_px: 2.0,
        }
    }
}

/// A scene after both stages.
#[derive(Debug, Clone)]
pub struct SparseAlignment {
    /// After the 3D stage.
    pub coarse: StageResult,
    /// After the reprojection stage.
    pub fine: StageResult,
}

/// Returns the scene after the coarse and the fine stage.
///
/// # Errors
/// As [`align_coarse`] and [`align_fine`].
pub fn align_sparse(
    scene: &SparseScene,
    priors: &[&dyn Factor],
    config: &SparseConfig,
) -> Result<SparseAlignment> {
    align_sparse_watched(scene, priors, config, &|_| ())
}

/// Does the same, and tells `watch` of each iteration.
///
/// # Errors
/// As [`align_sparse`].
pub fn align_sparse_watched(
    scene: &SparseScene,
    priors: &[&dyn Factor],
    config: &SparseConfig,
    watch: Watch<'_>,
) -> Result<SparseAlignment> {
    let coarse = coarse::align(scene, priors, config, watch)?;
    let fine = fine::align(scene, &coarse.state, priors, config, watch)?;
    Ok(SparseAlignment { coarse, fine })
}
