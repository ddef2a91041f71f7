//! Files that appear whole or not at all: written beside their place, then renamed.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

const REMEDY: &str = "choose a folder that exists, that you may write to and that has space left";

/// Returns once `path` holds what `write` wrote; until then a file that was there stays as it was.
///
/// # Errors
/// [`Error::Input`] naming `path`, where its folder is missing, not writable or full.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let partial = partial_path(path).map_err(|e| unwritable(path, &e))?;
    let outcome = write_whole(&partial, write).and_then(|()| fs::rename(&partial, path));
    outcome.map_err(|error| {
        // What cannot be removed was never created; the first error is the one to report.
        let _ = fs::remove_file(&partial);
        unwritable(path, &error)
    })
}

/// Returns once the folder `path` and those above it exist.
///
/// # Errors
/// [`Error::Input`] naming `path`, where it cannot be created or is not a folder.
pub fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| {
        let problem = format!("cannot be created as a folder ({error})");
        Error::input(path, problem, "choose another folder, one that you may write to")
    })
}

fn write_whole(
    partial: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(partial)?);
    write(&mut file)?;
    file.flush()
}

/// A hidden name in the same folder, because a rename is atomic only within one file system.
fn partial_path(path: &Path) -> io::Result<PathBuf> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_string_lossy();
    let (process, count) = (std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
    Ok(path.with_file_name(format!(".{name}.{process}-{count}.partial")))
}

fn unwritable(path: &Path, error: &io::Error) -> Error {
    Error::input(path, format!("cannot be written ({error})"), REMEDY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn the_file_holds_what_was_written_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        for text in ["first", "second"] {
            write_atomically(&path, |w| w.write_all(text.as_bytes())).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(names_in(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file_and_no_remains() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_atomically(&path, |w| w.write_all(b"old")).unwrap();
        let fail = |w: &mut dyn Write| {
            w.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        };
        let message = write_atomically(&path, fail).unwrap_err().to_string();
        assert!(message.contains("a.txt") && message.contains("space left"), "{message}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names_in(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_folder_that_is_missing_or_a_file_is_named_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [folder.path().join("missing/a.txt"), file.join("a.txt"), "/".into()] {
            let message = write_atomically(&path, |_| Ok(())).unwrap_err().to_string();
            assert!(message.starts_with(&path.display().to_string()), "{message}");
            assert!(message.ends_with(REMEDY), "{message}");
        }
        let message = create_folder(&file.join("sub")).unwrap_err().to_string();
        assert!(message.contains("file/sub") && message.contains("choose another"), "{message}");
        create_folder(&folder.path().join("a/b")).unwrap();
        assert!(folder.path().join("a/b").is_dir());
    }
}
