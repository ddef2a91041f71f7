//! Trajectories as text, in the format of the TUM RGB-D benchmark.

use std::path::Path;

use super::write_atomically;
use crate::error::Result;
use crate::trajectory::{StampedPose, Trajectory};

const HEADER: &str = "# timestamp tx ty tz qx qy qz qw \
    (pose of the camera's optical frame in the world, seconds and metres)";

/// Returns once `path` holds `trajectory`, a line per pose; stamps lose no nanosecond.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_trajectory(path: &Path, trajectory: &Trajectory) -> Result<()> {
    write_atomically(path, |file| {
        writeln!(file, "{HEADER}")?;
        trajectory.poses().iter().try_for_each(|pose| writeln!(file, "{}", line(pose)))
    })
}

/// Returns once `path` holds `trajectory` as the KITTI benchmark has it: the twelve numbers of each
/// `world_from_camera`, row by row; the stamps in seconds are in `times`, line by line.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_kitti(path: &Path, times: &Path, trajectory: &Trajectory) -> Result<()> {
    write_atomically(path, |file| {
        trajectory.poses().iter().try_for_each(|pose| {
            let matrix = pose.world_from_camera.to_homogeneous();
            let rows = matrix.fixed_view::<3, 4>(0, 0).transpose();
            let numbers: Vec<String> = rows.iter().map(|v| format!("{v:.9e}")).collect();
            writeln!(file, "{}", numbers.join(" "))
        })
    })?;
    write_atomically(times, |file| {
        trajectory.poses().iter().try_for_each(|pose| writeln!(file, "{}", pose.stamp))
    })
}

fn line(pose: &StampedPose) -> String {
    let t = pose.world_from_camera.translation.vector;
    let q = pose.world_from_camera.rotation.coords;
    format!(
        "{} {:.9} {:.9} {:.9} {:.9} {:.9} {:.9} {:.9}",
        pose.stamp, t.x, t.y, t.z, q.x, q.y, q.z, q.w
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Se3;
    use crate::stamp::Stamp;
    use nalgebra::{UnitQuaternion, Vector3};

    #[test]
    fn a_trajectory_is_written_with_every_nanosecond() {
        let rotation = UnitQuaternion::from_scaled_axis(Vector3::z() * std::f64::consts::PI);
        let world_from_camera = Se3::from_parts(Vector3::new(1.0, -2.5, 1e-7).into(), rotation);
        let pose = |nanos| StampedPose { stamp: Stamp::from_nanos(nanos), world_from_camera };
        let trajectory = Trajectory::new(vec![pose(1_700_000_000_123_456_789), pose(-500_000_000)]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trajectory.txt");
        write_trajectory(&path, &trajectory).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let numbers = "1.000000000 -2.500000000 0.000000100 \
            0.000000000 0.000000000 1.000000000 0.000000000";
        let expected = format!("{HEADER}\n-0.500000 {numbers}\n1700000000.123456789 {numbers}\n");
        assert_eq!(text, expected);
    }
}
