//! Text files of the TUM layout: lists of images, and trajectories.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use nalgebra::{Quaternion, Translation3, UnitQuaternion};

use crate::error::{Error, Result};
use crate::geometry::Se3;
use crate::stamp::Stamp;
use crate::trajectory::{StampedPose, Trajectory};

const LIST_REMEDY: &str = "each line must be a time in seconds and a file name";
const TRAJECTORY_REMEDY: &str = "each line must be: time tx ty tz qx qy qz qw";

/// One line of `rgb.txt` or `depth.txt`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ListedImage {
    pub stamp: Stamp,
    pub path: PathBuf,
}

/// Returns the images that a list names, in its order, with paths made relative to its folder.
///
/// # Errors
/// [`Error::Io`] and [`Error::Input`] with the line that is wrong.
pub(super) fn read_list(path: &Path) -> Result<Vec<ListedImage>> {
    let text = read_text(path, "read the list of images")?;
    let folder = path.parent().unwrap_or(Path::new(""));
    lines(&text)
        .map(|(number, line)| {
            parse_listed(line, folder)
                .map_err(|problem| at_line(path, number, problem, LIST_REMEDY))
        })
        .collect()
}

/// Returns the trajectory of a file in TUM format: `time tx ty tz qx qy qz qw` per line, seconds,
/// metres, quaternion of any length; blank lines and what follows `#` are left out.
///
/// # Errors
/// [`Error::Io`], and [`Error::Input`] with the line that is wrong or where there is no pose.
pub fn read_trajectory(path: &Path) -> Result<Trajectory> {
    let text = read_text(path, "read the trajectory")?;
    let poses = lines(&text)
        .map(|(number, line)| {
            parse_pose(line).map_err(|problem| at_line(path, number, problem, TRAJECTORY_REMEDY))
        })
        .collect::<Result<Vec<_>>>()?;
    if poses.is_empty() {
        return Err(Error::input(path, "there is no pose in it", TRAJECTORY_REMEDY));
    }
    Ok(Trajectory::new(poses))
}

/// Returns the text of a file, or an error that says so where it is none.
pub(super) fn read_text(path: &Path, action: &'static str) -> Result<String> {
    let bytes = std::fs::read(path).map_err(Error::io(path, action))?;
    String::from_utf8(bytes).map_err(|error| {
        let problem = format!("not text from byte {} on", error.utf8_error().valid_up_to());
        Error::input(path, problem, "give a text file in UTF-8")
    })
}

/// Returns the lines that say something, with their numbers, without comments.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let content = |line: &'_ str| line.split('#').next().unwrap_or("").trim().len();
    text.trim_start_matches('\u{feff}')
        .lines()
        .enumerate()
        .filter(move |(_, line)| content(line) > 0)
        .map(|(index, line)| (index + 1, line.split('#').next().unwrap_or("").trim()))
}

fn at_line(path: &Path, number: usize, problem: String, remedy: &'static str) -> Error {
    Error::input(path, format!("line {number}: {problem}"), remedy)
}

fn parse_listed(line: &str, folder: &Path) -> Result<ListedImage, String> {
    let (stamp, name) =
        line.split_once([' ', '\t', ',']).ok_or_else(|| format!("'{line}' has no file name"))?;
    let stamp = Stamp::from_str(stamp).map_err(|error| error.to_string())?;
    Ok(ListedImage { stamp, path: folder.join(name.trim_matches([' ', '\t', ',', '"'])) })
}

fn parse_pose(line: &str) -> Result<StampedPose, String> {
    let words: Vec<&str> =
        line.split([' ', '\t', ',', ';']).filter(|word| !word.is_empty()).collect();
    let [stamp, numbers @ ..] = words.as_slice() else {
        return Err("it is empty".to_owned());
    };
    let numbers: [&str; 7] = numbers
        .try_into()
        .map_err(|_not_seven| format!("8 numbers are needed, and there are {}", words.len()))?;
    let stamp = Stamp::from_str(stamp).map_err(|error| error.to_string())?;
    let mut values = [0.0; 7];
    for (value, word) in values.iter_mut().zip(numbers) {
        *value = finite(word)?;
    }
    Ok(StampedPose { stamp, world_from_camera: pose(values)? })
}

fn finite(word: &str) -> Result<f64, String> {
    let number = word.parse().ok().filter(|value: &f64| value.is_finite());
    number.ok_or_else(|| format!("'{word}' is not a finite number"))
}

fn pose([tx, ty, tz, qx, qy, qz, qw]: [f64; 7]) -> Result<Se3, String> {
    let rotation = UnitQuaternion::try_new(Quaternion::new(qw, qx, qy, qz), 1e-6)
        .ok_or("the quaternion is zero")?;
    Ok(Se3::from_parts(Translation3::new(tx, ty, tz), rotation))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Trajectory> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read_trajectory(file.path())
    }

    #[test]
    fn comments_blank_lines_and_separators_do_not_matter() {
        let plain = parse("1.5 1 2 3 0 0 0 1\n2.5 4 5 6 0 0 1 0\n").unwrap();
        let decorated = "\u{feff}# time\r\n\r\n  1.5\t1,2, 3 0 0 0 1 # here\r\n2.5,4,5,6,0,0,2,0";
        assert_eq!(parse(decorated).unwrap(), plain);
        assert_eq!(plain.poses()[0].stamp, Stamp::from_secs(1.5));
        let expected = Translation3::new(4.0, 5.0, 6.0);
        assert_eq!(plain.poses()[1].world_from_camera.translation, expected);
    }

    #[test]
    fn each_kind_of_bad_line_is_told_with_its_number() {
        let cases = [
            ("1 0 0 0 0 0 0 1\n2 0 0 0 0 0 0", "line 2: 8 numbers are needed, and there are 7"),
            ("# a\nx 0 0 0 0 0 0 1", "line 2: 'x' is not a time"),
            ("1 0 0 nan 0 0 0 1", "line 1: 'nan' is not a finite number"),
            ("1 0 0 0 0 0 0 0", "line 1: the quaternion is zero"),
            ("# nothing\n", "there is no pose"),
        ];
        for (text, expected) in cases {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("time tx ty"), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_no_text_and_a_missing_file_are_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [b'1', 0xff, 0xfe]).unwrap();
        let error = read_trajectory(file.path()).unwrap_err().to_string();
        assert!(error.contains("not text from byte 1 on"), "{error}");
        let error = read_trajectory(Path::new("/nowhere/t.txt")).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/t.txt: cannot read the trajectory"), "{error}");
    }

    proptest! {
        #[test]
        fn random_text_never_panics(text in "[0-9a-z .,#\t\n+-]{0,200}") {
            if let Ok(trajectory) = parse(&text) {
                prop_assert!(!trajectory.poses().is_empty());
            }
            for (_, line) in lines(&text) {
                if let Ok(listed) = parse_listed(line, Path::new("f")) {
                    prop_assert!(listed.path.starts_with("f") || listed.path.has_root());
                }
            }
        }
    }
}
