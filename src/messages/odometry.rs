//! Where a robot's own odometry says that the camera is.

use std::collections::VecDeque;

use nalgebra::{Matrix3, Matrix6};

use super::cdr::Odometry;
use super::tf::{NoTransform, TfBuffer, interpolate, rigid};
use crate::frame::OdometryPrior;
use crate::geometry::{Se3, se3};
use crate::stamp::Stamp;

const MAX_SAMPLES: usize = 4096;

/// Where odometry comes from.
#[derive(Debug)]
pub enum OdometrySource {
    /// From a topic.
    Topic(OdometryBuffer),
    /// From `/tf`, in this frame.
    Tf(String),
    /// From nowhere.
    None,
}

/// The latest poses of an odometry topic.
#[derive(Debug, Default)]
pub struct OdometryBuffer {
    child_frame: String,
    poses: VecDeque<(Stamp, Se3)>,
    covariances: VecDeque<Option<Matrix6<f64>>>,
}

impl OdometryBuffer {
    /// Takes in a message whose stamp goes on.
    pub fn insert(&mut self, message: &Odometry) {
        let stamp = Stamp::from(message.header.stamp);
        let Some(odom_from_base) = rigid(&message.position, &message.orientation) else { return };
        if self.poses.back().is_some_and(|(last, _)| stamp <= *last) {
            return;
        }
        if self.poses.len() == MAX_SAMPLES {
            self.poses.pop_front();
            self.covariances.pop_front();
        }
        self.child_frame.clone_from(&message.child_frame_id);
        self.poses.push_back((stamp, odom_from_base));
        self.covariances.push_back(left_covariance(&message.covariance, &odom_from_base));
    }

    fn covariance(&self, stamp: Stamp) -> Option<Matrix6<f64>> {
        let after = self.poses.partition_point(|(sample, _)| *sample < stamp);
        self.covariances.get(after).copied().flatten()
    }
}

impl OdometrySource {
    /// Returns the prior of a frame of the camera `camera_frame`, `None` where odometry has none.
    ///
    /// # Errors
    /// [`NoTransform`] where it may still come, and where the camera's place is not known.
    pub fn prior(
        &self,
        tf: &TfBuffer,
        camera_frame: &str,
        stamp: Stamp,
    ) -> Result<Option<OdometryPrior>, NoTransform> {
        match self {
            Self::None => Ok(None),
            Self::Tf(odom_frame) if !tf.knows(odom_frame) => Ok(None),
            Self::Tf(odom_frame) => {
                let odom_from_camera = tf.lookup(odom_frame, camera_frame, stamp)?;
                Ok(Some(OdometryPrior { odom_from_camera, covariance: None }))
            }
            Self::Topic(buffer) => {
                let Some(odom_from_base) = interpolate(&buffer.poses, stamp)? else {
                    return Ok(None);
                };
                let base_from_camera = tf.lookup(&buffer.child_frame, camera_frame, stamp)?;
                Ok(Some(OdometryPrior {
                    odom_from_camera: odom_from_base * base_from_camera,
                    covariance: buffer.covariance(stamp),
                }))
            }
        }
    }
}

/// Returns ROS's covariance (position, then fixed-axis rotation at the base) as that of a left
/// perturbation `[omega, nu]`, or `None` where it is empty or impossible.
///
/// A left perturbation turns about the odometry frame's origin: `nu = dp + t x omega`.
fn left_covariance(ros: &[[f64; 6]; 6], odom_from_base: &Se3) -> Option<Matrix6<f64>> {
    let ros = Matrix6::from_fn(|row, column| ros[row][column]);
    let usable = ros.iter().all(|v| v.is_finite()) && ros.diagonal().iter().all(|&v| v > 0.0);
    let mut left_from_ros = Matrix6::zeros();
    let mut set = |row, column, block: &Matrix3<f64>| {
        left_from_ros.fixed_view_mut::<3, 3>(row, column).copy_from(block);
    };
    set(0, 3, &Matrix3::identity());
    set(3, 0, &Matrix3::identity());
    set(3, 3, &se3::skew(&odom_from_base.translation.vector));
    usable.then(|| left_from_ros * ros * left_from_ros.transpose())
}

#[cfg(test)]
mod tests {
    use nalgebra::{UnitQuaternion, Vector3, Vector6};

    use super::*;

    #[test]
    fn the_covariance_is_that_of_the_same_small_motion() {
        let odom_from_base = Se3::new(Vector3::new(3.0, -2.0, 1.0), Vector3::new(0.1, 0.4, -0.3));
        let (dp, dr) = (Vector3::new(1e-5, 2e-5, -1e-5), Vector3::new(-2e-5, 1e-5, 3e-5));
        let moved = Se3::from_parts(
            (odom_from_base.translation.vector + dp).into(),
            UnitQuaternion::new(dr) * odom_from_base.rotation,
        );
        let left = se3::log(&(moved * odom_from_base.inverse()));
        let ros = Vector6::new(dp.x, dp.y, dp.z, dr.x, dr.y, dr.z);
        let outer = ros * ros.transpose() + Matrix6::identity() * 1e-30;
        let rows = std::array::from_fn(|r| std::array::from_fn(|c| outer[(r, c)]));
        let covariance = left_covariance(&rows, &odom_from_base).unwrap();
        assert!((covariance - left * left.transpose()).norm() < 1e-4 * covariance.norm());
    }

    #[test]
    fn a_covariance_that_says_nothing_is_none() {
        let mut rows = [[0.0; 6]; 6];
        assert!(left_covariance(&rows, &Se3::identity()).is_none());
        for (index, row) in rows.iter_mut().enumerate() {
            row[index] = 1.0;
        }
        assert!(left_covariance(&rows, &Se3::identity()).is_some());
        rows[2][3] = f64::NAN;
        assert!(left_covariance(&rows, &Se3::identity()).is_none());
    }
}
