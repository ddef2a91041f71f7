//! Window alignment: the keyframes of a window moved until their surfaces and images agree.
//!
//! Every pair of the window that shares enough is compared both ways by the dense residuals that
//! tracking uses, over sampled points; all poses move together (Gauss–Newton over SE(3): depth is
//! metric). What comes back is the poses, and each pair's own optimum as a constraint, so that the
//! pose graph can carry the window's knowledge on. [`refine`] does the same for all keyframes of a
//! map. [`sparse`] holds the coarse (3D) and fine (2D
//! reprojection) stages for pointmaps without metric depth.

mod depth_offset;
pub mod global;
mod pair;
mod progress;
mod refine;
mod solve;
pub mod sparse;

use std::collections::BTreeMap;

use crate::constraint::Constraint;
use crate::error::{Error, Result};
use crate::geometry::Se3;
use crate::keyframe::{Keyframe, KeyframeId};
use crate::sensor::DepthNoise;

pub use depth_offset::{OffsetEstimate, depth_offset};
pub use pair::AlignmentView;
pub use progress::{Iteration, Stage, Watch};
pub use refine::{Refinement, RefinementConfig, refine};

/// How windows are aligned.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AlignmentConfig {
    /// Gauss-Newton rounds over all pairs.
    #[schemars(range(min = 1, max = 100))]
    pub rounds: usize,
    /// Points of each keyframe that are looked up in the others.
    #[schemars(range(min = 100, max = 100_000))]
    pub max_points: usize,
    /// Pyramid level that is compared, 0 the finest.
    #[schemars(range(min = 0, max = 7))]
    pub pyramid_level: usize,
    /// Weight of depth residuals against photometric ones: less than one, since what a sensor gets
    /// wrong it gets wrong for whole surfaces, and two such residuals say little more than one.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub geometric_weight: f64,
    /// Points that miss the surface by more than this share of their depth are taken as hidden.
    #[schemars(range(min = 0.001, max = 1.0))]
    pub depth_gate_frac: f64,
    /// Pairs that share fewer points than this share are not compared.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_pair_overlap_frac: f64,
    /// How a whole map is refined.
    pub refinement: RefinementConfig,
}

impl Default for AlignmentConfig {
    fn default() -> Self {
        Self {
            rounds: 3,
            max_points: 1000,
            pyramid_level: 0,
            geometric_weight: 0.5,
            depth_gate_frac: 0.05,
            min_pair_overlap_frac: 0.3,
            refinement: RefinementConfig::default(),
        }
    }
}

/// A step below this, rad or m, ends the rounds: a few hundredths of a pixel.
const SMALL_STEP: f64 = 1e-4;

/// An aligned window, with its evidence.
#[derive(Debug, Clone)]
pub struct WindowAlignment {
    /// Poses of all keyframes of the window.
    pub world_from_camera: BTreeMap<KeyframeId, Se3>,
    /// One constraint for each ordered pair that was compared.
    pub constraints: Vec<Constraint>,
    /// Mean robust cost of a residual before the first and after the last round.
    pub mean_cost: [f64; 2],
    /// Largest step of the last round, rad or m.
    pub last_step: f64,
}

/// Returns the poses of least residual for the keyframes of a window, the oldest held where it is.
///
/// # Errors
/// [`Error::TooFewCorrespondences`] for a window in which no pair shares enough.
pub fn align_window(
    window: &[&Keyframe],
    noise: DepthNoise,
    config: &AlignmentConfig,
) -> Result<WindowAlignment> {
    let views: Vec<AlignmentView<'_>> =
        window.iter().map(|k| AlignmentView::new(k, config)).collect();
    let mut poses: Vec<Se3> = window.iter().map(|k| k.world_from_camera).collect();
    let mut pairs = pair::pairs(&views, &poses, noise, config);
    if pairs.is_empty() {
        let what = "aligning a window of keyframes";
        return Err(Error::TooFewCorrespondences { what, got: 0, need: 1 });
    }
    let held = (0..window.len()).min_by_key(|&i| window[i].id).unwrap_or(0);
    let mut mean_cost = [f64::INFINITY; 2];
    let mut last_step = 0.0;
    let mut factors = pair::linearize_all(&mut pairs, &views, &poses);
    mean_cost[0] = solve::mean_cost(&factors);
    for _ in 0..config.rounds {
        last_step = solve::step(&factors, held, &mut poses);
        factors = pair::linearize_all(&mut pairs, &views, &poses);
        if last_step < SMALL_STEP {
            break;
        }
    }
    mean_cost[1] = solve::mean_cost(&factors);
    Ok(WindowAlignment {
        constraints: factors.iter().filter_map(|f| f.constraint(&views)).collect(),
        world_from_camera: window.iter().map(|k| k.id).zip(poses).collect(),
        mean_cost,
        last_step,
    })
}
