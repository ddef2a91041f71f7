//! Which way is up, by how a camera was held.

use nalgebra::{Unit, UnitQuaternion, Vector3};

use crate::geometry::Se3;
use crate::trajectory::Trajectory;

/// Cosine of 35 degrees: how far the axis that points up may be from the cameras' mean upward
/// direction, in worlds that were made with one: people tilt cameras, and worlds are rarely askew.
const SNAP_COSINE: f64 = 0.82;

/// How much of the direction opposite to the view counts as upward: people tilt cameras down by
/// some 20 degrees, which is the arc tangent of this.
const BACKWARD_SHARE: f64 = 0.4;

/// Returns the unit vector in the trajectory's world that points against gravity if the camera was
/// held upright on average, to some 20 degrees; +z without a pose.
pub fn upright_direction(trajectory: &Trajectory) -> Vector3<f64> {
    let upward =
        |rotation: &UnitQuaternion<f64>| rotation * Vector3::new(0.0, -1.0, -BACKWARD_SHARE);
    let sum: Vector3<f64> =
        trajectory.poses().iter().map(|p| upward(&p.world_from_camera.rotation)).sum();
    Unit::try_new(sum, 1e-9).map_or(Vector3::z(), Unit::into_inner)
}

/// Returns the same for a world that was made with one of its axes pointing up, as those of ground
/// truth are: that axis, where one is near.
pub fn upright_axis(trajectory: &Trajectory) -> Vector3<f64> {
    let mean = upright_direction(trajectory);
    let axis = mean.iamax();
    if mean[axis].abs() < SNAP_COSINE {
        return mean;
    }
    let mut snapped = Vector3::zeros();
    snapped[axis] = mean[axis].signum();
    snapped
}

/// Returns the turn by which `up`, a unit vector of the world, points along z.
pub fn upright_from_world(up: &Vector3<f64>) -> Se3 {
    // Upside down, any half turn about a level axis does.
    let half_turn = || UnitQuaternion::from_axis_angle(&Vector3::x_axis(), std::f64::consts::PI);
    let rotation = UnitQuaternion::rotation_between(up, &Vector3::z()).unwrap_or_else(half_turn);
    Se3::from_parts(Vector3::zeros().into(), rotation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::Stamp;
    use crate::trajectory::StampedPose;
    use nalgebra::Isometry3;

    fn turned(axis_angle: Vector3<f64>) -> Trajectory {
        let rotation = UnitQuaternion::from_scaled_axis(axis_angle);
        let world_from_camera: Se3 = Isometry3::from_parts(Vector3::zeros().into(), rotation);
        Trajectory::new(vec![StampedPose { stamp: Stamp::from_nanos(0), world_from_camera }])
    }

    #[test]
    fn the_world_of_the_first_camera_is_not_taken_to_be_level() {
        let up = upright_direction(&turned(Vector3::zeros()));
        let expected = Unit::new_normalize(Vector3::new(0.0, -1.0, -BACKWARD_SHARE)).into_inner();
        assert!((up - expected).norm() < 1e-12, "{up}");
        let turn = upright_from_world(&expected);
        assert!((turn.rotation * expected - Vector3::z()).norm() < 1e-12);
        let upside_down = upright_from_world(&-Vector3::z());
        assert!((upside_down.rotation * -Vector3::z() - Vector3::z()).norm() < 1e-12);
    }

    #[test]
    fn a_level_or_tilted_camera_shows_the_axis_that_points_up() {
        let up = |axis_angle| upright_axis(&turned(axis_angle));
        assert_eq!(up(Vector3::zeros()), -Vector3::y());
        assert_eq!(up(Vector3::x() * -0.5), -Vector3::y());
        // A camera that looks along +x of a world with z up.
        assert_eq!(up(Vector3::x() * -std::f64::consts::FRAC_PI_2), Vector3::z());
        // One that looks 45 degrees down in such a world.
        assert_eq!(up(Vector3::x() * -0.75 * std::f64::consts::PI), Vector3::z());
        let rolled = up(Vector3::z() * std::f64::consts::FRAC_PI_4);
        let expected = Vector3::new(0.5_f64.sqrt(), -0.5_f64.sqrt(), -BACKWARD_SHARE);
        assert!(rolled.cross(&expected).norm() < 1e-12 && rolled.dot(&expected) > 0.0);
        assert_eq!(upright_axis(&Trajectory::default()), Vector3::z());
    }
}
