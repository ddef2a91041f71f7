//! The nearest words of many descriptors: one product of matrices rules out all blocks of words
//! that cannot hold any of them, and what is left is compared in full.
//!
//! Products round in another order than differences do. What a block is ruled out by allows for
//! all that either may be off, so that the words are those that comparing with all would give, to
//! the last tie, whatever the processor and the number of threads.

use std::sync::Arc;

use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use rayon::prelude::*;

/// Words that are ruled out together.
const BLOCK: usize = 32;
/// Words that one task multiplies with all descriptors: some blocks.
const TASK: usize = 16 * BLOCK;
/// Descriptors whose products are in memory together.
const GROUP: usize = 512;
/// Numbers that are compared side by side.
const LANES: usize = 8;
/// Half of the distance between 1 and the next number in single precision.
const ROUNDOFF: f64 = f32::EPSILON as f64 / 2.0;
/// Squared lengths beyond this may leave single precision.
const LARGEST_SQUARED: f64 = 1e37;

/// What is known of words before anything is compared with them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lengths {
    /// Half of the squared length of each word.
    halves: Arc<[f32]>,
    /// The largest length; no number where one of a word's is none.
    largest: f64,
}

impl Lengths {
    /// Returns the lengths of flat `centroids` with `dim` numbers each.
    pub fn of(dim: usize, centroids: &[f32]) -> Self {
        let squared: Vec<f64> = centroids.par_chunks_exact(dim).map(squared_length).collect();
        let larger = |a: f64, b: &f64| if *b > a || b.is_nan() { *b } else { a };
        let largest = squared.iter().fold(0.0, larger).sqrt();
        Self { halves: squared.iter().map(|v| (v / 2.0) as f32).collect(), largest }
    }
}

/// Words to search.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words<'a> {
    /// Numbers of a word.
    pub dim: usize,
    /// All words, one after the other.
    pub centroids: &'a [f32],
    /// Their lengths.
    pub lengths: &'a Lengths,
}

impl Words<'_> {
    /// Returns the `count` words nearest to each of flat `descriptors`, the nearest first; of
    /// equals the lower.
    pub fn nearest(&self, descriptors: &[f32], count: usize) -> Vec<Vec<u32>> {
        let whole = descriptors.len() / self.dim * self.dim;
        let groups = descriptors[..whole].chunks(GROUP * self.dim);
        groups.flat_map(|group| self.nearest_of_group(group, count)).collect()
    }

    fn nearest_of_group(&self, group: &[f32], count: usize) -> Vec<Vec<u32>> {
        let blocks = self.lengths.halves.len().div_ceil(BLOCK);
        // With as few blocks as words that are asked for none can be ruled out.
        let maxima = (count > 0 && blocks > count).then(|| self.maxima(group));
        let rows = group.par_chunks_exact(self.dim).enumerate();
        rows.map(|(row, descriptor)| match &maxima {
            None => self.nearest_in(0..blocks, descriptor, count),
            Some(maxima) => {
                let of_blocks = of_row(maxima, group.len() / self.dim, row);
                let least = self.least(&of_blocks, descriptor, count);
                let may_hold = |block: &usize| of_blocks[*block] >= least;
                self.nearest_in((0..blocks).filter(may_hold), descriptor, count)
            }
        })
        .collect()
    }

    /// The largest score of each block for each descriptor, by tasks: in each all blocks of the
    /// first descriptor, then of the next. A score is half of what the squared distance falls short
    /// of the descriptor's squared length.
    fn maxima(&self, group: &[f32]) -> Vec<Vec<f32>> {
        let tasks = self.centroids.par_chunks(TASK * self.dim);
        let tasks = tasks.zip(self.lengths.halves.par_chunks(TASK));
        tasks.map(|(words, halves)| maxima_of_task(self.dim, words, halves, group)).collect()
    }

    /// What the largest score of a block that holds one of the `count` nearest is at least.
    ///
    /// As many blocks hold a word each with a score of `reached` or more. With errors of scores of
    /// at most `score_error` and of squared distances of at most the share `distance_error`
    /// (Higham, "Accuracy and stability of numerical algorithms", 2002, section 3.1), no word
    /// whose score is smaller than what is returned is nearer than all of those. Where numbers are
    /// none, or may leave single precision, every block may hold one.
    fn least(&self, maxima: &[f32], descriptor: &[f32], count: usize) -> f32 {
        let mut sorted = maxima.to_vec();
        let at = (count - 1).min(sorted.len() - 1);
        let reached = f64::from(*sorted.select_nth_unstable_by(at, |a, b| b.total_cmp(a)).1);
        let (squared, largest) = (squared_length(descriptor), self.lengths.largest);
        let terms = self.dim as f64;
        let score_error = bound(terms + 4.0) * (squared.sqrt() * largest + largest * largest / 2.0);
        let distance_error = bound(terms / LANES as f64 + 24.0);
        let furthest = (squared - 2.0 * reached + 2.0 * score_error).max(0.0);
        let least = reached - 2.0 * score_error - 2.0 * distance_error * furthest - 1e-30;
        let is_within = (squared.sqrt() + largest).powi(2) < LARGEST_SQUARED;
        if is_within { (least as f32).next_down() } else { f32::NEG_INFINITY }
    }

    /// The nearest words of some blocks, ascending, each compared in full.
    fn nearest_in(
        &self,
        blocks: impl Iterator<Item = usize>,
        descriptor: &[f32],
        count: usize,
    ) -> Vec<u32> {
        let mut best = Vec::with_capacity(count + 1);
        for block in blocks {
            let last = ((block + 1) * BLOCK).min(self.lengths.halves.len());
            for word in block * BLOCK..last {
                let centroid = &self.centroids[word * self.dim..(word + 1) * self.dim];
                keep(&mut best, count, squared_distance(descriptor, centroid), word as u32);
            }
        }
        best.into_iter().map(|(_, word)| word).collect()
    }
}

