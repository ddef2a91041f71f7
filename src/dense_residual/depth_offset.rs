//! What residuals say of an offset that all depths of both views share.

use nalgebra::{Matrix2, SMatrix, SVector, Vector3};

use super::normal_equations::{KERNEL_SCALE, by_pose, growth};
use super::{
    Comparison, Exposure, GeometricResidual, PointResidual, ReferencePoint, RelativeView,
    ResidualScale, Warp,
};

/// Over the pose (`[omega, nu]`, left perturbation of `target_from_reference`) and the offset.
pub type Matrix7 = SMatrix<f64, 7, 7>;
/// Over the same seven parameters.
pub type Vector7 = SVector<f64, 7>;
type Matrix9 = SMatrix<f64, 9, 9>;
type Vector9 = SVector<f64, 9>;

/// What a Gauss–Newton step of pose and offset needs, as if the exposure were always at its best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OffsetEquations {
    /// Sum of weighted `J^T J`.
    pub hessian: Matrix7,
    /// Sum of weighted `J^T r`.
    pub gradient: Vector7,
    /// Sum of robust costs.
    pub cost: f64,
    /// Residuals that these are sums over.
    pub residuals: usize,
    /// The step to the best exposure.
    pub exposure_step: Exposure,
}

impl Comparison<'_> {
    /// Returns the normal equations at `view` where `offset_m` is added to each depth of the
    /// reference and of the target. How uncertain depths are goes by what was measured: else
    /// greater depths would always seem to fit better.
    pub fn linearize_with_offset(
        &self,
        view: &RelativeView,
        scale: &ResidualScale,
        offset_m: f64,
    ) -> OffsetEquations {
        let warp = Warp::from(view);
        let mut sum = Sum::default();
        for point in self.points {
            let depth_m = f64::from(point.point_in_reference.z);
            let growth = (depth_m + offset_m) / depth_m;
            let moved = point.point_in_reference * growth as f32;
            let point = ReferencePoint { point_in_reference: moved, ..*point };
            let Some(mut residual) = self.residual(&point, &warp) else { continue };
            if let Some(geometric) = &mut residual.geometric {
                geometric.depth_error_m += offset_m;
                if geometric.contradicts(residual.point_in_target.z, &self.settings) {
                    continue;
                }
            }
            let by_offset = (residual.point_in_target - warp.translation) / (depth_m + offset_m);
            sum.add_photometric(&residual, &by_offset, scale.intensity);
            if let Some(geometric) = &residual.geometric {
                let sigma = geometric.sigma_m * scale.depth;
                let weight = self.settings.geometric_weight;
                sum.add_geometric(geometric, &residual, &by_offset, (sigma, weight));
            }
        }
        sum.without_exposure()
    }
}

/// Sums over pose, gain, offset of the exposure, and offset of the depths.
#[derive(Default)]
struct Sum {
    hessian: Matrix9,
    gradient: Vector9,
    cost: f64,
    residuals: usize,
}

impl Sum {
    fn add_photometric(&mut self, r: &PointResidual, by_offset: &Vector3<f64>, sigma: f64) {
        let [a, b, c, d, e, f] = by_pose(&r.photometric_by_point, &r.point_in_target);
        let by_depth = r.photometric_by_point.dot(by_offset);
        let jacobian = Vector9::from([a, b, c, d, e, f, -r.gained_intensity, -1.0, by_depth]);
        self.add(&jacobian, r.photometric, (sigma, 1.0));
    }

    fn add_geometric(
        &mut self,
        r: &GeometricResidual,
        point: &PointResidual,
        by_offset: &Vector3<f64>,
        spread: (f64, f64),
    ) {
        let [a, b, c, d, e, f] = by_pose(&r.by_point, &point.point_in_target);
        // The target's depth grows along with the reference's.
        let by_depth = r.by_point.dot(by_offset) + 1.0;
        let jacobian = Vector9::from([a, b, c, d, e, f, 0.0, 0.0, by_depth]);
        self.add(&jacobian, r.depth_error_m, spread);
    }

    /// Adds a residual of a standard deviation and a weight.
    fn add(&mut self, jacobian: &Vector9, residual: f64, (sigma, weight): (f64, f64)) {
        let growth = growth(residual, sigma);
        let scale = weight / (growth * sigma * sigma);
        self.hessian.ger(scale, jacobian, jacobian, 1.0);
        self.gradient.axpy(scale * residual, jacobian, 1.0);
        self.cost += weight * KERNEL_SCALE * growth.ln();
        self.residuals += 1;
    }

    fn without_exposure(&self) -> OffsetEquations {
        let kept = [0, 1, 2, 3, 4, 5, 8];
        let hessian = Matrix7::from_fn(|i, j| self.hessian[(kept[i], kept[j])]);
        let gradient = Vector7::from_fn(|i, _| self.gradient[kept[i]]);
        let cross = SMatrix::<f64, 7, 2>::from_fn(|i, j| self.hessian[(kept[i], 6 + j)]);
        let mut exposure: Matrix2<f64> = self.hessian.fixed_view::<2, 2>(6, 6).into_owned();
        // Gain and offset cannot be told apart on a plain wall: hold them where they are.
        exposure[(0, 0)] += 1.0;
        exposure[(1, 1)] += 1e-4;
        let inverse = exposure.try_inverse().unwrap_or_else(Matrix2::zeros);
        let slope = self.gradient.fixed_rows::<2>(6).into_owned();
        let step = -(inverse * slope);
        OffsetEquations {
            hessian: hessian - cross * inverse * cross.transpose(),
            gradient: gradient - cross * inverse * slope,
            cost: self.cost,
            residuals: self.residuals,
            exposure_step: Exposure { log_gain: step.x, offset: step.y },
        }
    }
}
