//! What every term of sparse alignment answers: its cost, and its quadratic model about a state.

use nalgebra::{SMatrix, SVector};

use crate::geometry::Se3;

use super::state::{CAMERA_DIM, SceneState, VIEW_DIM};

/// A block of the Hessian between two views.
pub type ViewBlock = SMatrix<f64, VIEW_DIM, VIEW_DIM>;
/// A gradient of one view.
pub type ViewGradient = SVector<f64, VIEW_DIM>;
/// What ties a depth to a view: mixed second derivatives.
pub type Coupling = SVector<f64, CAMERA_DIM>;

/// A term of the objective: matches of a pair, or something known beforehand.
///
/// Costs are in the unit of the matches: the sum of weight × loss. The solver scales all of them
/// alike.
pub trait Factor: Send + Sync {
    /// Returns the cost at a state.
    fn cost(&self, state: &SceneState, softening: Softening) -> f64;

    /// Returns the quadratic model of the cost about a state. The Hessian must have no negative
    /// eigenvalue; it need not be exact.
    fn linearize(&self, state: &SceneState, softening: Softening) -> Linearization;

    /// Adds to `costs` what each depth that the term is about costs at a state, in any number of
    /// parts.
    fn depth_costs(&self, state: &SceneState, costs: &mut Vec<DepthCost>) {
        let _ = (state, costs);
    }

    /// Returns whether the term is about the scene's own scale, e.g. in metres, so that no other
    /// rule has to choose one.
    fn fixes_scale(&self) -> bool {
        false
    }

    /// Returns the view whose pose in the world the term knows, if it does: then the world's frame
    /// is that of the term, and not the root's.
    fn fixes_frame(&self) -> Option<(usize, Se3)> {
        None
    }
}

/// How far a robust loss is rounded off near zero: it is taken of `sqrt(length² + softening²)`. Zero
/// is the loss itself; a large value makes it a square, whose minimum is easy to find.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Softening(pub f64);

impl Softening {
    /// The loss itself.
    pub const NONE: Self = Self(0.0);
}

/// A quadratic model of a factor.
#[derive(Debug, Clone, Default)]
pub struct Linearization {
    /// Blocks of the Hessian by (row, column) view, each pair of views in one order only.
    pub blocks: Vec<([usize; 2], ViewBlock)>,
    /// Gradients by view.
    pub gradients: Vec<(usize, ViewGradient)>,
    /// The view whose depths the factor is about.
    pub depths_of: usize,
    /// The other view that these depths are tied to; `depths_of` itself where there is none.
    pub seen_from: usize,
    /// Terms of that view's depths, in shares of its median depth.
    pub depths: Vec<DepthTerm>,
}

/// A quadratic model of one depth.
#[derive(Debug, Clone, Copy)]
pub struct DepthTerm {
    /// Index of the anchor.
    pub anchor: usize,
    /// Second derivative.
    pub hessian: f64,
    /// First derivative.
    pub gradient: f64,
    /// Mixed derivatives with the depth's own view.
    pub own: Coupling,
    /// Mixed derivatives with the view that sees it.
    pub seen: Coupling,
}

/// A part of what a depth costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DepthCost {
    /// The view.
    pub view: usize,
    /// Index of the anchor.
    pub anchor: usize,
    /// The cost.
    pub cost: f64,
}

impl Linearization {
    /// Adds to the block of two views.
    pub fn push(&mut self, views: [usize; 2], block: ViewBlock) {
        self.blocks.push((views, block));
    }
}
