//! Normal equations of cameras and pairs, the depths eliminated.
//!
//! Each pixel of a view has one depth, on which all pairs of the view bear: eliminating it leaves a
//! rank-one term over the view's camera and all its pairs. The terms of a view's pixels are the rows
//! of one matrix, whose product with itself is subtracted at once.

use nalgebra::{DMatrix, DVector, Matrix3, Matrix3x6, Point3, SMatrix, SVector, Vector3};
use rayon::prelude::*;

use super::PairwiseMaps;
use super::state::{GlobalState, weight};
use crate::geometry::se3;

/// Unknowns of a view (pose, log of the focal length) and of a pair (similarity).
pub(super) const DIM: usize = 7;

type Block = SMatrix<f64, 3, DIM>;

/// Pixels of a view that take part, and the pairs that bear on it with the view's side in each.
#[derive(Debug)]
pub(super) struct ViewPlan {
    pub(super) pixels: Vec<(usize, usize)>,
    pub(super) pairs: Vec<(usize, usize)>,
}

/// What one view adds.
struct ViewTerms {
    /// Places of the view's unknowns and of those of its pairs, in blocks.
    blocks: Vec<usize>,
    hessian: DMatrix<f64>,
    gradient: DVector<f64>,
    depths: DepthTerms,
}

/// For each pixel the row of its depth: derivatives by all else, by itself, and the gradient, each
/// divided by the root of the second.
pub(super) struct DepthTerms {
    pub(super) blocks: Vec<usize>,
    pub(super) rows: DMatrix<f64>,
    pub(super) gradient: DVector<f64>,
    pub(super) root: DVector<f64>,
}

/// The reduced system, and what gives the depths back.
pub(super) struct Reduced {
    pub(super) hessian: DMatrix<f64>,
    pub(super) gradient: DVector<f64>,
    pub(super) depths: Vec<DepthTerms>,
}

