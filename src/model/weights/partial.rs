//! A file that is being fetched: what is there already counts, and is part of the checksum.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 18;

/// The beginning of a file, with the state of its checksum.
pub(super) struct Partial {
    path: PathBuf,
    file: File,
    len: u64,
    hash: Sha256,
}

impl Partial {
    /// Returns what an earlier attempt left at `path`, or nothing yet.
    pub fn open(path: &Path) -> Result<Self> {
        let mut options = File::options();
        options.read(true).append(true).create(true);
        let file = options.open(path).map_err(Error::io(path, "create the file"))?;
        let mut partial = Self { path: path.to_owned(), file, len: 0, hash: Sha256::new() };
        let mut buffer = vec![0; CHUNK];
        loop {
            let count =
                partial.file.read(&mut buffer).map_err(Error::io(path, "read what is there"))?;
            if count == 0 {
                return Ok(partial);
            }
            partial.count(&buffer[..count]);
        }
    }

    /// Returns the number of bytes so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Adds bytes at the end.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io(&self.path, "write the file"))?;
        self.count(bytes);
        Ok(())
    }

    /// Begins anew.
    pub fn clear(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(Error::io(&self.path, "begin the file anew"))?;
        (self.len, self.hash) = (0, Sha256::new());
        Ok(())
    }

    /// Returns once the whole file is at `path`, if its SHA-256 is `expected`, where that is known.
    pub fn finish(self, path: &Path, expected: Option<&str>) -> Result<()> {
        self.file.sync_all().map_err(Error::io(&self.path, "write the file"))?;
        let found = hex(&self.hash.finalize());
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            fs::remove_file(&self.path).map_err(Error::io(&self.path, "remove the file"))?;
            let problem = format!("what came has the SHA-256 {found}, the hub says {expected}");
            let remedy = "it has been removed: run the command again";
            return Err(Error::input(&self.path, problem, remedy));
        }
        fs::rename(&self.path, path).map_err(Error::io(path, "put the file in its place"))
    }

    fn count(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        self.hash.update(bytes);
    }
}

/// Returns the entity tag if it is a SHA-256, as those of large files are.
pub(super) fn sha256_of(etag: &str) -> Option<&str> {
    let is_hex = etag.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
    (etag.len() == 64 && is_hex).then_some(etag)
}

/// Returns the SHA-256 of a file in hexadecimal digits.
pub(super) fn file_sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io(path, "open the file"))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer).map_err(Error::io(path, "read the file"))? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
