//! The part of a graph that a change may reach.

use std::collections::{BTreeSet, VecDeque};

use super::Graph;
use crate::geometry::LieGroup;
use crate::keyframe::KeyframeId;

/// Keyframes around a change.
pub(super) struct Region {
    pub keyframes: BTreeSet<KeyframeId>,
    /// Those outside that a constraint ties to one inside.
    pub border: BTreeSet<KeyframeId>,
}

impl<G: LieGroup<D>, const D: usize> Graph<G, D> {
    /// Returns the keyframes nearest to `changed` by number of constraints, `size` at most or
    /// however many were changed; only those that `exists` says exist.
    pub(super) fn region(
        &self,
        changed: &[KeyframeId],
        size: usize,
        exists: impl Fn(KeyframeId) -> bool,
    ) -> Region {
        let mut keyframes: BTreeSet<KeyframeId> =
            changed.iter().copied().filter(|&id| exists(id)).collect();
        let mut queue: VecDeque<KeyframeId> = keyframes.iter().copied().collect();
        let mut border = BTreeSet::new();
        while let Some(id) = queue.pop_front() {
            for next in self.neighbours(id) {
                if keyframes.contains(&next) || !exists(next) {
                    continue;
                }
                if keyframes.len() < size {
                    keyframes.insert(next);
                    queue.push_back(next);
                } else {
                    border.insert(next);
                }
            }
        }
        Region { keyframes, border }
    }
}
