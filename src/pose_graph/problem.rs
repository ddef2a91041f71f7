//! The poses that are sought, the edges between them, and their normal equations.

use std::collections::BTreeMap;

use nalgebra::{SMatrix, SVector};
use rayon::prelude::*;

use crate::block_system::BlockSystem;
use crate::constraint::RelativePose;
use crate::geometry::robust::Kernel;
use crate::geometry::{LieGroup, left_jacobian_inverse};
use crate::keyframe::KeyframeId;

/// Edges are worked on in chunks of this many, whatever the number of cores.
const CHUNK: usize = 2048;
/// A pose without any edge stays where it is.
const LOOSE: f64 = 1e-6;

/// An edge between two of a problem's poses.
#[derive(Debug, Clone)]
pub(super) struct Edge<G, const D: usize> {
    pub target: usize,
    pub source: usize,
    pub target_from_source: G,
    source_from_target: G,
    /// Of `target_from_source`.
    adjoint: SMatrix<f64, D, D>,
    pub information: SMatrix<f64, D, D>,
    /// Place in the graph.
    pub key: (KeyframeId, KeyframeId),
    /// What a loop counts; `None` for edges that are no loops.
    pub loop_weight: Option<f64>,
}

/// Poses, some of them held, with their edges.
pub(super) struct Problem<G, const D: usize> {
    pub poses: Vec<G>,
    /// Number among the unknowns, `None` where the pose is held.
    pub unknown: Vec<Option<usize>>,
    pub edges: Vec<Edge<G, D>>,
    /// The kernel of edges that are no loops.
    pub kernel: Kernel,
    /// Pairs of unknowns that edges tie, and for each edge the number of its pair.
    pub pairs: Vec<[usize; 2]>,
    pub pair_of_edge: Vec<Option<usize>>,
}

/// What an edge adds to the normal equations.
struct Part<const D: usize> {
    target: SMatrix<f64, D, D>,
    source: SMatrix<f64, D, D>,
    /// Rows of the target, columns of the source.
    cross: SMatrix<f64, D, D>,
    target_slope: SVector<f64, D>,
    source_slope: SVector<f64, D>,
}

impl<G: LieGroup<D>, const D: usize> Edge<G, D> {
    /// Returns the edge for a constraint between the poses of the given numbers.
    pub fn new(
        constraint: &RelativePose<G, D>,
        [target, source]: [usize; 2],
        loop_weight: Option<f64>,
    ) -> Self {
        let target_from_source = constraint.target_from_source;
        Self {
            target,
            source,
            target_from_source,
            source_from_target: target_from_source.inverse(),
            adjoint: target_from_source.adjoint(),
            information: constraint.information,
            key: (constraint.target, constraint.source),
            loop_weight,
        }
    }

    fn residual(&self, poses: &[G]) -> SVector<f64, D> {
        let target_from_source = poses[self.target].inverse().compose(&poses[self.source]);
        target_from_source.compose(&self.source_from_target).log()
    }

    /// Returns by how many standard deviations the poses miss the measurement.
    pub fn sigmas(&self, poses: &[G]) -> f64 {
        let residual = self.residual(poses);
        let squared = residual.dot(&(self.information * residual));
        // What is not finite has no weight and no cost under any kernel.
        if squared.is_finite() { squared.max(0.0).sqrt() } else { f64::NAN }
    }

    /// Loops are weighed as a whole. Between consecutive keyframes the kernel must be convex: under
    /// one that forgives, a chain that has drifted closes a loop by breaking at a single link.
    fn kernel(&self, of_problem: Kernel) -> Kernel {
        let is_step = self.key.0.0.abs_diff(self.key.1.0) == 1;
        match of_problem {
            _ if self.loop_weight.is_some() => Kernel::Quadratic,
            Kernel::Cauchy(limit) if is_step => Kernel::Huber(limit),
            kernel => kernel,
        }
    }

    fn cost(&self, poses: &[G], kernel: Kernel) -> f64 {
        self.loop_weight.unwrap_or(1.0) * self.kernel(kernel).cost(self.sigmas(poses))
    }

    /// The quadratic model about `poses`, over right perturbations of both; `None` without weight.
    fn linearize(&self, poses: &[G], kernel: Kernel) -> Option<Part<D>> {
        let residual = self.residual(poses);
        let weighted = self.information * residual;
        let squared = residual.dot(&weighted);
        let weight =
            self.loop_weight.unwrap_or(1.0) * self.kernel(kernel).weight(squared.max(0.0).sqrt());
        if !squared.is_finite() || weight <= 0.0 {
            return None;
        }
        let of_target = -left_jacobian_inverse::<G, D>(&residual);
        let of_source = left_jacobian_inverse::<G, D>(&-residual) * self.adjoint;
        let information = self.information * weight;
        let informed = information * of_source;
        let across = of_target.transpose();
        Some(Part {
            target: across * information * of_target,
            source: of_source.transpose() * informed,
            cross: across * informed,
            target_slope: across * weighted * weight,
            source_slope: of_source.transpose() * weighted * weight,
        })
    }
}

