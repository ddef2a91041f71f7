//! What files of maps and trajectories are called, and what is in them.

use std::path::{Path, PathBuf};

use nalgebra::{Rotation3, UnitQuaternion};

use super::config::NodeConfig;
use crate::error::{Error, Result};
use crate::geometry::Se3;

/// Endings and names of the formats of a map.
pub const MAP_FORMATS: [&str; 4] = ["ply", "pcd", "glb", WHOLE_MAP];
/// The format that holds all of a map and not only its points.
pub const WHOLE_MAP: &str = "map";
/// Names of the formats of a trajectory.
pub const TRAJECTORY_FORMATS: [&str; 1] = ["tum"];

/// A file that was written for somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedFile {
    /// Where it is, from the root.
    pub path: PathBuf,
    /// Points, keyframes or poses in it.
    pub count: u64,
    /// What there is to say of it besides, from a semicolon on; may be empty.
    pub note: String,
}

impl SavedFile {
    /// Returns what was written to `path`, with so many points, keyframes or poses.
    pub fn new(path: &Path, count: u64, note: String) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self { path, count, note }
    }

    /// Returns what was written as whole maps, by their files and numbers of keyframes; the first is
    /// what was asked for. `None` where nothing was.
    pub fn of_maps(written: &[(PathBuf, u64)]) -> Option<Self> {
        let ((path, count), others) = written.split_first()?;
        let other = |(path, count): &(PathBuf, u64)| {
            format!(
                "; another map of this session, which nothing joins to it yet: {count} keyframes in {}",
                Self::new(path, *count, String::new()).path.display()
            )
        };
        Some(Self::new(path, *count, others.iter().map(other).collect()))
    }

    /// Returns the same as a sentence; `what` says what there are so many of in it.
    pub fn told(&self, what: &str) -> String {
        format!("{} {what} are in {}{}", self.count, self.path.display(), self.note)
    }
}

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

/// Returns the turn of a map (x forward, y left, z up) after which its z points up in a viewer of
/// glTF, whose scenes we write from optical frames (x right, y down, z forward).
pub fn optical_from_map() -> Se3 {
    let axes = nalgebra::Matrix3::new(0.0, -1.0, 0.0, 0.0, 0.0, -1.0, 1.0, 0.0, 0.0);
    let rotation = UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(axes));
    Se3::from_parts(nalgebra::Translation3::identity(), rotation)
}

/// Returns where a map stands whose file does not say it: its first camera looked forward, upright.
pub fn map_from_optical() -> Se3 {
    optical_from_map().inverse()
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

/// Returns the path with `suffix` at the end of the file's name, before its ending.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
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
        let cases = [
            ("a.ply", "", "ply"),
            ("a.map", "", "map"),
            ("a.PCD", "", "pcd"),
            ("a", "", "ply"),
            ("a", "glb", "glb"),
        ];
        for (path, named, expected) in cases {
            assert_eq!(map(path, named), Ok(expected), "{path} {named}");
        }
        for (path, named, wrong) in [("a.obj", "", "'obj'"), ("a.ply", "las", "'las'")] {
            let reason = map(path, named).unwrap_err();
            assert!(reason.contains(wrong) && reason.contains("ply, pcd, glb, map"), "{reason}");
        }
        assert_eq!(format_of(Path::new("a.txt"), "", &TRAJECTORY_FORMATS), Ok("tum"));
    }

    #[test]
    fn who_saves_one_of_several_maps_is_told_of_the_others() {
        assert_eq!(SavedFile::of_maps(&[]), None);
        let files = [("/a/room.map".into(), 12), ("/a/room_0.map".into(), 5)];
        let saved = SavedFile::of_maps(&files).unwrap();
        assert_eq!((saved.path.as_path(), saved.count), (Path::new("/a/room.map"), 12));
        let told = saved.told("keyframes");
        assert!(told.starts_with("12 keyframes are in /a/room.map; another map"), "{told}");
        assert!(told.ends_with("5 keyframes in /a/room_0.map"), "{told}");
        let alone = SavedFile::of_maps(&files[..1]).unwrap();
        assert_eq!(alone.told("keyframes"), "12 keyframes are in /a/room.map");
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
