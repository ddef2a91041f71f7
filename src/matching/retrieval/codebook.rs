//! Visual words: the centroids that descriptors are told apart by.

use std::sync::Arc;

use super::search::{Lengths, Words};
use crate::error::{Error, Result};

/// Centroids of descriptors; clones share them.
#[derive(Debug, Clone, PartialEq)]
pub struct Codebook {
    dim: usize,
    centroids: Arc<[f32]>,
    lengths: Lengths,
    /// Tells it from others.
    check: [u8; 4],
}

impl Codebook {
    /// Returns the codebook of flat `centroids`, `dim` numbers for each.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for none, or no whole number of them.
    pub fn new(dim: usize, centroids: impl Into<Arc<[f32]>>) -> Result<Self> {
        let centroids = centroids.into();
        if dim > 0 && !centroids.is_empty() && centroids.len().is_multiple_of(dim) {
            return Ok(Self::of(dim, centroids));
        }
        Err(Error::ShapeMismatch {
            what: "numbers of a codebook",
            expected: format!("a multiple of {dim}, not zero"),
            found: centroids.len().to_string(),
        })
    }

    fn of(dim: usize, centroids: Arc<[f32]>) -> Self {
        let (lengths, check) = (Lengths::of(dim, &centroids), check(&centroids));
        Self { dim, centroids, lengths, check }
    }

    /// Returns the codebook of `words` centroids that Lloyd's algorithm finds in flat
    /// `descriptors`, from evenly spaced ones of them. The result is the same every time.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for fewer descriptors than words, or no whole number of them.
    pub fn train(dim: usize, descriptors: &[f32], words: usize, rounds: usize) -> Result<Self> {
        let samples = Self::new(dim, descriptors)?;
        if samples.len() < words {
            return Err(Error::ShapeMismatch {
                what: "descriptors to train a codebook with",
                expected: format!("{words} or more"),
                found: samples.len().to_string(),
            });
        }
        let first = (0..words).flat_map(|w| samples.centroid(w * samples.len() / words));
        let mut book = Self::new(dim, first.copied().collect::<Vec<f32>>())?;
        for _ in 0..rounds {
            book = book.moved_to_means(&samples);
        }
        Ok(book)
    }

    /// Returns how many numbers a descriptor has.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Returns the number of words.
    pub fn len(&self) -> usize {
        self.centroids.len() / self.dim
    }

    /// Returns whether there is no word, which [`Codebook::new`] refuses.
    pub fn is_empty(&self) -> bool {
        self.centroids.is_empty()
    }

    /// Returns all centroids, `dim` numbers for each.
    pub fn centroids(&self) -> &Arc<[f32]> {
        &self.centroids
    }

    /// Returns what tells the codebook from others.
    pub(super) fn check(&self) -> [u8; 4] {
        self.check
    }

    /// Returns the centroid of a word.
    pub fn centroid(&self, word: usize) -> &[f32] {
        &self.centroids[word * self.dim..(word + 1) * self.dim]
    }

    /// Returns the `count` words nearest to each of flat `descriptors`, the nearest first; of
    /// equals the lower.
    pub fn nearest(&self, descriptors: &[f32], count: usize) -> Vec<Vec<u32>> {
        let Self { dim, centroids, lengths, .. } = self;
        Words { dim: *dim, centroids, lengths }.nearest(descriptors, count)
    }

    /// Each centroid at the mean of the samples that are nearest to it, where there are any.
    fn moved_to_means(&self, samples: &Self) -> Self {
        let words = self.nearest(&samples.centroids, 1);
        let mut sums = vec![0.0f64; self.centroids.len()];
        let mut counts = vec![0usize; self.len()];
        for (row, word) in samples.centroids.chunks_exact(self.dim).zip(words.iter().flatten()) {
            let word = *word as usize;
            counts[word] += 1;
            let sum = &mut sums[word * self.dim..(word + 1) * self.dim];
            sum.iter_mut().zip(row).for_each(|(s, &v)| *s += f64::from(v));
        }
        let mean = |(i, (&sum, &old)): (usize, (&f64, &f32))| match counts[i / self.dim] {
            0 => old,
            count => (sum / count as f64) as f32,
        };
        let centroids = sums.iter().zip(self.centroids.iter()).enumerate().map(mean).collect();
        Self::of(self.dim, centroids)
    }
}

/// What tells numbers from others (FNV-1a, by Fowler, Noll and Vo).
fn check(numbers: &[f32]) -> [u8; 4] {
    let mixed = |hash: u32, v: &f32| (hash ^ v.to_bits()).wrapping_mul(0x0100_0193);
    numbers.iter().fold(0x811c_9dc5, mixed).to_le_bytes()
}
