//! The graph as plain data, so that it can be kept and taken up again.

use super::Graph;
use crate::constraint::RelativePose;
use crate::geometry::LieGroup;

/// A constraint, and what was decided about it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StoredConstraint<G, const D: usize> {
    /// The constraint.
    pub constraint: RelativePose<G, D>,
    /// For a loop, what it counted when that was decided last: everything (1) or nothing (0).
    pub loop_weight: Option<f64>,
}

impl<G: LieGroup<D>, const D: usize> Graph<G, D> {
    /// Returns everything that the graph knows, in order of the keyframes.
    pub fn stored(&self) -> impl Iterator<Item = StoredConstraint<G, D>> + '_ {
        self.edges.values().map(|edge| StoredConstraint {
            constraint: edge.constraint,
            loop_weight: edge.loop_weight,
        })
    }

    /// Takes up what [`Graph::stored`] returned; what is there about the same pairs is replaced.
    pub fn restore(&mut self, stored: &[StoredConstraint<G, D>]) {
        stored.iter().for_each(|edge| self.insert(&edge.constraint, edge.loop_weight));
    }
}
