//! What lies at a path.

use std::cmp::Ordering;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

const REMEDY: &str = "give a folder in TUM layout (with rgb.txt), a folder of PNG or JPEG images, \
                      a bag folder (with metadata.yaml), an .mcap or a .db3 file";

/// The kinds of recordings that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A folder with `rgb.txt`.
    Tum,
    /// A folder of images, in order.
    Images(Vec<PathBuf>),
    /// A rosbag2: the folder with its `metadata.yaml`, or its storage files in order.
    Bag(BagAt),
}

/// Where the storage files of a bag are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BagAt {
    /// In this `metadata.yaml`.
    Metadata(PathBuf),
    /// Here.
    Files(Vec<PathBuf>),
}

/// Returns what lies at `path`, by its content rather than its name where possible.
///
/// # Errors
/// [`Error::Io`] and [`Error::Input`] where it is no recording.
pub(super) fn detect(path: &Path) -> Result<Kind> {
    let metadata = std::fs::metadata(path).map_err(Error::io(path, "open the recording"))?;
    if metadata.is_dir() { detect_folder(path) } else { detect_file(path) }
}

fn detect_folder(path: &Path) -> Result<Kind> {
    if path.join("rgb.txt").exists() {
        return Ok(Kind::Tum);
    }
    let metadata = path.join("metadata.yaml");
    if metadata.exists() {
        return Ok(Kind::Bag(BagAt::Metadata(metadata)));
    }
    let storage = storage_files(path)?;
    if !storage.is_empty() {
        return Ok(Kind::Bag(BagAt::Files(storage)));
    }
    let images = files_with(path, &["png", "jpg", "jpeg"])?;
    if images.is_empty() {
        return Err(Error::input(path, "the folder holds no recording", REMEDY));
    }
    Ok(Kind::Images(images))
}

/// Returns the storage files of a bag folder by their names: `.mcap`, else `.db3`.
pub(super) fn storage_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mcap = files_with(folder, &["mcap"])?;
    if mcap.is_empty() { files_with(folder, &["db3"]) } else { Ok(mcap) }
}

fn files_with(folder: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = sorted_files(folder)?;
    files.retain(|file| has_extension(file, extensions));
    Ok(files)
}

/// Returns what a file is.
///
/// # Errors
/// As [`detect`].
pub(super) fn detect_file(path: &Path) -> Result<Kind> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(Error::io(path, "open the recording"))?;
    file.take(16).read_to_end(&mut start).map_err(Error::io(path, "read the recording"))?;
    if start.is_empty() {
        return Err(Error::input(path, "the file is empty", "record it again"));
    }
    if is_mcap(&start) || start.starts_with(b"SQLite format 3\0") {
        return Ok(Kind::Bag(BagAt::Files(vec![path.to_owned()])));
    }
    if start.starts_with(b"#ROSBAG V") {
        let remedy = "turn it into a rosbag2, e.g. with rosbags-convert";
        return Err(Error::input(path, "this is a bag of ROS 1", remedy));
    }
    if has_extension(path, &["mcap", "db3"]) {
        let problem = "the file has the name of a bag, but does not begin like one";
        return Err(Error::input(path, problem, "record or copy it again"));
    }
    Err(Error::input(path, "the file is no recording", REMEDY))
}

/// Returns whether a file that begins like this is an MCAP file.
pub(super) fn is_mcap(start: &[u8]) -> bool {
    start.starts_with(mcap::MAGIC)
}

/// Returns the files of a folder in natural order of their names, hidden ones left out.
fn sorted_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        std::fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path())).collect()
    };
    let mut files = list().map_err(Error::io(folder, "list the folder"))?;
    files.retain(|file| file.is_file() && !name(file).starts_with('.'));
    files.sort_by(|a, b| natural_order(&name(a), &name(b)));
    Ok(files)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let found = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    extensions.contains(&found.as_str())
}

/// Numbers in names count by their value: `frame9` comes before `frame10`.
fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut rest_a, mut rest_b) = (a, b);
    while !rest_a.is_empty() && !rest_b.is_empty() {
        let (part_a, part_b);
        (part_a, rest_a) = split_part(rest_a);
        (part_b, rest_b) = split_part(rest_b);
        let order = if is_number(part_a) && is_number(part_b) {
            let (a, b) = (part_a.trim_start_matches('0'), part_b.trim_start_matches('0'));
            a.len().cmp(&b.len()).then_with(|| a.cmp(b))
        } else {
            part_a.cmp(part_b)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    rest_a.len().cmp(&rest_b.len()).then_with(|| a.cmp(b))
}

fn is_number(part: &str) -> bool {
    part.starts_with(|c: char| c.is_ascii_digit())
}

/// Splits off the longest start that is all digits, or all no digits.
fn split_part(text: &str) -> (&str, &str) {
    let number = is_number(text);
    let end = text.find(|c: char| c.is_ascii_digit() != number).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count_by_value() {
        let mut names = ["a10.png", "a9.png", "a009.png", "b1.png", "a.png", "a9b2.png"];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(names, ["a009.png", "a9.png", "a9b2.png", "a10.png", "a.png", "b1.png"]);
    }

    #[test]
    fn what_is_no_recording_is_told_in_one_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let cases = [
            (folder.path().join("missing"), "cannot open the recording"),
            (file("a.txt", b"hello"), "the file is no recording"),
            (file("b.mcap", b"hello"), "does not begin like one"),
            (file("c.db3", b""), "the file is empty"),
            (file("d.bag", b"#ROSBAG V2.0\n"), "a bag of ROS 1"),
        ];
        for (path, expected) in cases {
            let error = detect(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let empty = tempfile::tempdir().unwrap();
        let error = detect(empty.path()).unwrap_err().to_string();
        assert!(error.contains("the folder holds no recording"), "{error}");
    }
}
