//! The coarse stage's term: matches of a pair, as distances between the two views' points.
//!
//! Depths and lenses stand still in this stage, so each view is a fixed cloud under a similarity,
//! and the reweighted normal equations follow from a few moments of the two clouds.

use nalgebra::{Matrix3, Vector3};

use super::factor::{Factor, Linearization, Softening, ViewBlock, ViewGradient};
use super::loss::GammaLoss;
use super::scene::{MatchedPair, SparseScene};
use super::state::{CENTRE, ROTATION, SIZE, SceneState, ViewState};
use crate::geometry::se3::skew;

/// Distances below this, in world units, weigh no more: the loss has a kink at zero.
const SHORTEST: f64 = 1e-5;

/// Matches of a pair, by the points of both views.
#[derive(Debug, Clone)]
pub struct PointDistance {
    views: [usize; 2],
    loss: GammaLoss,
    /// Both points at size one in their own camera's frame, and the weight.
    points: Vec<([Vector3<f64>; 2], f64)>,
}

/// Weighted sums over matches: `p` and `q` are both views' points about their cameras' centres, in
/// world axes and units, `r` the distance between the two.
#[derive(Default)]
struct Moments {
    w: f64,
    p: Vector3<f64>,
    q: Vector3<f64>,
    pp: Matrix3<f64>,
    qq: Matrix3<f64>,
    pq: Matrix3<f64>,
    r: Vector3<f64>,
    p_cross_r: Vector3<f64>,
    q_cross_r: Vector3<f64>,
    p_dot_r: f64,
    q_dot_r: f64,
}

impl PointDistance {
    /// Returns the term of a pair with depths and lenses as they are in `state`.
    pub fn new(
        scene: &SparseScene,
        state: &SceneState,
        pair: &MatchedPair,
        loss: GammaLoss,
    ) -> Self {
        let own = |side: usize, m: &super::scene::Match| {
            let view = pair.views[side];
            let view_state = &state.views[view];
            view_state.point(&scene.views[view].samples[m.samples[side]]) / view_state.size
        };
        let points = pair.matches.iter().map(|m| ([own(0, m), own(1, m)], m.weight));
        Self { views: pair.views, loss, points: points.collect() }
    }

    /// Returns the lengths of the residuals in world units, each with its weight.
    pub fn lengths<'a>(&'a self, state: &'a SceneState) -> impl Iterator<Item = (f64, f64)> + 'a {
        let [a, b] = self.views.map(|v| Similarity::of(&state.views[v]));
        let between = a.centre - b.centre;
        self.points
            .iter()
            .map(move |([p, q], w)| ((a.linear * p - b.linear * q + between).norm(), *w))
    }

    /// Returns the two views.
    pub fn views(&self) -> [usize; 2] {
        self.views
    }

    fn moments(&self, state: &SceneState, softening: f64) -> Moments {
        let [a, b] = self.views.map(|v| Similarity::of(&state.views[v]));
        let between = a.centre - b.centre;
        let loss = self.loss.softened(softening);
        let mut sums = Moments::default();
        for ([p, q], weight) in &self.points {
            let (p, q) = (a.linear * p, b.linear * q);
            let residual = p - q + between;
            let weight = weight * loss.weight(residual.norm_squared(), SHORTEST);
            sums.add(&p, &q, &residual, weight);
        }
        sums
    }
}

impl Factor for PointDistance {
    fn cost(&self, state: &SceneState, softening: Softening) -> f64 {
        let loss = self.loss.softened(softening.0);
        self.lengths(state).map(|(length, weight)| weight * loss.cost(length * length)).sum()
    }

    fn linearize(&self, state: &SceneState, softening: Softening) -> Linearization {
        let sums = self.moments(state, softening.0);
        let [a, b] = self.views;
        let mut out = Linearization { depths_of: a, seen_from: a, ..Default::default() };
        out.push([a, a], own_block(sums.w, &sums.p, &sums.pp));
        out.push([b, b], own_block(sums.w, &sums.q, &sums.qq));
        out.push([a, b], sums.mixed_block());
        out.gradients.push((a, gradient(&sums.p_cross_r, &sums.r, sums.p_dot_r)));
        out.gradients.push((b, -gradient(&sums.q_cross_r, &sums.r, sums.q_dot_r)));
        out
    }
}