/// Returns the system at `state`; distances below `floor` weigh no more than that, and diagonals
/// grow by the share `damping`.
pub(super) fn reduced(
    state: &GlobalState,
    pairs: &[PairwiseMaps<'_>],
    plans: &[ViewPlan],
    (floor, damping): (f64, f64),
) -> Reduced {
    let count = DIM * (state.views.len() + pairs.len());
    let terms: Vec<ViewTerms> = plans
        .par_iter()
        .enumerate()
        .map(|(view, plan)| view_terms(state, pairs, (view, plan), (floor, damping)))
        .collect();
    let mut hessian = DMatrix::zeros(count, count);
    let mut gradient = DVector::zeros(count);
    let mut depths = Vec::with_capacity(terms.len());
    for terms in terms {
        for (i, &row) in terms.blocks.iter().enumerate() {
            let part = terms.gradient.rows(DIM * i, DIM);
            let mut to = gradient.rows_mut(DIM * row, DIM);
            to += part;
            for (j, &column) in terms.blocks.iter().enumerate() {
                let part = terms.hessian.view((DIM * i, DIM * j), (DIM, DIM));
                let mut to = hessian.view_mut((DIM * row, DIM * column), (DIM, DIM));
                to += part;
            }
        }
        depths.push(terms.depths);
    }
    Reduced { hessian, gradient, depths }
}

fn view_terms(
    state: &GlobalState,
    pairs: &[PairwiseMaps<'_>],
    (view, plan): (usize, &ViewPlan),
    (floor, damping): (f64, f64),
) -> ViewTerms {
    let blocks: Vec<usize> = std::iter::once(view)
        .chain(plan.pairs.iter().map(|(pair, _)| state.views.len() + pair))
        .collect();
    let size = DIM * blocks.len();
    let mut hessian = DMatrix::zeros(size, size);
    let mut gradient = DVector::zeros(size);
    let mut rows = DMatrix::zeros(plan.pixels.len(), size);
    let mut depth_gradient = DVector::zeros(plan.pixels.len());
    let mut root = DVector::zeros(plan.pixels.len());
    for (n, &pixel) in plan.pixels.iter().enumerate() {
        let own = OwnDerivatives::new(state, view, pixel);
        let (mut by_depth, mut slope) = (0.0, 0.0);
        for (k, &(pair, side)) in plan.pairs.iter().enumerate() {
            let said = Said::new(state, &pairs[pair], (pair, side), pixel);
            let residual = own.point - said.point;
            let scale = said.weight / residual.norm().max(floor);
            let at = DIM * (k + 1);
            add(&mut hessian, (0, 0), &(own.camera.transpose() * own.camera * scale));
            let cross = own.camera.transpose() * said.pair * scale;
            add(&mut hessian, (0, at), &cross);
            add(&mut hessian, (at, 0), &cross.transpose());
            add(&mut hessian, (at, at), &(said.pair.transpose() * said.pair * scale));
            add_rows(&mut gradient, 0, &(own.camera.transpose() * residual * scale));
            add_rows(&mut gradient, at, &(said.pair.transpose() * residual * scale));
            by_depth += scale * own.depth.norm_squared();
            slope += scale * own.depth.dot(&residual);
            let mut row = rows.row_mut(n);
            let (camera, of_pair) =
                (own.depth.transpose() * own.camera, own.depth.transpose() * said.pair);
            for i in 0..DIM {
                row[i] += scale * camera[i];
                row[at + i] += scale * of_pair[i];
            }
        }
        root[n] = (by_depth * (1.0 + damping)).sqrt().max(f64::MIN_POSITIVE);
        let inverse = if by_depth > 0.0 { 1.0 / root[n] } else { 0.0 };
        rows.row_mut(n).scale_mut(inverse);
        depth_gradient[n] = slope * inverse;
    }
    for i in 0..size {
        hessian[(i, i)] *= 1.0 + damping;
    }
    hessian.gemm_tr(-1.0, &rows, &rows, 1.0);
    gradient.gemv_tr(-1.0, &rows, &depth_gradient, 1.0);
    let depths = DepthTerms { blocks: blocks.clone(), rows, gradient: depth_gradient, root };
    ViewTerms { blocks, hessian, gradient, depths }
}

fn add(to: &mut DMatrix<f64>, at: (usize, usize), block: &SMatrix<f64, DIM, DIM>) {
    let mut part = to.fixed_view_mut::<DIM, DIM>(at.0, at.1);
    part += block;
}

fn add_rows(to: &mut DVector<f64>, at: usize, part: &SVector<f64, DIM>) {
    let mut rows = to.fixed_rows_mut::<DIM>(at);
    rows += part;
}

/// A pixel's point by its view, with derivatives.
struct OwnDerivatives {
    point: Vector3<f64>,
    camera: Block,
    /// By the logarithm of the depth.
    depth: Vector3<f64>,
}

impl OwnDerivatives {
    fn new(state: &GlobalState, view: usize, (x, y): (usize, usize)) -> Self {
        let view = &state.views[view];
        let rotation = view.world_from_camera.rotation;
        let (ray, depth) = (view.ray(x, y), view.depth.at(x, y));
        let point = view.point(x, y).coords;
        let mut camera = Block::zeros();
        camera.fixed_view_mut::<3, 6>(0, 0).copy_from(&by_pose(&point));
        let by_focal = rotation * Vector3::new(-ray.x, -ray.y, 0.0) * depth;
        camera.set_column(6, &by_focal);
        Self { point, camera, depth: rotation * ray * depth }
    }
}

/// A pixel's point by a pair, with derivatives of the residual.
struct Said {
    point: Vector3<f64>,
    pair: Block,
    weight: f64,
}

impl Said {
    fn new(
        state: &GlobalState,
        maps: &PairwiseMaps<'_>,
        (pair, side): (usize, usize),
        (x, y): (usize, usize),
    ) -> Self {
        let said = Point3::from(maps.points[side].at(x, y).cast::<f64>());
        let point = state.world_from_pairs[pair].transform_point(&said).coords;
        let mut by_pair = Block::zeros();
        by_pair.fixed_view_mut::<3, 6>(0, 0).copy_from(&-by_pose(&point));
        by_pair.set_column(6, &-point);
        Self { point, pair: by_pair, weight: weight(maps.confidence[side].at(x, y)) }
    }
}

/// Derivative of a point by a left perturbation `[omega, nu]`.
fn by_pose(point: &Vector3<f64>) -> Matrix3x6<f64> {
    let mut jacobian = Matrix3x6::zeros();
    jacobian.fixed_view_mut::<3, 3>(0, 0).copy_from(&-se3::skew(point));
    jacobian.fixed_view_mut::<3, 3>(0, 3).copy_from(&Matrix3::identity());
    jacobian
}
