//! Covariances as ROS has them: position first, then rotation about the fixed axes of the parent.

use nalgebra::{Matrix3, Matrix6};

use crate::geometry::{Se3, se3};

/// Nobody knows where a camera is to less than this, metres: extrinsics and calibration see to it.
const FLOOR_M: f64 = 0.003;
/// The same for its direction, radians.
const FLOOR_RAD: f64 = 0.002;

/// Returns ROS's covariance of `parent_from_child`, row by row, from that of a left perturbation
/// `[omega, nu]`. A left perturbation turns about the parent's origin: `dp = nu - t x omega`.
pub fn ros_covariance(left: &Matrix6<f64>, parent_from_child: &Se3) -> [f64; 36] {
    let mut ros_from_left = Matrix6::zeros();
    let mut set = |row, column, block: &Matrix3<f64>| {
        ros_from_left.fixed_view_mut::<3, 3>(row, column).copy_from(block);
    };
    set(0, 0, &-se3::skew(&parent_from_child.translation.vector));
    set(0, 3, &Matrix3::identity());
    set(3, 0, &Matrix3::identity());
    let ros = ros_from_left * left * ros_from_left.transpose() + floor();
    std::array::from_fn(|index| ros[(index / 6, index % 6)])
}

/// Returns a covariance of a left perturbation as seen from another parent frame.
pub fn in_parent(left: &Matrix6<f64>, parent_from_old_parent: &Se3) -> Matrix6<f64> {
    let adjoint = se3::adjoint(parent_from_old_parent);
    adjoint * left * adjoint.transpose()
}

fn floor() -> Matrix6<f64> {
    let (position, rotation) = (FLOOR_M * FLOOR_M, FLOOR_RAD * FLOOR_RAD);
    Matrix6::from_diagonal(&[position, position, position, rotation, rotation, rotation].into())
}

#[cfg(test)]
mod tests {
    use nalgebra::{Vector3, Vector6};

    use super::*;

    #[test]
    fn the_covariance_is_that_of_the_same_small_motion() {
        let pose = Se3::new(Vector3::new(3.0, -2.0, 1.0), Vector3::new(0.1, 0.4, -0.3));
        let left = Vector6::new(0.02, -0.01, 0.03, 0.1, 0.2, -0.1) * 1e-3;
        let moved = se3::exp(&left) * pose;
        let position = moved.translation.vector - pose.translation.vector;
        let rotation = (moved.rotation * pose.rotation.inverse()).scaled_axis();
        let ros =
            Vector6::new(position.x, position.y, position.z, rotation.x, rotation.y, rotation.z);
        let found = Matrix6::from_row_slice(&ros_covariance(&(left * left.transpose()), &pose));
        let expected = ros * ros.transpose() + floor();
        assert!((found - expected).norm() < 1e-3 * (ros * ros.transpose()).norm());
    }

    #[test]
    fn it_is_never_zero_and_always_symmetric() {
        let pose = Se3::new(Vector3::new(3.0, -2.0, 1.0), Vector3::zeros());
        let found = Matrix6::from_row_slice(&ros_covariance(&Matrix6::zeros(), &pose));
        assert!(found.diagonal().iter().all(|&variance| variance > 1e-7));
        let some = Matrix6::identity() * 1e-4;
        let found = Matrix6::from_row_slice(&ros_covariance(&in_parent(&some, &pose), &pose));
        assert!((found - found.transpose()).norm() < 1e-15);
        assert!(found.symmetric_eigenvalues().min() > 0.0);
    }
}
