//! Solving: everything from the first pose on, or what a change reaches.

use std::collections::{BTreeMap, BTreeSet};

use super::chordal::chordal_poses;
use super::descend::Descent;
use super::loops::descend_with_loops;
use super::marginals::Marginals;
use super::problem::Problem;
use super::region::Region;
use super::{Graph, PoseGraphConfig, Stored};
use crate::constraint::RelativePose;
use crate::geometry::LieGroup;
use crate::geometry::robust::Kernel;
use crate::keyframe::KeyframeId;

/// Poses that miss an edge by this many standard deviations in the mean are worth a new start.
const FAR_SIGMAS: f64 = 5.0;
/// The outermost keyframes of a region must move less than this, rad or m, for the rest to stay.
const STILL: f64 = 1e-4;
/// How much a region grows where they do not.
const GROWTH: usize = 4;

/// A solved graph, with its evidence.
#[derive(Debug, Clone)]
pub struct Optimized<G> {
    /// Poses of all keyframes that were given.
    pub poses: BTreeMap<KeyframeId, G>,
    /// Half the sum of squared residuals in standard deviations, under the kernels, before and
    /// after.
    pub cost: [f64; 2],
    /// Iterations that were done.
    pub iterations: usize,
    /// Whether the last iteration gained next to nothing.
    pub converged: bool,
    /// Loops that are not believed.
    pub refused_loops: Vec<(KeyframeId, KeyframeId)>,
}

/// What has become of a change.
#[derive(Debug, Clone)]
pub struct Settled<G> {
    /// Poses of the keyframes that were solved for.
    pub poses: BTreeMap<KeyframeId, G>,
    /// Iterations that were done.
    pub iterations: usize,
    /// Loops among them that are not believed.
    pub refused_loops: Vec<(KeyframeId, KeyframeId)>,
}

impl<G: LieGroup<D>, const D: usize> Graph<G, D> {
    /// Returns the poses that fit the constraints best, starting from and holding on to the first
    /// of `poses`. Constraints about keyframes without a pose are left out.
    pub fn optimize(
        &self,
        poses: BTreeMap<KeyframeId, G>,
        config: &PoseGraphConfig,
    ) -> BTreeMap<KeyframeId, G> {
        self.solve(poses, config).poses
    }

    /// The same, with evidence.
    pub fn solve(&self, poses: BTreeMap<KeyframeId, G>, config: &PoseGraphConfig) -> Optimized<G> {
        let first = poses.keys().next().copied();
        let nodes = poses.into_iter().map(|(id, pose)| (id, (pose, Some(id) != first))).collect();
        let all = self.edges.values();
        let mut problem = self.problem(&nodes, all, Kernel::Cauchy(config.kernel_sigmas));
        let before = problem.cost(&problem.poses);
        restart_if_far(&mut problem);
        let found = run(&mut problem, config);
        let refused_loops = refused(&problem);
        let poses = nodes.into_keys().zip(problem.poses).collect();
        let Descent { cost, iterations, converged } = found;
        Optimized { poses, cost: [before, cost], iterations, converged, refused_loops }
    }

    /// Returns the poses that change because the constraints of `changed` did: those nearest to
    /// them first, then more, as long as the outermost of them move; what lies beyond is held, and
    /// so is the first keyframe of the graph. A new loop that misses by far calls for all.
    pub fn settle(
        &mut self,
        changed: &[KeyframeId],
        pose: impl Fn(KeyframeId) -> Option<G>,
        config: &PoseGraphConfig,
    ) -> Settled<G> {
        let mut size = match self.has_far_loop(changed, &pose, config.loop_sigmas) {
            true => usize::MAX,
            false => config.local_keyframes,
        };
        loop {
            let region = self.region(changed, size, |id| pose(id).is_some());
            let nodes = self.nodes(&region, &pose);
            let edges = self.edges_of(&region);
            let kernel = Kernel::Cauchy(config.kernel_sigmas);
            let mut problem = self.problem(&nodes, edges.into_iter(), kernel);
            let start = problem.poses.clone();
            let found = run(&mut problem, config);
            let is_still =
                region.border.is_empty() || !self.rim_moves(&region, &nodes, &problem, &start);
            if is_still {
                self.remember_loops(&problem);
                let refused_loops = refused(&problem);
                let all = nodes.into_iter().zip(problem.poses);
                let poses =
                    all.filter(|((_, (_, free)), _)| *free).map(|((id, _), p)| (id, p)).collect();
                return Settled { poses, iterations: found.iterations, refused_loops };
            }
            size = region.keyframes.len().saturating_mul(GROWTH);
        }
    }

    /// Returns the covariances of all `poses` relative to `anchor`, as far as the constraints tie
    /// them to it; `None` where the system has no solution.
    pub fn marginals(
        &self,
        poses: &BTreeMap<KeyframeId, G>,
        anchor: KeyframeId,
        config: &PoseGraphConfig,
    ) -> Option<Marginals<G, D>> {
        let nodes: BTreeMap<KeyframeId, (G, bool)> =
            poses.iter().map(|(&id, &pose)| (id, (pose, id != anchor))).collect();
        let ids: Vec<KeyframeId> = nodes.keys().copied().collect();
        let all = self.edges.values();
        let problem = self.problem(&nodes, all, Kernel::Cauchy(config.kernel_sigmas));
        Marginals::new(&problem, &ids)
    }

