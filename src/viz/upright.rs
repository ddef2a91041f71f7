//! Which way is up, by how a camera was held.

use nalgebra::{Unit, UnitQuaternion, Vector3};

use crate::trajectory::Trajectory;

/// Cosine of 35 degrees: how far a world's axis may be from the cameras' mean upward direction to
/// be taken for gravity's: worlds are rarely that askew.
const SNAP_COSINE: f64 = 0.82;

/// How much of the direction opposite to the view counts as upward: people tilt cameras down by
/// some 20 degrees, which is the arc tangent of this.
const BACKWARD_SHARE: f64 = 0.4;

/// Returns the unit vector in the trajectory's world that points against gravity if the camera was
/// held upright most of the time: a world axis where one is near, +z without a pose.
pub fn upright_direction(trajectory: &Trajectory) -> Vector3<f64> {
    let upward =
        |rotation: &UnitQuaternion<f64>| rotation * Vector3::new(0.0, -1.0, -BACKWARD_SHARE);
    let sum: Vector3<f64> =
        trajectory.poses().iter().map(|p| upward(&p.world_from_camera.rotation)).sum();
    let Some(mean) = Unit::try_new(sum, 1e-9) else { return Vector3::z() };
    let axis = mean.iamax();
    if mean[axis].abs() < SNAP_COSINE {
        return mean.into_inner();
    }
    let mut snapped = Vector3::zeros();
    snapped[axis] = mean[axis].signum();
    snapped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Se3;
    use crate::stamp::Stamp;
    use crate::trajectory::StampedPose;
    use nalgebra::Isometry3;

    fn turned(axis_angle: Vector3<f64>) -> Trajectory {
        let rotation = UnitQuaternion::from_scaled_axis(axis_angle);
        let world_from_camera: Se3 = Isometry3::from_parts(Vector3::zeros().into(), rotation);
        Trajectory::new(vec![StampedPose { stamp: Stamp::from_nanos(0), world_from_camera }])
    }

    #[test]
    fn a_level_or_tilted_camera_shows_the_axis_that_points_up() {
        let up = |axis_angle| upright_direction(&turned(axis_angle));
        assert_eq!(up(Vector3::zeros()), -Vector3::y());
        assert_eq!(up(Vector3::x() * -0.5), -Vector3::y());
        // A camera that looks along +x of a world with z up.
        assert_eq!(up(Vector3::x() * -std::f64::consts::FRAC_PI_2), Vector3::z());
        // One that looks 45 degrees down in such a world.
        assert_eq!(up(Vector3::x() * -0.75 * std::f64::consts::PI), Vector3::z());
        let rolled = up(Vector3::z() * std::f64::consts::FRAC_PI_4);
        let expected = Vector3::new(0.5_f64.sqrt(), -0.5_f64.sqrt(), -BACKWARD_SHARE);
        assert!(rolled.cross(&expected).norm() < 1e-12 && rolled.dot(&expected) > 0.0);
        assert_eq!(upright_direction(&Trajectory::default()), Vector3::z());
    }
}
