//! The term of pairs whose matches do not count: the view's points should lie where the model saw
//! them from the other view.

use nalgebra::Vector3;

use super::chain::{CHAIN_DIM, Chain, ChainNormal, SOURCE_LENS, SourceSample};
use super::factor::{DepthCost, Factor, Linearization, Softening};
use super::loss::{GammaLoss, SoftenedLoss};
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
    points: Vec<SeenPoint>,
}

#[derive(Debug, Clone, Copy)]
struct SeenPoint {
    sample: SourceSample,
    /// The point in the target's frame.
    seen: Vector3<f64>,
    weight: f64,
}

impl PointmapDistance {
    /// Returns the term of a pointmap.
    pub fn new(scene: &SparseScene, pointmap: &PairPointmap, loss: GammaLoss) -> Self {
        let samples = &scene.views[pointmap.view].samples;
        let seen = pointmap.points.iter().zip(&pointmap.weights);
        let rows = samples.iter().zip(seen).map(|(sample, (point, weight))| SeenPoint {
            sample: sample.into(),
            seen: point.coords,
            weight: *weight,
        });
        let mut points: Vec<SeenPoint> = rows.collect();
        // Depths are summed up one after another.
        points.sort_by_key(|row| row.sample.anchor);
        Self { source: pointmap.view, target: pointmap.seen_from, loss, points }
    }
}

impl Factor for PointmapDistance {
    fn cost(&self, state: &SceneState, softening: Softening) -> f64 {
        let chain = Chain::new(state, self.source, self.target);
        let loss = self.loss.softened(softening.0);
        self.points.iter().map(|row| cost_of(&chain, row, &loss)).sum()
    }

    fn depth_costs(&self, state: &SceneState, costs: &mut Vec<DepthCost>) {
        let chain = Chain::new(state, self.source, self.target);
        let loss = self.loss.softened(0.0);
        costs.extend(self.points.iter().map(|row| DepthCost {
            view: self.source,
            anchor: row.sample.anchor as usize,
            cost: cost_of(&chain, row, &loss),
        }));
    }

    fn linearize(&self, state: &SceneState, softening: Softening) -> Linearization {
        let chain = Chain::new(state, self.source, self.target);
        let loss = self.loss.softened(softening.0);
        let mut normal = ChainNormal::new();
        for row in &self.points {
            let at = chain.point(&row.sample);
            let jacobian = chain.jacobian(&at);
            let residual = at.point - row.seen;
            let weight = row.weight * loss.weight(residual.norm_squared(), SHORTEST);
            let rows = [Vector3::x(), Vector3::y(), Vector3::z()];
            let rows = rows.map(|axis| derivative(&axis, &at.point, &jacobian));
            normal.add_rows(row.sample.anchor, &rows, &residual.into(), weight);
        }
        normal.expand(&chain, self.source, self.target)
    }
}

fn cost_of(chain: &Chain<'_>, row: &SeenPoint, loss: &SoftenedLoss) -> f64 {
    row.weight * loss.cost((chain.point(&row.sample).point - row.seen).norm_squared())
}

/// The derivative of `g · point` by the chain's unknowns and the depth.
fn derivative(
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
