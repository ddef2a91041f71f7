//! The pose graph: keyframe poses that fit all relative constraints best.
//!
//! Levenberg–Marquardt over SE(3) where scale is metric, else Sim(3), on a sparse Cholesky
//! factorisation whose pattern is kept. Constraints between neighbours carry a light robust
//! kernel; loops are believed or dropped as a whole. After a new keyframe only what is
//! affected is solved for ([`Graph::settle`]); a loop calls for everything.

mod chordal;
mod config;
mod descend;
mod loops;
mod marginals;
mod problem;
mod region;
mod solve;
mod stored;

use std::collections::{BTreeMap, BTreeSet};

use crate::constraint::{Constraint, RelativePose};
use crate::geometry::{LieGroup, Se3, Sim3};
use crate::keyframe::KeyframeId;

pub use config::PoseGraphConfig;
pub use marginals::Marginals;
pub use solve::{Optimized, Settled};
pub use stored::StoredConstraint;

/// A pose graph where scale is metric.
pub type PoseGraph = Graph<Se3, 6>;
/// A pose graph where each keyframe has a scale of its own.
pub type SimilarityGraph = Graph<Sim3, 7>;

/// Relative constraints between keyframes, one for each ordered pair.
#[derive(Debug, Clone)]
pub struct Graph<G, const D: usize> {
    edges: BTreeMap<(KeyframeId, KeyframeId), Stored<G, D>>,
    neighbours: BTreeMap<KeyframeId, BTreeSet<KeyframeId>>,
    has_loops: bool,
}

/// A constraint as the graph keeps it.
#[derive(Debug, Clone)]
struct Stored<G, const D: usize> {
    constraint: RelativePose<G, D>,
    /// For a loop, what it counted when that was decided last: everything or nothing.
    loop_weight: Option<f64>,
}

impl<G, const D: usize> Default for Graph<G, D> {
    fn default() -> Self {
        Self { edges: BTreeMap::new(), neighbours: BTreeMap::new(), has_loops: false }
    }
}

impl PoseGraph {
    /// Multiplies all lengths of the constraints, as when the map's unit changes.
    pub fn rescale(&mut self, factor: f64) {
        self.rescale_each(|_| factor);
    }

    /// Multiplies the lengths of each constraint by a factor of its own.
    pub fn rescale_each(&mut self, factor: impl Fn(&Constraint) -> f64) {
        for stored in self.edges.values_mut() {
            stored.constraint = stored.constraint.lengthened(factor(&stored.constraint));
        }
    }
}

impl<G: LieGroup<D>, const D: usize> Graph<G, D> {
    /// Adds constraints between keyframes that follow one another or see the same at the poses
    /// that they have; one about a pair that has one replaces it, since it was measured at better
    /// poses. What only a loop has brought together is a part of it: where the loop is wrong, so
    /// is what was measured across it, and all of that is believed or dropped.
    pub fn update(&mut self, constraints: &[RelativePose<G, D>]) {
        if !self.has_loops {
            constraints.iter().for_each(|constraint| self.insert(constraint, None));
            return;
        }
        // Those that follow one another first: which side of a loop a new keyframe is on is said by
        // the ones before it.
        let mut open: Vec<&RelativePose<G, D>> = constraints.iter().collect();
        open.sort_by_key(|c| (c.target.0.abs_diff(c.source.0), c.target, c.source));
        while let Some(first) = open.first().copied() {
            let before = open.len();
            open.retain(|constraint| {
                let crosses = self.crosses_loop(constraint.target, constraint.source);
                crosses.map(|yes| self.insert(constraint, yes.then_some(1.0))).is_none()
            });
            if open.len() == before {
                self.insert(first, None);
                open.remove(0);
            }
        }
    }

    /// Adds constraints that close loops: found by likeness, so that any of them may be wrong.
    pub fn update_loops(&mut self, constraints: &[RelativePose<G, D>]) {
        constraints.iter().for_each(|constraint| self.insert(constraint, Some(1.0)));
    }

    fn insert(&mut self, constraint: &RelativePose<G, D>, loop_weight: Option<f64>) {
        let (target, source) = (constraint.target, constraint.source);
        self.has_loops |= loop_weight.is_some();
        self.edges.insert((target, source), Stored { constraint: *constraint, loop_weight });
        self.neighbours.entry(target).or_default().insert(source);
        self.neighbours.entry(source).or_default().insert(target);
    }

    /// Whether two keyframes are tied by a loop, or would not be near each other without one;
    /// `None` where they are not near each other yet.
    fn crosses_loop(&self, a: KeyframeId, b: KeyframeId) -> Option<bool> {
        let between = [self.edges.get(&(a, b)), self.edges.get(&(b, a))];
        if between.iter().any(Option::is_some) {
            return Some(between.into_iter().flatten().all(|edge| edge.loop_weight.is_some()));
        }
        let (side, other) = (self.side_of(a), self.side_of(b));
        if !side.is_disjoint(&other) {
            return Some(false);
        }
        let is_loop = |from: KeyframeId, to: KeyframeId| {
            self.edges.get(&(from, to)).and_then(|edge| edge.loop_weight).is_some_and(|w| w > 0.0)
        };
        let joined =
            |&from: &KeyframeId| other.iter().any(|&to| is_loop(from, to) || is_loop(to, from));
        side.iter().any(joined).then_some(true)
    }

    /// A keyframe and those that are tied to it by more than loops.
    fn side_of(&self, id: KeyframeId) -> BTreeSet<KeyframeId> {
        let is_plain = |other: &KeyframeId| {
            let edges = [self.edges.get(&(id, *other)), self.edges.get(&(*other, id))];
            edges.into_iter().flatten().any(|edge| edge.loop_weight.is_none())
        };
        self.neighbours(id).filter(is_plain).chain([id]).collect()
    }

    /// Returns whether a constraint ties the two keyframes together directly.
    pub fn connects(&self, a: KeyframeId, b: KeyframeId) -> bool {
        self.neighbours.get(&a).is_some_and(|others| others.contains(&b))
    }

    /// Returns the constraint between two keyframes, whichever of the two is its target.
    pub fn between(&self, a: KeyframeId, b: KeyframeId) -> Option<&RelativePose<G, D>> {
        let stored = self.edges.get(&(a, b)).or_else(|| self.edges.get(&(b, a)))?;
        Some(&stored.constraint)
    }

    /// Returns the keyframes that a constraint ties to `id`, in order.
    pub fn neighbours(&self, id: KeyframeId) -> impl Iterator<Item = KeyframeId> + '_ {
        self.neighbours.get(&id).into_iter().flatten().copied()
    }

    /// Returns the constraints in order of their keyframes.
    pub fn constraints(&self) -> impl Iterator<Item = &RelativePose<G, D>> {
        self.edges.values().map(|stored| &stored.constraint)
    }

    /// Returns the loops that were not believed when that was decided last.
    pub fn refused_loops(&self) -> impl Iterator<Item = &RelativePose<G, D>> {
        let refused = |stored: &&Stored<G, D>| stored.loop_weight.is_some_and(|w| w <= 0.0);
        self.edges.values().filter(refused).map(|stored| &stored.constraint)
    }
}
