//! Visual words: the centroids that descriptors are told apart by.

use std::sync::Arc;

use rayon::prelude::*;

use crate::error::{Error, Result};

/// Descriptors that are compared with a centroid while it is at hand: trained codebooks are larger
/// than the caches.
const ROWS: usize = 32;

/// Centroids of descriptors; clones share them.
#[derive(Debug, Clone, PartialEq)]
pub struct Codebook {
    dim: usize,
    centroids: Arc<[f32]>,
}

impl Codebook {
    /// Returns the codebook of flat `centroids`, `dim` numbers for each.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for none, or no whole number of them.
    pub fn new(dim: usize, centroids: impl Into<Arc<[f32]>>) -> Result<Self> {
        let centroids = centroids.into();
        if dim > 0 && !centroids.is_empty() && centroids.len().is_multiple_of(dim) {
            return Ok(Self { dim, centroids });
        }
        Err(Error::ShapeMismatch {
            what: "numbers of a codebook",
            expected: format!("a multiple of {dim}, not zero"),
            found: centroids.len().to_string(),
        })
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

    /// Returns what tells the codebook from others (FNV-1a, by Fowler, Noll and Vo).
    pub(super) fn check(&self) -> [u8; 4] {
        let mixed = |hash: u32, v: &f32| (hash ^ v.to_bits()).wrapping_mul(0x0100_0193);
        self.centroids.iter().fold(0x811c_9dc5, mixed).to_le_bytes()
    }

    /// Returns the centroid of a word.
    pub fn centroid(&self, word: usize) -> &[f32] {
        &self.centroids[word * self.dim..(word + 1) * self.dim]
    }

    /// Returns the `count` words nearest to each of flat `descriptors`, the nearest first; of
    /// equals the lower.
    pub fn nearest(&self, descriptors: &[f32], count: usize) -> Vec<Vec<u32>> {
        let groups = descriptors.par_chunks(ROWS * self.dim);
        groups.flat_map_iter(|group| self.nearest_of_group(group, count)).collect()
    }

    fn nearest_of_group(&self, group: &[f32], count: usize) -> impl Iterator<Item = Vec<u32>> {
        let mut best = vec![Vec::with_capacity(count + 1); group.len() / self.dim];
        for (word, centroid) in (0u32..).zip(self.centroids.chunks_exact(self.dim)) {
            for (best, descriptor) in best.iter_mut().zip(group.chunks_exact(self.dim)) {
                keep(best, count, squared_distance(descriptor, centroid), word);
            }
        }
        best.into_iter().map(|best| best.into_iter().map(|(_, word)| word).collect())
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
        Self { dim: self.dim, centroids }
    }
}

/// Keeps the `count` nearest words, ascending by distance.
fn keep(best: &mut Vec<(f32, u32)>, count: usize, distance: f32, word: u32) {
    if best.len() == count && best.last().is_none_or(|&(worst, _)| distance >= worst) {
        return;
    }
    let place = best.partition_point(|&(d, _)| d <= distance);
    best.insert(place, (distance, word));
    best.truncate(count);
}

/// Squared distance, summed in eight lanes so that it is fast and always the same.
fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (a_eights, b_eights) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest = a_eights.remainder().iter().zip(b_eights.remainder());
    let rest: f32 = rest.map(|(a, b)| (a - b) * (a - b)).sum();
    for (a, b) in a_eights.zip(b_eights) {
        for l in 0..8 {
            lanes[l] += (a[l] - b[l]) * (a[l] - b[l]);
        }
    }
    rest + lanes.iter().sum::<f32>()
}