/// What a sum of so many products may be off, as a share of the sum of their sizes.
fn bound(terms: f64) -> f64 {
    terms * ROUNDOFF / (1.0 - terms * ROUNDOFF)
}

fn maxima_of_task(dim: usize, words: &[f32], halves: &[f32], group: &[f32]) -> Vec<f32> {
    let (count, rows) = (halves.len(), group.len() / dim);
    let mut scores = vec![0.0; count * rows];
    matmul(
        MatMut::from_column_major_slice_mut(&mut scores, count, rows),
        Accum::Replace,
        MatRef::from_column_major_slice(words, dim, count).transpose(),
        MatRef::from_column_major_slice(group, dim, rows),
        1.0f32,
        Par::Seq,
    );
    let of_row = |scores: &[f32]| -> Vec<f32> {
        scores.chunks(BLOCK).zip(halves.chunks(BLOCK)).map(|(s, h)| maximum(s, h)).collect()
    };
    scores.chunks_exact(count).flat_map(of_row).collect()
}

/// The largest difference of products and halves.
fn maximum(products: &[f32], halves: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (products, halves) = (products.chunks_exact(LANES), halves.chunks_exact(LANES));
    let rest = products.remainder().iter().zip(halves.remainder());
    let rest = rest.map(|(p, h)| p - h).fold(f32::NEG_INFINITY, larger);
    for (products, halves) in products.zip(halves) {
        for l in 0..LANES {
            lanes[l] = larger(lanes[l], products[l] - halves[l]);
        }
    }
    lanes.into_iter().fold(rest, larger)
}

/// The maxima of all blocks for one of `rows` descriptors.
fn of_row(maxima: &[Vec<f32>], rows: usize, row: usize) -> Vec<f32> {
    let of_task = |task: &Vec<f32>| {
        let blocks = task.len() / rows;
        task[row * blocks..(row + 1) * blocks].to_vec()
    };
    maxima.iter().flat_map(of_task).collect()
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

fn squared_length(numbers: &[f32]) -> f64 {
    numbers.iter().map(|v| f64::from(*v) * f64::from(*v)).sum()
}

/// Squared distance, summed in eight lanes so that it is fast and always the same.
fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a_eights, b_eights) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_eights.remainder().iter().zip(b_eights.remainder());
    let rest: f32 = rest.map(|(a, b)| (a - b) * (a - b)).sum();
    for (a, b) in a_eights.zip(b_eights) {
        for l in 0..LANES {
            lanes[l] += (a[l] - b[l]) * (a[l] - b[l]);
        }
    }
    rest + lanes.iter().sum::<f32>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Checks that what is ruled out changes nothing.
    fn check(dim: usize, centroids: &[f32], descriptors: &[f32]) {
        let lengths = Lengths::of(dim, centroids);
        let words = Words { dim, centroids, lengths: &lengths };
        let blocks = lengths.halves.len().div_ceil(BLOCK);
        for count in [0, 1, 5, 40] {
            let found = words.nearest(descriptors, count);
            let rows = descriptors.chunks_exact(dim);
            let expected: Vec<Vec<u32>> =
                rows.map(|row| words.nearest_in(0..blocks, row, count)).collect();
            assert_eq!(found, expected, "{count} of {} words of {dim}", lengths.halves.len());
        }
    }

    /// Numbers on a coarse grid, so that many distances are the same.
    fn numbers(count: usize, seed: u32, steps: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761) | 1;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 9) % steps) as f32 / steps as f32 - 0.5
        };
        (0..count).map(|_| next()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn nearest_words_are_those_of_comparing_with_all(
            dim in 1usize..40, words in 1usize..3000, rows in 1usize..20, seed in 0u32..1000,
            steps in prop_oneof![Just(3u32), Just(17), Just(1 << 20)], scale in -30i32..30,
        ) {
            let scaled = |v: Vec<f32>| v.into_iter().map(|v| v * 2f32.powi(scale)).collect::<Vec<_>>();
            let centroids = scaled(numbers(dim * words, seed, steps));
            let descriptors = scaled(numbers(dim * rows, seed + 7, steps));
            check(dim, &centroids, &descriptors);
        }
    }

    /// Words far from the origin and near one another: differences drown in the products' rounding.
    #[test]
    fn words_that_products_cannot_tell_apart_are_compared_in_full() {
        let dim = 64;
        let far = |v: Vec<f32>| v.into_iter().map(|v| 100.0 + 1e-3 * v).collect::<Vec<_>>();
        check(dim, &far(numbers(dim * 2000, 1, 1 << 20)), &far(numbers(dim * 30, 2, 1 << 20)));
    }

    #[test]
    fn what_is_no_number_or_too_large_is_compared_in_full() {
        let dim = 8;
        for odd in [f32::NAN, f32::INFINITY, 1e30, -1e19] {
            let (mut centroids, mut descriptors) =
                (numbers(dim * 1000, 3, 1 << 20), numbers(dim * 9, 4, 1 << 20));
            descriptors[11] = odd;
            check(dim, &centroids, &descriptors);
            centroids[5003] = odd;
            check(dim, &centroids, &descriptors);
        }
    }

    #[test]
    fn groups_of_descriptors_are_no_different_from_all_together() {
        check(5, &numbers(5 * 700, 5, 1 << 20), &numbers(5 * (GROUP + 3), 6, 1 << 20));
    }
}
