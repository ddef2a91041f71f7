//! Visual words: the centroids that descriptors are told apart by.

use rayon::prelude::*;

use crate::error::{Error, Result};

/// Centroids of descriptors.
#[derive(Debug, Clone, PartialEq)]
pub struct Codebook {
    dim: usize,
    centroids: Vec<f32>,
}

impl Codebook {
    /// Returns the codebook of flat `centroids`, `dim` numbers for each.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for none, or no whole number of them.
    pub fn new(dim: usize, centroids: Vec<f32>) -> Result<Self> {
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
        let samples = Self::new(dim, descriptors.to_vec())?;
        if samples.len() < words {
            return Err(Error::ShapeMismatch {
                what: "descriptors to train a codebook with",
                expected: format!("{words} or more"),
                found: samples.len().to_string(),
            });
        }
        let first = (0..words).flat_map(|w| samples.centroid(w * samples.len() / words));
        let mut book = Self::new(dim, first.copied().collect())?;
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
    pub fn centroids(&self) -> &[f32] {
        &self.centroids
    }

    /// Returns the centroid of a word.
    pub fn centroid(&self, word: usize) -> &[f32] {
        &self.centroids[word * self.dim..(word + 1) * self.dim]
    }

    /// Returns the `count` words nearest to a descriptor, the nearest first; of equals the lower.
    pub fn nearest(&self, descriptor: &[f32], count: usize) -> Vec<u32> {
        let mut best: Vec<(f32, u32)> = Vec::with_capacity(count + 1);
        for (word, centroid) in (0u32..).zip(self.centroids.chunks_exact(self.dim)) {
            let distance = squared_distance(descriptor, centroid);
            if best.len() == count && best.last().is_none_or(|&(worst, _)| distance >= worst) {
                continue;
            }
            let place = best.partition_point(|&(d, _)| d <= distance);
            best.insert(place, (distance, word));
            best.truncate(count);
        }
        best.into_iter().map(|(_, word)| word).collect()
    }

    /// Each centroid at the mean of the samples that are nearest to it, where there are any.
    fn moved_to_means(&self, samples: &Self) -> Self {
        let rows = samples.centroids.par_chunks_exact(self.dim);
        let words: Vec<Vec<u32>> = rows.map(|row| self.nearest(row, 1)).collect();
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
        let centroids = sums.iter().zip(&self.centroids).enumerate().map(mean).collect();
        Self { dim: self.dim, centroids }
    }
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
