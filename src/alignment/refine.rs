//! Global refinement: all keyframes of a map moved together until every pair that shares enough
//! agrees, as window alignment does for a few.

use std::collections::BTreeMap;

use super::pair::{self, AlignmentView, Factor, Pair};
use super::{AlignmentConfig, solve};
use crate::block_system::BlockSystem;
use crate::constraint::Constraint;
use crate::error::{Error, Result};
use crate::geometry::{Se3, se3};
use crate::keyframe::{Keyframe, KeyframeId};
use crate::sensor::DepthNoise;

/// How a whole map is refined.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RefinementConfig {
    /// Rounds over all pairs at most.
    #[schemars(range(min = 1, max = 1000))]
    pub max_rounds: usize,
    /// Points of each keyframe that are looked up in the others.
    #[schemars(range(min = 100, max = 100_000))]
    pub max_points: usize,
}

impl Default for RefinementConfig {
    fn default() -> Self {
        Self { max_rounds: 20, max_points: 4000 }
    }
}

/// A refined map, with its evidence.
#[derive(Debug, Clone)]
pub struct Refinement {
    /// Poses of all keyframes that were given.
    pub world_from_camera: BTreeMap<KeyframeId, Se3>,
    /// One constraint for each ordered pair that was compared.
    pub constraints: Vec<Constraint>,
    /// Mean robust cost of a residual before the first and after the last round.
    pub mean_cost: [f64; 2],
    /// Rounds that were done.
    pub rounds: usize,
    /// Whether the last round moved next to nothing.
    pub converged: bool,
}

/// A step below this, rad or m, ends the rounds.
const SMALL_STEP: f64 = 2e-5;
const FIRST_DAMPING: f64 = 1e-4;
const MAX_DAMPING: f64 = 1e4;
/// Keeps what no pair ties where it is.
const LOOSE: f64 = 1e-3;

/// Returns the poses of least residual for all keyframes, compared by the `covisible` pairs that
/// share enough, the oldest held where it is. Pairs about keyframes that are not given are left out.
///
/// # Errors
/// [`Error::TooFewCorrespondences`] where no pair shares enough.
pub fn refine(
    keyframes: &[&Keyframe],
    covisible: &[(KeyframeId, KeyframeId)],
    noise: DepthNoise,
    config: &AlignmentConfig,
) -> Result<Refinement> {
    let finer = AlignmentConfig { max_points: config.refinement.max_points, ..config.clone() };
    let candidates = pairs_among(keyframes, covisible);
    let views: Vec<AlignmentView<'_>> =
        keyframes.iter().map(|k| AlignmentView::new(k, &finer)).collect();
    let poses: Vec<Se3> = keyframes.iter().map(|k| k.world_from_camera).collect();
    let pairs = pair::sharing(&candidates, &views, &poses, noise, &finer);
    let held = (0..keyframes.len()).min_by_key(|&i| keyframes[i].id);
    let (Some(held), false) = (held, pairs.is_empty()) else {
        let what = "refining a map";
        return Err(Error::TooFewCorrespondences { what, got: 0, need: 1 });
    };
    let search = Search { views, pairs, held };
    Ok(search.run(poses, config.refinement.max_rounds).named(keyframes))
}

/// The covisible pairs by their keyframes' places, both ways, each once.
pub(super) fn pairs_among(
    keyframes: &[&Keyframe],
    covisible: &[(KeyframeId, KeyframeId)],
) -> Vec<[usize; 2]> {
    let index: BTreeMap<KeyframeId, usize> =
        keyframes.iter().enumerate().map(|(i, k)| (k.id, i)).collect();
    let both_ways = covisible.iter().filter_map(|(a, b)| Some([*index.get(a)?, *index.get(b)?]));
    let mut candidates: Vec<[usize; 2]> =
        both_ways.filter(|[a, b]| a != b).flat_map(|[a, b]| [[a, b], [b, a]]).collect();
    candidates.sort_unstable();
    candidates.dedup();
    candidates
}

struct Search<'a> {
    views: Vec<AlignmentView<'a>>,
    pairs: Vec<Pair>,
    held: usize,
}

/// Where a search ended, by number of the keyframe.
struct Found {
    poses: Vec<Se3>,
    constraints: Vec<Constraint>,
    mean_cost: [f64; 2],
    rounds: usize,
    converged: bool,
}

impl Found {
    fn named(self, keyframes: &[&Keyframe]) -> Refinement {
        let Self { poses, constraints, mean_cost, rounds, converged } = self;
        let world_from_camera = keyframes.iter().map(|k| k.id).zip(poses).collect();
        Refinement { world_from_camera, constraints, mean_cost, rounds, converged }
    }
}

impl Search<'_> {
    /// Levenberg–Marquardt over all poses.
    fn run(mut self, mut poses: Vec<Se3>, max_rounds: usize) -> Found {
        let ends: Vec<[usize; 2]> = self.pairs.iter().map(Pair::ends).collect();
        let mut factors = pair::linearize_all(&mut self.pairs, &self.views, &poses);
        let before = solve::mean_cost(&factors);
        let mut system = BlockSystem::<6>::new(poses.len(), &ends);
        let (mut cost, mut damping, mut rounds, mut converged) = (before, FIRST_DAMPING, 0, false);
        while rounds < max_rounds && !converged && damping < MAX_DAMPING {
            rounds += 1;
            let step = system.as_mut().and_then(|system| {
                fill(system, &factors, &poses, self.held);
                system.factorize(damping).then(|| system.solve()).flatten()
            });
            let Some(step) = step else {
                damping *= 10.0;
                continue;
            };
            let largest = step.iter().map(|s| s.amax()).fold(0.0, f64::max);
            let tried: Vec<Se3> =
                poses.iter().zip(&step).map(|(pose, step)| se3::exp(step) * pose).collect();
            let tried_factors = pair::linearize_all(&mut self.pairs, &self.views, &tried);
            let tried_cost = solve::mean_cost(&tried_factors);
            converged = largest < SMALL_STEP;
            if tried_cost <= cost {
                (poses, factors, cost) = (tried, tried_factors, tried_cost);
                damping = (damping * 0.2).max(1e-9);
            } else {
                damping *= 10.0;
            }
        }
        let constraints = factors.iter().filter_map(|f| f.constraint(&self.views)).collect();
        Found { poses, constraints, mean_cost: [before, cost], rounds, converged }
    }
}

/// Sets the system to the normal equations at `poses`; the held pose's are those of standing still.
fn fill(system: &mut BlockSystem<6>, factors: &[Factor], poses: &[Se3], held: usize) {
    system.clear();
    let loose = nalgebra::Matrix6::identity() * LOOSE;
    (0..poses.len()).for_each(|pose| system.add_diagonal(pose, &loose));
    let stiff = factors.iter().map(|f| f.hessian.amax()).fold(1.0, f64::max);
    system.add_diagonal(held, &(nalgebra::Matrix6::identity() * 1e6 * stiff));
    for (number, factor) in factors.iter().enumerate() {
        let adjoint = se3::adjoint(&poses[factor.target].inverse());
        let block = adjoint.transpose() * factor.hessian * adjoint;
        let slope = adjoint.transpose() * factor.gradient;
        system.add_diagonal(factor.source, &block);
        system.add_diagonal(factor.target, &block);
        system.add_pair(number, &-block);
        for (pose, slope) in [(factor.source, -slope), (factor.target, slope)] {
            if pose != held {
                system.add_right(pose, &slope);
            }
        }
    }
}
