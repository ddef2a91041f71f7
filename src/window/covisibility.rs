//! The covisibility graph: which keyframes see the same things, and how much of them.

use std::collections::BTreeMap;

use crate::keyframe::KeyframeId;

/// Keyframes as nodes, shared view as edges.
#[derive(Debug, Clone, Default)]
pub struct CovisibilityGraph {
    neighbours: BTreeMap<KeyframeId, BTreeMap<KeyframeId, f64>>,
}

impl CovisibilityGraph {
    /// Adds a keyframe without neighbours.
    pub fn insert(&mut self, id: KeyframeId) {
        self.neighbours.entry(id).or_default();
    }

    /// Sets how much two keyframes share (0..1), in both directions.
    pub fn connect(&mut self, a: KeyframeId, b: KeyframeId, overlap_frac: f64) {
        self.neighbours.entry(a).or_default().insert(b, overlap_frac);
        self.neighbours.entry(b).or_default().insert(a, overlap_frac);
    }

    /// Returns the keyframes that share something with `id`, the most first; of equals the newest.
    pub fn neighbours(&self, id: KeyframeId) -> Vec<(KeyframeId, f64)> {
        let mut neighbours: Vec<_> = self
            .neighbours
            .get(&id)
            .map(|n| n.iter().map(|(&id, &overlap)| (id, overlap)).collect())
            .unwrap_or_default();
        neighbours.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
        neighbours
    }

    /// Returns what two keyframes share, 0 where nothing is known.
    pub fn overlap_frac(&self, a: KeyframeId, b: KeyframeId) -> f64 {
        self.neighbours.get(&a).and_then(|n| n.get(&b)).copied().unwrap_or(0.0)
    }

    /// Returns all pairs with their overlap, each once, smaller number first.
    pub fn edges(&self) -> impl Iterator<Item = (KeyframeId, KeyframeId, f64)> + '_ {
        self.neighbours.iter().flat_map(|(&a, others)| {
            others.iter().filter(move |(b, _)| a < **b).map(move |(&b, &frac)| (a, b, frac))
        })
    }
}
