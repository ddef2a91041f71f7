//! The quadratic model of the whole objective: blocks between views, and every view's depths.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::factor::{
    Coupling, DepthTerm, Factor, Linearization, Softening, ViewBlock, ViewGradient,
};
use super::state::SceneState;

/// A factor with what its cost counts in the objective.
#[derive(Clone, Copy)]
pub struct Term<'a> {
    /// The factor.
    pub factor: &'a dyn Factor,
    /// What its cost is multiplied by.
    pub scale: f64,
}

/// A view's depths in the normal equations.
#[derive(Debug, Clone, Default)]
pub struct DepthNormal {
    /// Second derivative of each depth.
    pub hessian: Vec<f64>,
    /// First derivative of each depth.
    pub gradient: Vec<f64>,
    /// Mixed derivatives with the view itself, then with each view that sees it.
    pub couplings: Vec<(usize, Vec<Coupling>)>,
}

/// Normal equations of the objective about a state.
#[derive(Debug, Clone)]
pub struct Normal {
    /// Blocks by (row, column) view, row at most column.
    pub blocks: BTreeMap<(usize, usize), ViewBlock>,
    /// Gradient of each view.
    pub gradients: Vec<ViewGradient>,
    /// Depths of each view; empty where depths stand still.
    pub depths: Vec<DepthNormal>,
}

/// Returns the objective: the sum of all terms.
pub fn objective(terms: &[Term<'_>], state: &SceneState, softening: Softening) -> f64 {
    let cost = |term: &Term<'_>| term.scale * term.factor.cost(state, softening);
    let costs: Vec<f64> = terms.par_iter().map(cost).collect();
    costs.iter().sum()
}

impl Normal {
    /// Returns the model of the sum of all terms; depths are among the unknowns on demand.
    pub fn of(
        terms: &[Term<'_>],
        state: &SceneState,
        softening: Softening,
        with_depths: bool,
    ) -> Self {
        let parts: Vec<Linearization> =
            terms.par_iter().map(|t| t.factor.linearize(state, softening)).collect();
        let mut normal = Self {
            blocks: (0..state.views.len()).map(|v| ((v, v), ViewBlock::zeros())).collect(),
            gradients: vec![ViewGradient::zeros(); state.views.len()],
            depths: vec![DepthNormal::default(); if with_depths { state.views.len() } else { 0 }],
        };
        for (term, part) in terms.iter().zip(parts) {
            normal.add(term.scale, part, state);
        }
        normal
    }

    fn add(&mut self, scale: f64, part: Linearization, state: &SceneState) {
        for ([row, column], block) in part.blocks {
            let upper = if row <= column { block } else { block.transpose() };
            let key = (row.min(column), row.max(column));
            *self.blocks.entry(key).or_insert_with(ViewBlock::zeros) += upper * scale;
        }
        for (view, gradient) in part.gradients {
            self.gradients[view] += gradient * scale;
        }
        if let Some(depths) =
            self.depths.get_mut(part.depths_of).filter(|_| !part.depths.is_empty())
        {
            let anchors = state.views[part.depths_of].anchor_depths.len();
            depths.add(scale, [part.depths_of, part.seen_from], &part.depths, anchors);
        }
    }
}

impl DepthNormal {
    fn add(&mut self, scale: f64, [own, seen]: [usize; 2], terms: &[DepthTerm], anchors: usize) {
        self.hessian.resize(anchors, 0.0);
        self.gradient.resize(anchors, 0.0);
        for term in terms {
            self.hessian[term.anchor] += term.hessian * scale;
            self.gradient[term.anchor] += term.gradient * scale;
        }
        let own = self.slot(own, anchors);
        for term in terms {
            own[term.anchor] += term.own * scale;
        }
        let seen = self.slot(seen, anchors);
        for term in terms {
            seen[term.anchor] += term.seen * scale;
        }
    }

    fn slot(&mut self, view: usize, anchors: usize) -> &mut [Coupling] {
        let found = self.couplings.iter().position(|(v, _)| *v == view);
        let slot = found.unwrap_or_else(|| {
            self.couplings.push((view, vec![Coupling::zeros(); anchors]));
            self.couplings.len() - 1
        });
        &mut self.couplings[slot].1
    }
}