/// A view's own points in the world, as a matrix and an offset.
struct Similarity {
    linear: Matrix3<f64>,
    centre: Vector3<f64>,
}

impl Similarity {
    fn of(view: &ViewState) -> Self {
        let pose = &view.world_from_camera;
        let linear = pose.rotation.to_rotation_matrix().into_inner() * view.size;
        Self { linear, centre: pose.translation.vector }
    }
}

impl Moments {
    fn add(&mut self, p: &Vector3<f64>, q: &Vector3<f64>, r: &Vector3<f64>, w: f64) {
        let (wp, wq, wr) = (p * w, q * w, r * w);
        self.w += w;
        self.p += wp;
        self.q += wq;
        self.pp += wp * p.transpose();
        self.qq += wq * q.transpose();
        self.pq += wp * q.transpose();
        self.r += wr;
        self.p_cross_r += p.cross(&wr);
        self.q_cross_r += q.cross(&wr);
        self.p_dot_r += p.dot(&wr);
        self.q_dot_r += q.dot(&wr);
    }

    /// The block between the two views: with `J_a = [-p^, I, p]` and `J_b = [q^, -I, -q]`.
    fn mixed_block(&self) -> ViewBlock {
        let mut block = ViewBlock::zeros();
        let dot = self.pq.trace();
        let mut set = |r: usize, c: usize, m: Matrix3<f64>| {
            block.fixed_view_mut::<3, 3>(r, c).copy_from(&m);
        };
        set(ROTATION, ROTATION, self.pq.transpose() - Matrix3::identity() * dot);
        set(ROTATION, CENTRE, -skew(&self.p));
        set(CENTRE, ROTATION, skew(&self.q));
        set(CENTRE, CENTRE, Matrix3::identity() * -self.w);
        let cross = Vector3::new(
            self.pq[(1, 2)] - self.pq[(2, 1)],
            self.pq[(2, 0)] - self.pq[(0, 2)],
            self.pq[(0, 1)] - self.pq[(1, 0)],
        );
        block.fixed_view_mut::<3, 1>(ROTATION, SIZE).copy_from(&-cross);
        block.fixed_view_mut::<3, 1>(CENTRE, SIZE).copy_from(&-self.q);
        block.fixed_view_mut::<1, 3>(SIZE, ROTATION).copy_from(&cross.transpose());
        block.fixed_view_mut::<1, 3>(SIZE, CENTRE).copy_from(&-self.p.transpose());
        block[(SIZE, SIZE)] = -dot;
        block
    }
}

fn own_block(w: f64, p: &Vector3<f64>, pp: &Matrix3<f64>) -> ViewBlock {
    let mut block = ViewBlock::zeros();
    let squared = pp.trace();
    let turn = Matrix3::identity() * squared - pp;
    block.fixed_view_mut::<3, 3>(ROTATION, ROTATION).copy_from(&turn);
    block.fixed_view_mut::<3, 3>(ROTATION, CENTRE).copy_from(&skew(p));
    block.fixed_view_mut::<3, 3>(CENTRE, ROTATION).copy_from(&-skew(p));
    block.fixed_view_mut::<3, 3>(CENTRE, CENTRE).copy_from(&(Matrix3::identity() * w));
    block.fixed_view_mut::<3, 1>(CENTRE, SIZE).copy_from(p);
    block.fixed_view_mut::<1, 3>(SIZE, CENTRE).copy_from(&p.transpose());
    block[(SIZE, SIZE)] = squared;
    block
}

fn gradient(cross: &Vector3<f64>, r: &Vector3<f64>, dot: f64) -> ViewGradient {
    let mut gradient = ViewGradient::zeros();
    gradient.fixed_rows_mut::<3>(ROTATION).copy_from(cross);
    gradient.fixed_rows_mut::<3>(CENTRE).copy_from(r);
    gradient[SIZE] = dot;
    gradient
}
