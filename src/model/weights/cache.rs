//! The folder that huggingface_hub keeps downloads in, in its layout, so that both share one copy:
//! `models--OWNER--NAME/{refs/REVISION, snapshots/COMMIT/FILE → ../../blobs/ETAG, blobs/ETAG}`.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A hub cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Returns the cache in this folder, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns the cache that the environment names: `HF_HUB_CACHE`, `HF_HOME/hub`,
    /// `XDG_CACHE_HOME/huggingface/hub` or `~/.cache/huggingface/hub`.
    pub fn from_vars(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let named = variable("HF_HUB_CACHE").map(PathBuf::from);
        Self::new(named.unwrap_or_else(|| hub_home(variable).join("hub")))
    }

    /// Returns the folder of a repository `owner/name`.
    pub fn repository(&self, repository: &str) -> PathBuf {
        self.root.join(folder_name(repository))
    }

    /// Returns the folder for files of `revision` that were put there by hand.
    pub fn by_hand(&self, repository: &str, revision: &str) -> PathBuf {
        self.repository(repository).join("snapshots").join(revision)
    }

    /// Returns the folder with all of `files` at `revision` (a branch, a tag or a commit), if they
    /// are all here.
    pub fn snapshot(&self, repository: &str, revision: &str, files: &[&str]) -> Option<PathBuf> {
        let folder = self.repository(repository);
        let commit = fs::read_to_string(folder.join("refs").join(revision)).ok();
        let snapshot = folder.join("snapshots").join(commit.as_deref().unwrap_or(revision).trim());
        files.iter().all(|name| snapshot.join(name).is_file()).then_some(snapshot)
    }

    /// Returns where the content with this entity tag is kept.
    pub(super) fn blob(&self, repository: &str, etag: &str) -> PathBuf {
        self.repository(repository).join("blobs").join(etag)
    }

    /// Returns once this process alone may write the content with this entity tag, which it may
    /// until the file that comes back is dropped; huggingface_hub locks the same file.
    pub(super) fn lock(&self, repository: &str, etag: &str) -> Result<File> {
        let folder = self.root.join(".locks").join(folder_name(repository));
        create_folder(&folder)?;
        let path = folder.join(format!("{etag}.lock"));
        let open = File::options().create(true).truncate(false).write(true).open(&path);
        let file = open.map_err(Error::io(&path, "open the lock file"))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => Err(Error::input(
                &path,
                "another program is fetching this file now",
                "wait until it is done, or stop it",
            )),
            Err(fs::TryLockError::Error(error)) => Err(Error::io(&path, "lock")(error)),
        }
    }

    /// Lets `name` at `commit` be the content with this entity tag; returns where it is.
    pub(super) fn link(
        &self,
        repository: &str,
        commit: &str,
        name: &str,
        etag: &str,
    ) -> Result<PathBuf> {
        let pointer = self.by_hand(repository, commit).join(name);
        if let Some(folder) = pointer.parent() {
            create_folder(folder)?;
        }
        match fs::remove_file(&pointer) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io(&pointer, "replace")(error));
            }
            _ => {}
        }
        let up = "../".repeat(2 + name.matches('/').count());
        symlink(Path::new(&format!("{up}blobs/{etag}")), &pointer)
            .or_else(|_| fs::copy(self.blob(repository, etag), &pointer).map(drop))
            .map_err(Error::io(&pointer, "create"))?;
        Ok(pointer)
    }

    /// Notes that `revision` is at `commit`.
    pub(super) fn set_reference(
        &self,
        repository: &str,
        revision: &str,
        commit: &str,
    ) -> Result<()> {
        if revision == commit {
            return Ok(());
        }
        let path = self.repository(repository).join("refs").join(revision);
        if let Some(folder) = path.parent() {
            create_folder(folder)?;
        }
        let partial = path.with_extension("partial");
        fs::write(&partial, commit)
            .and_then(|()| fs::rename(&partial, &path))
            .map_err(Error::io(&path, "write the commit"))
    }
}

/// Folder of everything that huggingface_hub keeps.
pub(super) fn hub_home(variable: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    let named = variable("HF_HOME").map(PathBuf::from);
    named.unwrap_or_else(|| {
        let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || PathBuf::from(variable("HOME").unwrap_or_else(|| ".".to_owned()));
        cache.unwrap_or_else(|| home().join(".cache")).join("huggingface")
    })
}

/// Creates a folder and those above it.
pub(super) fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Error::io(path, "create the folder"))
}

fn folder_name(repository: &str) -> String {
    format!("models--{}", repository.replace('/', "--"))
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

/// Elsewhere links need rights that most users lack: files are copied.
#[cfg(not(unix))]
fn symlink(_target: &Path, _link: &Path) -> std::io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}
