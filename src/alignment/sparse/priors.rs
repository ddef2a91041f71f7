//! What is known beforehand, as factors like the matches: intrinsics, metric depth, odometry,
//! held poses. Costs are half squares over the variance.

use nalgebra::{Matrix6, Point2, SMatrix, Vector6};

use super::factor::{
    Coupling, DepthCost, DepthTerm, Factor, Linearization, Softening, ViewBlock, ViewGradient,
};
use super::state::{CENTRE, FOCAL, ROTATION, SIZE, SceneState, ViewState};
use crate::geometry::Se3;
use crate::geometry::robust::Kernel;
use crate::geometry::se3::{self, skew};

/// A calibration of a view.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IntrinsicsPrior {
    /// The view.
    pub view: usize,
    /// Known focal length, and its standard deviation as a share of it.
    pub focal_px: f64,
    /// Standard deviation of the focal length as a share of it.
    pub focal_sigma_frac: f64,
    /// Known principal point.
    pub principal_point_px: Point2<f64>,
    /// Its standard deviation in pixels.
    pub principal_point_sigma_px: f64,
}

impl IntrinsicsPrior {
    /// Residuals over their standard deviations: focal length (log), principal point.
    fn residuals(&self, view: &ViewState) -> [f64; 3] {
        let focal = (view.focal_px / self.focal_px).ln() / self.focal_sigma_frac;
        let off =
            (view.principal_point_px - self.principal_point_px) / self.principal_point_sigma_px;
        [focal, off.x, off.y]
    }
}

impl Factor for IntrinsicsPrior {
    fn cost(&self, state: &SceneState, _: Softening) -> f64 {
        0.5 * self.residuals(&state.views[self.view]).iter().map(|r| r * r).sum::<f64>()
    }

    fn linearize(&self, state: &SceneState, _: Softening) -> Linearization {
        let view = &state.views[self.view];
        let size = view.image_size_px / self.principal_point_sigma_px;
        let slopes = [self.focal_sigma_frac.recip(), size.x, size.y];
        let (mut block, mut gradient) = (ViewBlock::zeros(), ViewGradient::zeros());
        for (i, (residual, slope)) in self.residuals(view).into_iter().zip(slopes).enumerate() {
            block[(FOCAL + i, FOCAL + i)] = slope * slope;
            gradient[FOCAL + i] = slope * residual;
        }
        of_view(self.view, block, gradient)
    }
}

/// Measured depths of a view's anchors, in metres: with it the scene is metric.
#[derive(Debug, Clone, PartialEq)]
pub struct DepthPrior {
    /// The view.
    pub view: usize,
    /// Anchor, its depth in metres, and the standard deviation of that.
    pub depths: Vec<(usize, f64, f64)>,
    /// How outliers count.
    pub kernel: Kernel,
}

impl DepthPrior {
    fn residuals<'a>(
        &'a self,
        view: &'a ViewState,
    ) -> impl Iterator<Item = (usize, f64, f64)> + 'a {
        let known = self.depths.iter().filter(|d| d.0 < view.anchor_depths.len());
        known.map(|&(anchor, depth, sigma)| (anchor, (view.depth(anchor) - depth) / sigma, sigma))
    }
}

impl Factor for DepthPrior {
    fn cost(&self, state: &SceneState, _: Softening) -> f64 {
        let residuals = self.residuals(&state.views[self.view]);
        residuals.map(|(_, residual, _)| self.kernel.cost(residual)).sum()
    }

    fn linearize(&self, state: &SceneState, _: Softening) -> Linearization {
        let view = &state.views[self.view];
        let unit = view.size * view.median_depth;
        let by_focal = unit * view.focal_px / view.base_focal_px;
        let (mut block, mut gradient) = (ViewBlock::zeros(), ViewGradient::zeros());
        let mut depths = Vec::with_capacity(self.depths.len());
        for (anchor, residual, sigma) in self.residuals(view) {
            let weight = self.kernel.weight(residual);
            let mut slopes = ViewGradient::zeros();
            (slopes[SIZE], slopes[FOCAL]) = (view.depth(anchor) / sigma, by_focal / sigma);
            block += slopes * slopes.transpose() * weight;
            gradient += slopes * (weight * residual);
            let slope = unit / sigma;
            let mut own = Coupling::zeros();
            own[FOCAL] = weight * slope * slopes[FOCAL];
            let (hessian, gradient) = (weight * slope * slope, weight * slope * residual);
            depths.push(DepthTerm { anchor, hessian, gradient, own, seen: Coupling::zeros() });
        }
        let mut out = of_view(self.view, block, gradient);
        out.depths = depths;
        out
    }

    fn depth_costs(&self, state: &SceneState, costs: &mut Vec<DepthCost>) {
        let residuals = self.residuals(&state.views[self.view]);
        costs.extend(residuals.map(|(anchor, residual, _)| DepthCost {
            view: self.view,
            anchor,
            cost: self.kernel.cost(residual),
        }));
    }

    fn fixes_scale(&self) -> bool {
        true
    }
}

/// A measured pose of one view relative to another, e.g. from odometry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RelativePosePrior {
    /// The view in whose frame the pose is given.
    pub target: usize,
    /// The view whose pose is given.
    pub source: usize,
    /// The measured pose.
    pub target_from_source: Se3,
    /// Inverse covariance of a left perturbation `[omega, nu]`, 1/rad² and 1/m².
    pub information: Matrix6<f64>,
}

impl RelativePosePrior {
    fn residual(&self, state: &SceneState) -> Vector6<f64> {
        let [target, source] =
            [self.target, self.source].map(|v| &state.views[v].world_from_camera);
        se3::log(&(target.inv_mul(source) * self.target_from_source.inverse()))
    }
}

