//! How well a pose explains a correspondence, in standard deviations.

use nalgebra::{Matrix2, Matrix2x3, Matrix3, Matrix3x6, Matrix6, Vector2, Vector3, Vector6};

use super::observation::{Correspondence, Observation};
use crate::geometry::{Camera, Se3, se3};

/// Both cameras and how well pixels are found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Views<'a> {
    pub source: &'a Camera,
    pub target: &'a Camera,
    pub pixel_sigma_px: f64,
}

/// A residual of three metres, or of two pixels and nothing.
pub(super) struct Residual {
    value: Vector3<f64>,
    information: Matrix3<f64>,
    freedoms: f64,
    /// By a left perturbation of `target_from_source`.
    jacobian: Matrix3x6<f64>,
}

impl Residual {
    /// Mean square in standard deviations.
    pub fn squared(&self) -> f64 {
        self.value.dot(&(self.information * self.value)) / self.freedoms
    }

    /// What the residual adds to the normal equations: Hessian and gradient.
    pub fn normal_equations(&self) -> (Matrix6<f64>, Vector6<f64>) {
        let weighted = self.jacobian.transpose() * self.information;
        (weighted * self.jacobian, weighted * self.value)
    }

    /// How many numbers are compared.
    pub fn freedoms(&self) -> f64 {
        self.freedoms
    }
}

impl Views<'_> {
    /// Returns the residual of a correspondence: the distance of its points where both views know
    /// the depth, else the distance of the one point's image from the other's pixel. `None` behind
    /// a camera, or where no depth is known.
    pub fn residual(&self, pose: &Se3, seen: &Correspondence) -> Option<Residual> {
        match (seen.source.point(), seen.target.point()) {
            (Some(_), Some(_)) => self.distance(pose, seen),
            (Some(point), None) => {
                let moved = pose * point;
                let covariance = self.source_covariance(&seen.source)?;
                let by_pose = point_jacobian(&moved.coords);
                let rotation = pose.rotation.to_rotation_matrix();
                let spread = rotation * covariance * rotation.transpose();
                self.reprojection(self.target, (moved.coords, spread), &seen.target.pixel, by_pose)
            }
            (None, Some(point)) => {
                let moved = pose.inverse_transform_point(&point);
                let covariance = seen.target.covariance(self.target, self.pixel_sigma_px)?;
                let back = pose.rotation.inverse().to_rotation_matrix();
                let by_pose = -(back.matrix() * point_jacobian(&point.coords));
                let spread = back * covariance * back.transpose();
                self.reprojection(self.source, (moved.coords, spread), &seen.source.pixel, by_pose)
            }
            (None, None) => None,
        }
    }

    /// Returns the mean square of the residual, infinite where there is none.
    pub fn squared(&self, pose: &Se3, seen: &Correspondence) -> f64 {
        self.residual(pose, seen).map_or(f64::INFINITY, |residual| residual.squared())
    }

    fn distance(&self, pose: &Se3, seen: &Correspondence) -> Option<Residual> {
        let moved = pose * seen.source.point()?;
        let rotation = pose.rotation.to_rotation_matrix();
        let covariance = rotation * self.source_covariance(&seen.source)? * rotation.transpose()
            + seen.target.covariance(self.target, self.pixel_sigma_px)?;
        let value = moved - seen.target.point()?;
        let jacobian = point_jacobian(&moved.coords);
        Some(Residual { value, information: covariance.try_inverse()?, freedoms: 3.0, jacobian })
    }

    /// Distance of the image of a point, of this covariance, from a pixel.
    fn reprojection(
        &self,
        camera: &Camera,
        (point, covariance): (Vector3<f64>, Matrix3<f64>),
        pixel: &Vector2<f64>,
        point_by_pose: Matrix3x6<f64>,
    ) -> Option<Residual> {
        let (projected, by_point) = camera.project_with_jacobian(&point.into())?;
        let found = Matrix2::from_diagonal_element(self.pixel_sigma_px * self.pixel_sigma_px);
        let spread = by_point * covariance * by_point.transpose() + found;
        let error = projected - pixel;
        let mut information = Matrix3::zeros();
        information.fixed_view_mut::<2, 2>(0, 0).copy_from(&spread.try_inverse()?);
        Some(Residual {
            value: error.push(0.0),
            information,
            freedoms: 2.0,
            jacobian: padded(&by_point) * point_by_pose,
        })
    }

    fn source_covariance(&self, seen: &Observation) -> Option<Matrix3<f64>> {
        seen.covariance(self.source, self.pixel_sigma_px)
    }
}

/// Derivative of `exp(delta) · point` by `delta` = `[omega, nu]`.
fn point_jacobian(point: &Vector3<f64>) -> Matrix3x6<f64> {
    let mut jacobian = Matrix3x6::zeros();
    jacobian.fixed_view_mut::<3, 3>(0, 0).copy_from(&-se3::skew(point));
    jacobian.fixed_view_mut::<3, 3>(0, 3).fill_with_identity();
    jacobian
}

fn padded(rows: &Matrix2x3<f64>) -> Matrix3<f64> {
    let mut padded = Matrix3::zeros();
    padded.fixed_view_mut::<2, 3>(0, 0).copy_from(rows);
    padded
}
