//! The term of pairs whose matches do not count: the view's points should lie where the model saw
//! them from the other view.

use nalgebra::Vector3;

use super::chain::{CHAIN_DIM, Chain, ChainNormal, SOURCE_LENS, SourceSample};
use super::factor::{DepthCost, Factor, Linearization, Softening};
use super::loss::GammaLoss;
use super::scene::{PairPointmap, SparseScene};
use super::state::SceneState;

/// Distances below this, in world units, weigh no more: the loss has a kink at zero.
const SHORTEST: f64 = 1e-5;

/// A view's samples against their points in another camera's frame.
#[derive(Debug, Clone)]
pub struct PointmapDistance {
    source: usize,
    target: usize,
    loss: GammaLoss,
    points: Vec<(SourceSample, Vector3<f64>, f64)>,
}

impl PointmapDistance {
    /// Returns the term of a pointmap.
    pub fn new(scene: &SparseScene, pointmap: &PairPointmap, loss: GammaLoss) -> Self {
        let samples = &scene.views[pointmap.view].samples;
        let seen = pointmap.points.iter().zip(&pointmap.weights);
        let rows = samples.iter().zip(seen).map(|(s, (p, w))| (s.into(), p.coords, *w));
        let mut points: Vec<(SourceSample, _, _)> = rows.collect();
        points.sort_by_key(|(sample, _, _)| sample.anchor);
        Self { source: pointmap.view, target: pointmap.seen_from, loss, points }
    }

    fn cost_of(
        &self,
        chain: &Chain<'_>,
        (sample, seen, weight): &(SourceSample, Vector3<f64>, f64),
        softening: f64,
    ) -> f64 {
        let squared = (chain.point(sample).point - seen).norm_squared();
        weight * self.loss.softened_cost(squared, softening)
    }
}

impl Factor for PointmapDistance {
    fn cost(&self, state: &SceneState, softening: Softening) -> f64 {
        let chain = Chain::new(state, self.source, self.target);
        self.points.iter().map(|row| self.cost_of(&chain, row, softening.0)).sum()
    }

    fn depth_costs(&self, state: &SceneState, costs: &mut Vec<DepthCost>) {
        let chain = Chain::new(state, self.source, self.target);
        costs.extend(self.points.iter().map(|row| DepthCost {
            view: self.source,
            anchor: row.0.anchor as usize,
            cost: self.cost_of(&chain, row, 0.0),
        }));
    }

    fn linearize(&self, state: &SceneState, softening: Softening) -> Linearization {
        let chain = Chain::new(state, self.source, self.target);
        let mut normal = ChainNormal::new();
        for (sample, seen, weight) in &self.points {
            let at = chain.point(sample);
            let jacobian = chain.jacobian(&at);
            let residual = at.point - seen;
            let weight =
                weight * self.loss.weight(residual.norm_squared(), softening.0, SHORTEST);
            let rows = [Vector3::x(), Vector3::y(), Vector3::z()];
            let rows = rows.map(|axis| row(&axis, &at.point, &jacobian));
            normal.add_rows(sample.anchor, &rows, &residual.into(), weight);
        }
        normal.expand(&chain, self.source, self.target)
    }
}

/// The derivative of `g · point` by the chain's unknowns and the depth.
fn row(
    g: &Vector3<f64>,
    point: &Vector3<f64>,
    jacobian: &super::chain::ChainJacobian,
) -> [f64; CHAIN_DIM + 1] {
    let mut row = [0.0; CHAIN_DIM + 1];
    row[..3].copy_from_slice(point.cross(g).as_slice());
    row[3..6].copy_from_slice(g.as_slice());
    row[SOURCE_LENS..CHAIN_DIM].copy_from_slice(jacobian.lens.tr_mul(g).as_slice());
    row[CHAIN_DIM] = jacobian.depth.dot(g);
    row
}