    fn problem<'a>(
        &self,
        nodes: &BTreeMap<KeyframeId, (G, bool)>,
        edges: impl Iterator<Item = &'a Stored<G, D>>,
        kernel: Kernel,
    ) -> Problem<G, D>
    where
        G: 'a,
    {
        let constraints = edges.map(|stored| (&stored.constraint, stored.loop_weight));
        Problem::new(nodes, constraints, kernel)
    }

    /// Whether a loop of a changed keyframe misses by more than `limit` standard deviations, and
    /// has not been refused before.
    fn has_far_loop(
        &self,
        changed: &[KeyframeId],
        pose: &impl Fn(KeyframeId) -> Option<G>,
        limit: f64,
    ) -> bool {
        let is_far = |stored: &Stored<G, D>| {
            stored.loop_weight.is_some_and(|weight| weight > 0.0)
                && pose(stored.constraint.target).zip(pose(stored.constraint.source)).is_some_and(
                    |(target, source)| sigmas(&stored.constraint, target, source) > limit,
                )
        };
        let of = changed.iter().flat_map(|&id| self.edges_at(id));
        of.into_iter().any(is_far)
    }

    /// The edges at a keyframe.
    fn edges_at(&self, id: KeyframeId) -> impl Iterator<Item = &Stored<G, D>> + '_ {
        let keys = self.neighbours(id).flat_map(move |other| [(id, other), (other, id)]);
        keys.filter_map(|key| self.edges.get(&key))
    }

    /// The edges of which an end is in the region, in order.
    fn edges_of(&self, region: &Region) -> Vec<&Stored<G, D>> {
        let at = |&id: &KeyframeId| self.edges_at(id);
        let all = region.keyframes.iter().flat_map(at);
        let key = |stored: &&Stored<G, D>| (stored.constraint.target, stored.constraint.source);
        let sorted: BTreeMap<_, _> = all.map(|stored| (key(&stored), stored)).collect();
        sorted.into_values().collect()
    }

    /// The poses of a region and its border, and which may move: not the border, not the graph's
    /// first, and not the region's first where it has no border.
    fn nodes(
        &self,
        region: &Region,
        pose: &impl Fn(KeyframeId) -> Option<G>,
    ) -> BTreeMap<KeyframeId, (G, bool)> {
        let first = self.neighbours.keys().next().copied();
        let oldest = region.keyframes.iter().next().copied();
        let is_held =
            |id: KeyframeId| Some(id) == first || region.border.is_empty() && Some(id) == oldest;
        let inside = region.keyframes.iter().map(|&id| (id, !is_held(id)));
        let all = inside.chain(region.border.iter().map(|&id| (id, false)));
        all.filter_map(|(id, free)| Some((id, (pose(id)?, free)))).collect()
    }

    /// Whether a keyframe beside the border has moved.
    fn rim_moves(
        &self,
        region: &Region,
        nodes: &BTreeMap<KeyframeId, (G, bool)>,
        problem: &Problem<G, D>,
        start: &[G],
    ) -> bool {
        let beside: BTreeSet<KeyframeId> =
            region.border.iter().flat_map(|&id| self.neighbours(id)).collect();
        let poses = nodes.keys().zip(start.iter().zip(&problem.poses));
        poses
            .filter(|(id, _)| beside.contains(id))
            .any(|(_, (before, after))| before.inverse().compose(after).log().amax() > STILL)
    }

    /// Keeps which loops were believed.
    fn remember_loops(&mut self, problem: &Problem<G, D>) {
        for edge in problem.edges.iter().filter(|edge| edge.loop_weight.is_some()) {
            if let Some(stored) = self.edges.get_mut(&edge.key) {
                stored.loop_weight = edge.loop_weight;
            }
        }
    }
}

/// Solves with the pattern found once; poses stay where memory does not suffice.
fn run<G: LieGroup<D>, const D: usize>(
    problem: &mut Problem<G, D>,
    config: &PoseGraphConfig,
) -> Descent {
    match problem.system::<D>().filter(|_| problem.unknowns() > 0) {
        Some(mut system) => {
            descend_with_loops(problem, &mut system, config.loop_sigmas, config.limits())
        }
        None => Descent { cost: problem.cost(&problem.poses), ..Descent::default() },
    }
}

/// Starts anew from the edges alone where the poses are far from fitting them, if that fits better.
/// Loops have no say: any of them may be wrong.
fn restart_if_far<G: LieGroup<D>, const D: usize>(problem: &mut Problem<G, D>) {
    let kernel = std::mem::replace(&mut problem.kernel, Kernel::Quadratic);
    let weights: Vec<Option<f64>> = problem.edges.iter().map(|edge| edge.loop_weight).collect();
    for edge in &mut problem.edges {
        edge.loop_weight = edge.loop_weight.map(|_| 0.0);
    }
    let cost = problem.cost(&problem.poses);
    let edges = weights.iter().filter(|weight| weight.is_none()).count();
    let far = 0.5 * FAR_SIGMAS * FAR_SIGMAS * edges as f64;
    if cost > far && problem.unknowns() > 0 {
        let other = chordal_poses(problem).filter(|poses| problem.cost(poses) < cost);
        problem.poses = other.unwrap_or_else(|| std::mem::take(&mut problem.poses));
    }
    for (edge, weight) in problem.edges.iter_mut().zip(weights) {
        edge.loop_weight = weight;
    }
    problem.kernel = kernel;
}

fn sigmas<G: LieGroup<D>, const D: usize>(
    constraint: &RelativePose<G, D>,
    target: G,
    source: G,
) -> f64 {
    super::problem::Edge::new(constraint, [0, 1], None).sigmas(&[target, source])
}

fn refused<G, const D: usize>(problem: &Problem<G, D>) -> Vec<(KeyframeId, KeyframeId)> {
    let refused = problem.edges.iter().filter(|edge| edge.loop_weight.is_some_and(|w| w <= 0.0));
    refused.map(|edge| edge.key).collect()
}
