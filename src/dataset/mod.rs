//! Recordings. (Only what the evaluation needs.)

use std::path::Path;

use crate::error::{Error, Result};
use crate::geometry::Se3;
use crate::trajectory::{StampedPose, Trajectory};

/// Returns the trajectory of a file in TUM format.
///
/// # Errors
/// [`Error::Io`] for a file that cannot be read, [`Error::Input`] for a line that is not a pose.
pub fn read_trajectory(path: &Path) -> Result<Trajectory> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path, "read the trajectory"))?;
    let mut poses = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let pose = parse(line).ok_or_else(|| {
            let problem = format!("line {}: not a pose", number + 1);
            Error::input(path, problem, "each line must be 'timestamp tx ty tz qx qy qz qw'")
        })?;
        poses.push(pose);
    }
    Ok(Trajectory::new(poses))
}

fn parse(line: &str) -> Option<StampedPose> {
    let mut words = line.split_whitespace();
    let stamp = words.next()?.parse().ok()?;
    let v: Vec<f64> = words.map(str::parse).collect::<Result<_, _>>().ok()?;
    let [x, y, z, i, j, k, w] = v[..] else { return None };
    let rotation = nalgebra::UnitQuaternion::try_new(nalgebra::Quaternion::new(w, i, j, k), 1e-9)?;
    Some(StampedPose { stamp, world_from_camera: Se3::from_parts([x, y, z].into(), rotation) })
}
