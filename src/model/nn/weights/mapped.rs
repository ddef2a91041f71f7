//! Files mapped into memory: the only unsafe code of the weights.
#![allow(unsafe_code)]

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use memmap2::{Mmap, UncheckedAdvice};

use crate::error::{Error, Result};

/// A file whose bytes are read where they lie.
#[derive(Debug)]
pub struct MappedFile(Mmap);

impl MappedFile {
    /// Returns the bytes of the file at `path`.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be opened or mapped.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path, "open the weights"))?;
        // SAFETY: the map is read-only and private. That nobody truncates a file of weights while
        // it is read is the assumption of every reader of such files; it ends in SIGBUS, not in
        // wrong memory.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io(path, "map the weights"))?;
        Ok(Self(map))
    }

    /// Returns all bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Gives the memory of a range back to the system. Its bytes can still be read; they come from
    /// the file again. That the system refuses is no error: then the pages stay until it needs them.
    pub fn release(&self, range: Range<usize>) {
        let range = whole_pages(range);
        if range.is_empty() {
            return;
        }
        // SAFETY: the pages are backed by the file and never written to, so that dropping them
        // changes nothing that a reader can see.
        let _ = unsafe {
            self.0.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len())
        };
    }
}

/// The pages that lie in the range as a whole; a neighbour may still need the others.
fn whole_pages(range: Range<usize>) -> Range<usize> {
    const PAGE: usize = 4096;
    range.start.next_multiple_of(PAGE)..range.end / PAGE * PAGE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_bytes_are_read_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..50_000u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(file.path(), &bytes).unwrap();
        let mapped = MappedFile::open(file.path()).unwrap();
        assert_eq!(mapped.bytes(), bytes);
        mapped.release(100..45_000);
        assert_eq!(mapped.bytes(), bytes);
    }

    #[test]
    fn a_page_that_is_shared_stays() {
        assert_eq!(whole_pages(1..8191), 4096..4096);
        assert_eq!(whole_pages(4096..12_288), 4096..12_288);
        assert!(whole_pages(5000..6000).is_empty());
    }
}
