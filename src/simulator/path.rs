//! The camera's way through the room: a closed loop, smooth everywhere.

use std::f64::consts::{PI, TAU};

use nalgebra::{Matrix3, Point3, Rotation3, Translation3, UnitQuaternion, Vector3};

use crate::geometry::Se3;

/// How much faster the camera gets in the fast part, as a multiple of its usual pace.
const HASTE: f64 = 3.2;
/// Half the length of the fast part in seconds.
const HASTE_HALF_SECS: f64 = 1.0;
/// Where in the loop the middle of the fast part is, as a share of its time.
const HASTE_AT_FRAC: f64 = 0.58;

/// A round through the room: on an oval about the table, looking now along the walls, now across
/// the room, held by a hand that shakes a little.
#[derive(Debug, Clone, Copy)]
pub(super) struct CameraPath {
    loop_secs: f64,
}

impl CameraPath {
    pub(super) fn new(loop_secs: f64) -> Self {
        Self { loop_secs }
    }

    /// Returns `world_from_camera` at `time_secs`; it repeats after `loop_secs`.
    pub(super) fn pose(&self, time_secs: f64) -> Se3 {
        let turn = self.turn_rad(time_secs);
        let shake =
            |cycles: f64, phase: f64| (TAU * cycles * time_secs / self.loop_secs + phase).sin();
        let position = Point3::new(
            1.50 * turn.cos() + 0.10 * (2.0 * turn + 0.7).cos() + 0.003 * shake(31.0, 0.0),
            1.15 * turn.sin() + 0.08 * (3.0 * turn).sin() + 0.003 * shake(37.0, 1.0),
            1.38 + 0.16 * (2.0 * turn + 0.4).sin() + 0.003 * shake(43.0, 2.0),
        );
        let yaw = turn + 0.55 * PI + 0.95 * (2.0 * turn + 0.9).sin() + 0.004 * shake(29.0, 0.5);
        let pitch = -0.24 + 0.16 * (3.0 * turn + 0.5).sin() + 0.004 * shake(41.0, 1.5);
        let roll = 0.07 * (2.0 * turn + 2.0).sin() + 0.004 * shake(23.0, 2.5);
        Se3::from_parts(Translation3::from(position.coords), looking(yaw, pitch, roll))
    }

    /// Returns how far round the loop the camera is, in radians: its pace is constant but for the
    /// fast part.
    fn turn_rad(&self, time_secs: f64) -> f64 {
        let rounds = (time_secs / self.loop_secs).floor();
        let time = time_secs - rounds * self.loop_secs;
        let haste = HASTE * haste_secs(time - HASTE_AT_FRAC * self.loop_secs);
        TAU * (rounds + (time + haste) / (self.loop_secs + HASTE * HASTE_HALF_SECS))
    }
}

/// The integral of a raised cosine bump of height 1 about 0: twice continuously differentiable.
fn haste_secs(offset_secs: f64) -> f64 {
    let x = (offset_secs / HASTE_HALF_SECS).clamp(-1.0, 1.0);
    HASTE_HALF_SECS * (0.5 * (x + 1.0) + (PI * x).sin() / TAU)
}

/// Returns the rotation of a camera that looks to the horizontal direction `yaw`, `pitch` above the
/// horizon, turned by `roll` about its optical axis (rad).
pub(super) fn looking(yaw: f64, pitch: f64, roll: f64) -> UnitQuaternion<f64> {
    let forward = Vector3::new(yaw.cos() * pitch.cos(), yaw.sin() * pitch.cos(), pitch.sin());
    let right = Vector3::new(yaw.sin(), -yaw.cos(), 0.0);
    let down = forward.cross(&right);
    let level = Rotation3::from_matrix_unchecked(Matrix3::from_columns(&[right, down, forward]));
    let rolled = level * Rotation3::from_axis_angle(&Vector3::z_axis(), roll);
    UnitQuaternion::from_rotation_matrix(&rolled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::se3;

    const STEP_SECS: f64 = 0.01;

    fn poses() -> Vec<Se3> {
        let path = CameraPath::new(20.0);
        (0..=2000).map(|i| path.pose(f64::from(i) * STEP_SECS)).collect()
    }

    /// Speeds between neighbours: metres and radians per second.
    fn speeds() -> Vec<(f64, f64)> {
        let step = |pair: &[Se3]| {
            let moved = pair[0].inverse() * pair[1];
            (moved.translation.vector.norm() / STEP_SECS, se3::angle_rad(&moved) / STEP_SECS)
        };
        poses().windows(2).map(step).collect()
    }

    #[test]
    fn the_loop_closes_with_its_velocity() {
        let path = CameraPath::new(20.0);
        for time in [0.0, 0.5, 3.0] {
            let gap = path.pose(time).inverse() * path.pose(time + 20.0);
            assert!(se3::log(&gap).norm() < 1e-9);
        }
    }

    #[test]
    fn velocity_and_acceleration_are_continuous() {
        let twists: Vec<_> = poses()
            .windows(2)
            .map(|pair| se3::log(&(pair[0].inverse() * pair[1])) / STEP_SECS)
            .collect();
        let accelerations: Vec<_> =
            twists.windows(2).map(|pair| (pair[1] - pair[0]) / STEP_SECS).collect();
        let jump = accelerations.windows(2).map(|pair| (pair[1] - pair[0]).norm());
        assert!(accelerations.iter().all(|a| a.norm() < 15.0));
        assert!(jump.fold(0.0, f64::max) < 1.5);
    }

    #[test]
    fn there_is_a_fast_part_of_about_a_second_and_calm_elsewhere() {
        let fast = speeds().iter().filter(|(v, w)| *v > 1.0 || w.to_degrees() > 80.0).count();
        assert!((50..=150).contains(&fast), "{fast} hundredths of a second are fast");
        let (top_speed, top_turn) =
            speeds().iter().fold((0.0, 0.0), |(v, w): (f64, f64), s| (v.max(s.0), w.max(s.1)));
        assert!((1.3..1.8).contains(&top_speed), "{top_speed} m/s");
        assert!((95.0..140.0).contains(&top_turn.to_degrees()), "{} deg/s", top_turn.to_degrees());
    }

    #[test]
    fn the_camera_looks_along_its_optical_axis_with_its_head_up() {
        let rotation = looking(0.3, -0.2, 0.0);
        let forward = rotation * Vector3::z();
        assert!((forward.z - f64::sin(-0.2)).abs() < 1e-12);
        assert!((rotation * Vector3::y()).z < -0.9);
    }
}