impl Factor for RelativePosePrior {
    fn cost(&self, state: &SceneState, _: Softening) -> f64 {
        let residual = self.residual(state);
        0.5 * residual.dot(&(self.information * residual))
    }

    fn linearize(&self, state: &SceneState, _: Softening) -> Linearization {
        let residual = self.residual(state);
        let target = &state.views[self.target].world_from_camera;
        let by_left = inverse_left_jacobian(&residual) * se3::adjoint(&target.inverse());
        let jacobians = [(self.target, -1.0), (self.source, 1.0)].map(|(view, sign)| {
            (view, by_left * left_from_own(&state.views[view].world_from_camera) * sign)
        });
        let mut out = Linearization::default();
        (out.depths_of, out.seen_from) = (self.target, self.target);
        for (a, (row, left)) in jacobians.iter().enumerate() {
            let slope = left.transpose() * self.information;
            out.gradients.push((*row, gradient_of(&(slope * residual))));
            for (column, right) in &jacobians[a..] {
                out.push([*row, *column], block_of(&(slope * right)));
            }
        }
        out
    }

    fn fixes_scale(&self) -> bool {
        self.information.view((3, 3), (3, 3)).trace() > 0.0
    }
}

/// A known pose of a view in the world; a tight one holds the view.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PosePrior {
    /// The view.
    pub view: usize,
    /// Its known pose.
    pub world_from_camera: Se3,
    /// Standard deviation of the rotation.
    pub rotation_sigma_rad: f64,
    /// Standard deviation of the camera's centre.
    pub centre_sigma_m: f64,
}

impl PosePrior {
    /// Rotation and centre, each over its standard deviation.
    fn residual(&self, state: &SceneState) -> Vector6<f64> {
        let pose = &state.views[self.view].world_from_camera;
        let turn = (pose.rotation * self.world_from_camera.rotation.inverse()).scaled_axis();
        let off = pose.translation.vector - self.world_from_camera.translation.vector;
        let (turn, off) = (turn / self.rotation_sigma_rad, off / self.centre_sigma_m);
        Vector6::new(turn.x, turn.y, turn.z, off.x, off.y, off.z)
    }
}

impl Factor for PosePrior {
    fn cost(&self, state: &SceneState, _: Softening) -> f64 {
        0.5 * self.residual(state).norm_squared()
    }

    fn linearize(&self, state: &SceneState, _: Softening) -> Linearization {
        let residual = self.residual(state);
        let turn = Vector6::new(residual[0], residual[1], residual[2], 0.0, 0.0, 0.0);
        let mut jacobian = Matrix6::identity() / self.centre_sigma_m;
        let by_turn = inverse_left_jacobian(&(turn * self.rotation_sigma_rad));
        let by_turn = by_turn.fixed_view::<3, 3>(0, 0) / self.rotation_sigma_rad;
        jacobian.fixed_view_mut::<3, 3>(0, 0).copy_from(&by_turn);
        let hessian = jacobian.tr_mul(&jacobian);
        of_view(self.view, block_of(&hessian), gradient_of(&jacobian.tr_mul(&residual)))
    }

    fn fixes_frame(&self) -> Option<(usize, Se3)> {
        Some((self.view, self.world_from_camera))
    }
}

fn of_view(view: usize, block: ViewBlock, gradient: ViewGradient) -> Linearization {
    Linearization {
        blocks: vec![([view, view], block)],
        gradients: vec![(view, gradient)],
        depths_of: view,
        seen_from: view,
        depths: Vec::new(),
    }
}

fn block_of(pose: &Matrix6<f64>) -> ViewBlock {
    let mut block = ViewBlock::zeros();
    block.fixed_view_mut::<6, 6>(ROTATION, ROTATION).copy_from(pose);
    block
}

fn gradient_of(pose: &Vector6<f64>) -> ViewGradient {
    let mut gradient = ViewGradient::zeros();
    gradient.fixed_rows_mut::<6>(ROTATION).copy_from(pose);
    gradient
}

/// The tangent of a left perturbation of `world_from_camera` that goes with a rotation about the
/// camera's own centre and a move of that centre.
pub fn left_from_own(world_from_camera: &Se3) -> Matrix6<f64> {
    let mut matrix = Matrix6::identity();
    let lever = skew(&world_from_camera.translation.vector);
    matrix.fixed_view_mut::<3, 3>(CENTRE, ROTATION).copy_from(&lever);
    matrix
}

/// The derivative of `log(exp(x) exp(r))` by `x` at zero, by its series (Bernoulli numbers).
fn inverse_left_jacobian(r: &Vector6<f64>) -> Matrix6<f64> {
    let omega = skew(&r.fixed_rows::<3>(0).into_owned());
    let nu = skew(&r.fixed_rows::<3>(3).into_owned());
    let mut ad = Matrix6::zeros();
    ad.fixed_view_mut::<3, 3>(0, 0).copy_from(&omega);
    ad.fixed_view_mut::<3, 3>(3, 3).copy_from(&omega);
    ad.fixed_view_mut::<3, 3>(3, 0).copy_from(&nu);
    let squared: SMatrix<f64, 6, 6> = ad * ad;
    let mut power = squared;
    let mut sum = Matrix6::identity() - ad * 0.5;
    for coefficient in [1.0 / 12.0, -1.0 / 720.0, 1.0 / 30_240.0, -1.0 / 1_209_600.0] {
        sum += power * coefficient;
        power *= squared;
    }
    sum
}