impl<G: LieGroup<D>, const D: usize> Problem<G, D> {
    /// Returns the problem of `nodes` (poses, and whether they may move) and the constraints among
    /// them of which an end may move, each with its weight if it is a loop.
    pub fn new<'a>(
        nodes: &BTreeMap<KeyframeId, (G, bool)>,
        constraints: impl Iterator<Item = (&'a RelativePose<G, D>, Option<f64>)>,
        kernel: Kernel,
    ) -> Self
    where
        G: 'a,
    {
        let index: BTreeMap<KeyframeId, usize> =
            nodes.keys().enumerate().map(|(i, &id)| (id, i)).collect();
        let mut free = 0;
        let number = |&(_, is_free): &(G, bool)| {
            free += usize::from(is_free);
            is_free.then(|| free - 1)
        };
        let unknown: Vec<Option<usize>> = nodes.values().map(number).collect();
        let edge = |(constraint, weight): (&RelativePose<G, D>, Option<f64>)| {
            let ends = [*index.get(&constraint.target)?, *index.get(&constraint.source)?];
            let moves = ends[0] != ends[1] && ends.iter().any(|&end| unknown[end].is_some());
            moves.then(|| Edge::new(constraint, ends, weight))
        };
        let edges: Vec<Edge<G, D>> = constraints.filter_map(edge).collect();
        let (mut pairs, mut pair_of_edge) = (Vec::new(), Vec::new());
        for edge in &edges {
            let pair = unknown[edge.target].zip(unknown[edge.source]);
            pair_of_edge.push(pair.map(|_| pairs.len()));
            pairs.extend(pair.map(|(target, source)| [target, source]));
        }
        let poses = nodes.values().map(|(pose, _)| *pose).collect();
        Self { poses, unknown, edges, kernel, pairs, pair_of_edge }
    }

    /// Returns how many poses may move.
    pub fn unknowns(&self) -> usize {
        self.unknown.iter().flatten().count()
    }

    /// Returns an empty system with the problem's pattern.
    pub fn system<const N: usize>(&self) -> Option<BlockSystem<N>> {
        BlockSystem::new(self.unknowns(), &self.pairs)
    }

    /// Returns the cost at `poses`: half the sum of squared residuals in standard deviations, under
    /// the kernel.
    pub fn cost(&self, poses: &[G]) -> f64 {
        let of_chunk = |edges: &[Edge<G, D>]| -> f64 {
            edges.iter().map(|edge| edge.cost(poses, self.kernel)).sum()
        };
        let sums: Vec<f64> = self.edges.par_chunks(CHUNK / 4).map(of_chunk).collect();
        sums.iter().sum()
    }

    /// Sets the system to the normal equations at the poses.
    pub fn linearize(&self, system: &mut BlockSystem<D>) {
        system.clear();
        let loose = SMatrix::<f64, D, D>::identity() * LOOSE;
        (0..self.unknowns()).for_each(|unknown| system.add_diagonal(unknown, &loose));
        for (begin, edges) in self.edges.chunks(CHUNK).enumerate() {
            let parts: Vec<Option<Part<D>>> =
                edges.par_iter().map(|edge| edge.linearize(&self.poses, self.kernel)).collect();
            for (number, part) in parts.into_iter().enumerate() {
                let Some(part) = part else { continue };
                self.add(system, begin * CHUNK + number, &part);
            }
        }
    }

    fn add(&self, system: &mut BlockSystem<D>, edge: usize, part: &Part<D>) {
        let ends = &self.edges[edge];
        if let Some(target) = self.unknown[ends.target] {
            system.add_diagonal(target, &part.target);
            system.add_right(target, &-part.target_slope);
        }
        if let Some(source) = self.unknown[ends.source] {
            system.add_diagonal(source, &part.source);
            system.add_right(source, &-part.source_slope);
        }
        if let Some(pair) = self.pair_of_edge[edge] {
            system.add_pair(pair, &part.cross);
        }
    }

    /// Returns the poses after a step of the unknowns.
    pub fn stepped(&self, step: &[SVector<f64, D>]) -> Vec<G> {
        // What does not move keeps every bit.
        let moves = |step: &&SVector<f64, D>| step.iter().any(|v| v.abs() > 0.0);
        let moved = |(pose, unknown): (&G, &Option<usize>)| {
            let step = unknown.map(|unknown| &step[unknown]).filter(moves);
            step.map_or(*pose, |step| pose.compose(&G::exp(step)))
        };
        self.poses.iter().zip(&self.unknown).map(moved).collect()
    }
}
