//! Maps and trajectories as files.

use std::path::{Path, PathBuf};

use nalgebra::{Rotation3, UnitQuaternion};
use recon_node::cloud::PointCloud;
use recon_node::error::{Error, Result};
use recon_node::export::{
    PlacedCamera, ViewPoints, write_glb, write_pcd, write_ply, write_trajectory,
};
use recon_node::geometry::Se3;
use recon_node::ros::config::NodeConfig;
use recon_node::ros::session::Session;

use crate::node::NAME;

/// Endings and names of the formats of a map.
pub const MAP_FORMATS: [&str; 3] = ["ply", "pcd", "glb"];
/// Names of the formats of a trajectory.
pub const TRAJECTORY_FORMATS: [&str; 1] = ["tum"];

/// A file that was written, and how much is in it.
pub type Saved = std::result::Result<(PathBuf, u64), String>;

/// Returns the format that is asked for: by its name, else by the file's ending, else the first.
///
/// # Errors
/// One sentence with all formats, for a name or an ending that is none.
pub fn format_of(
    path: &Path,
    named: &str,
    known: &[&'static str],
) -> std::result::Result<&'static str, String> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    let by_ending = known.iter().find(|format| ending.as_deref() == Some(**format));
    match (named, by_ending) {
        ("", Some(format)) => Ok(format),
        ("", None) if known.len() == 1 || ending.is_none() => Ok(known[0]),
        _ => known.iter().find(|format| **format == named).copied().ok_or_else(|| {
            let wanted = if named.is_empty() { ending.unwrap_or_default() } else { named.into() };
            format!("there is no format '{wanted}'; available: {}", known.join(", "))
        }),
    }
}

/// Writes the map.
pub fn save_map(session: &Session, path: &Path, format: &str) -> Saved {
    let Some(map_from_world) = session.map_from_world() else {
        return Err("there is no map yet".to_owned());
    };
    let pipeline = session.pipeline();
    let mut cloud = pipeline.map().cloud(&pipeline.config().map);
    let to_map = map_from_world.cast::<f32>();
    cloud.points.iter_mut().for_each(|point| *point = to_map * *point);
    let points = cloud.len() as u64;
    let written = match format {
        "pcd" => write_pcd(path, &cloud),
        "glb" => write_scene(session, path, cloud),
        _ => write_ply(path, &cloud),
    };
    written.map_err(|error| error.to_string())?;
    Ok((absolute(path), points))
}

/// The cloud and the cameras, turned so that the map's z points up in a viewer of glTF.
fn write_scene(session: &Session, path: &Path, mut cloud: PointCloud) -> Result<()> {
    let optical_from_map = optical_from_map();
    let turn = optical_from_map.cast::<f32>();
    cloud.points.iter_mut().for_each(|point| *point = turn * *point);
    let mut views = vec![ViewPoints { name: "map".to_owned(), cloud, camera: None }];
    for (id, map_from_camera) in session.map_from_keyframes() {
        let Some(keyframe) = session.pipeline().map().get(id) else { continue };
        views.push(ViewPoints {
            name: format!("keyframe {id}"),
            cloud: PointCloud::default(),
            camera: Some(PlacedCamera {
                world_from_camera: optical_from_map * map_from_camera,
                intrinsics: *keyframe.camera.intrinsics(),
                size: (keyframe.camera.width(), keyframe.camera.height()),
            }),
        });
    }
    write_glb(path, &views)
}

/// From x forward, y left, z up to x right, y down, z forward.
fn optical_from_map() -> Se3 {
    let axes = nalgebra::Matrix3::new(0.0, -1.0, 0.0, 0.0, 0.0, -1.0, 1.0, 0.0, 0.0);
    let rotation = UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(axes));
    Se3::from_parts(nalgebra::Translation3::identity(), rotation)
}

/// Writes the trajectory.
pub fn save_trajectory(session: &Session, path: &Path) -> Saved {
    let trajectory = session.trajectory_in_map();
    if trajectory.poses().is_empty() {
        return Err("no frame has a pose yet".to_owned());
    }
    write_trajectory(path, &trajectory).map_err(|error| error.to_string())?;
    Ok((absolute(path), trajectory.poses().len() as u64))
}

/// Writes what is to be kept when a session ends, with `suffix` at the end of the files' names.
pub fn save_at_end(session: &Session, node: &NodeConfig, suffix: &str) {
    let save = |what, path: &str, save: &dyn Fn(&Path) -> Saved| {
        if path.is_empty() {
            return;
        }
        match save(&with_suffix(Path::new(path), suffix)) {
            Ok((path, _)) => r2r::log_info!(NAME, "the {what} is in {}", path.display()),
            Err(reason) => r2r::log_error!(NAME, "the {what} was not saved: {reason}"),
        }
    };
    save("map", &node.save_map_on_exit, &|path| {
        save_map(session, path, format_of(path, "", &MAP_FORMATS)?)
    });
    save("trajectory", &node.save_trajectory_on_exit, &|path| save_trajectory(session, path));
}

/// Returns whether something is to be kept when a session ends.
pub fn is_kept(node: &NodeConfig) -> bool {
    !node.save_map_on_exit.is_empty() || !node.save_trajectory_on_exit.is_empty()
}

/// Checks that the files for the end can be written in a known format.
///
/// # Errors
/// [`Error::InvalidConfig`] with the formats.
pub fn check(node: &NodeConfig) -> Result<()> {
    let path = Path::new(&node.save_map_on_exit);
    let checked = format_of(path, "", &MAP_FORMATS);
    checked.map(|_| ()).map_err(|reason| Error::config("save_map_on_exit", reason))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match path.extension() {
        Some(ending) => format!("{stem}{suffix}.{}", ending.to_string_lossy()),
        None => format!("{stem}{suffix}"),
    };
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_named_one_or_that_of_the_ending() {
        let map = |path: &str, named: &str| format_of(Path::new(path), named, &MAP_FORMATS);
        let cases =
            [("a.ply", "", "ply"), ("a.PCD", "", "pcd"), ("a", "", "ply"), ("a", "glb", "glb")];
        for (path, named, expected) in cases {
            assert_eq!(map(path, named), Ok(expected), "{path} {named}");
        }
        for (path, named, wrong) in [("a.obj", "", "'obj'"), ("a.ply", "las", "'las'")] {
            let reason = map(path, named).unwrap_err();
            assert!(reason.contains(wrong) && reason.contains("ply, pcd, glb"), "{reason}");
        }
        assert_eq!(format_of(Path::new("a.txt"), "", &TRAJECTORY_FORMATS), Ok("tum"));
    }

    #[test]
    fn up_stays_up_and_the_suffix_goes_before_the_ending() {
        let up = optical_from_map() * nalgebra::Vector3::z();
        assert!((up + nalgebra::Vector3::y()).norm() < 1e-12, "{up}");
        let cases = [("a/map.ply", "a/map_1.ply"), ("map", "map_1")];
        for (path, expected) in cases {
            assert_eq!(with_suffix(Path::new(path), "_1"), Path::new(expected));
        }
    }
}
