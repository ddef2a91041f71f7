//! Fetching weights: into the hub cache, going on where an earlier attempt stopped.

use std::fs;
use std::io::Read;
use std::path::PathBuf;

use super::hub::{HubError, RemoteFile};
use super::partial::{Partial, sha256_of};
use super::{Cache, Hub, KnownModel};
use crate::error::{Error, Result};

/// Bytes that are taken from the network at once.
const CHUNK: usize = 1 << 18;

/// How far a file has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchProgress<'a> {
    /// Its name.
    pub file: &'a str,
    /// Bytes that are here.
    pub done: u64,
    /// Bytes that it will have.
    pub total: u64,
}

/// Returns the folder with the files of `model` at `revision` (a branch, a tag or a commit),
/// fetching what is not in `cache`. `progress` is told again and again how far a file has come. A
/// fetch that is stopped, by whatever, is gone on with by the next.
///
/// # Errors
/// Where the hub cannot be reached: which files are to be put where by hand. Where what came is not
/// what the hub announced, or cannot be written.
pub fn fetch(
    hub: &Hub,
    cache: &Cache,
    model: &KnownModel,
    revision: &str,
    progress: &mut dyn FnMut(&FetchProgress<'_>),
) -> Result<PathBuf> {
    if let Some(folder) = cache.snapshot(model.repository, revision, model.files) {
        return Ok(folder);
    }
    let mut fetching = Fetching { hub, cache, model, revision, progress };
    // All files from the commit that the first one is from.
    let mut commit = None;
    for name in model.files {
        let at = commit.as_deref().unwrap_or(revision);
        let described = hub.describe(model.repository, at, name);
        let remote = described.map_err(|why| fetching.unavailable(name, &why))?;
        fetching.bring(name, &remote)?;
        cache.link(model.repository, &remote.commit, name, &remote.etag)?;
        commit = Some(remote.commit);
    }
    let commit = commit.unwrap_or_else(|| revision.to_owned());
    cache.set_reference(model.repository, revision, &commit)?;
    Ok(cache.by_hand(model.repository, &commit))
}

struct Fetching<'a> {
    hub: &'a Hub,
    cache: &'a Cache,
    model: &'a KnownModel,
    revision: &'a str,
    progress: &'a mut dyn FnMut(&FetchProgress<'_>),
}

/// Why bytes stopped coming.
enum Interruption {
    /// Trying again may help.
    Network(HubError),
    /// It would not.
    Disk(Error),
}

impl From<HubError> for Interruption {
    fn from(error: HubError) -> Self {
        Self::Network(error)
    }
}

impl From<Error> for Interruption {
    fn from(error: Error) -> Self {
        Self::Disk(error)
    }
}

impl Fetching<'_> {
    /// Returns once the content of a file is among the blobs, whole and checked.
    fn bring(&mut self, name: &str, remote: &RemoteFile) -> Result<()> {
        let blob = self.cache.blob(self.model.repository, &remote.etag);
        let partial_path = blob.with_file_name(format!("{}.incomplete", remote.etag));
        if let Some(folder) = blob.parent() {
            super::cache::create_folder(folder)?;
        }
        let _lock = self.cache.lock(self.model.repository, &remote.etag)?;
        if fs::metadata(&blob).is_ok_and(|file| file.len() == remote.size) {
            return Ok(());
        }
        let mut partial = Partial::open(&partial_path)?;
        while partial.len() != remote.size {
            let before = partial.len();
            match self.transfer(name, remote, &mut partial) {
                Err(Interruption::Disk(error)) => return Err(error),
                // As long as every attempt brings something, another is worth it.
                Err(Interruption::Network(why)) if partial.len() <= before => {
                    return Err(self.unavailable(name, &why));
                }
                _ => {}
            }
        }
        partial.finish(&blob, sha256_of(&remote.etag))
    }

    /// Appends what one connection brings.
    fn transfer(
        &mut self,
        name: &str,
        remote: &RemoteFile,
        partial: &mut Partial,
    ) -> Result<(), Interruption> {
        if partial.len() > remote.size {
            partial.clear()?;
        }
        let (begins, mut reader) = self.hub.read(&remote.url, partial.len())?;
        if begins != partial.len() {
            partial.clear()?;
        }
        let broken = |error: &dyn std::fmt::Display| HubError::Unreachable(error.to_string());
        let mut buffer = vec![0; CHUNK];
        loop {
            (self.progress)(&FetchProgress { file: name, done: partial.len(), total: remote.size });
            let count = reader.read(&mut buffer).map_err(|error| broken(&error))?;
            let left = remote.size - partial.len();
            match count as u64 {
                0 if left == 0 => return Ok(()),
                0 => return Err(broken(&"the connection ended early").into()),
                more if more > left => {
                    partial.clear()?;
                    return Err(broken(&"more came than was announced").into());
                }
                _ => partial.append(&buffer[..count])?,
            }
        }
    }

    /// The one message for everything that the network can do, with the way that needs none.
    fn unavailable(&self, name: &str, why: &HubError) -> Error {
        let repository = self.model.repository;
        let folder = self.cache.by_hand(repository, self.revision);
        let files = self.model.files.join(" and ");
        let address = self.hub.url(repository, self.revision, "");
        let problem = format!("{name} cannot be fetched from {address} ({why})");
        // Whoever has another machine with a network needs all files, whichever failed here.
        Error::Input {
            path: folder,
            problem: format!("{problem}; without network, download {files} there by hand"),
            remedy: "put them into this folder",
        }
    }
}
