//! Sketches of signatures: of each number its sign, so that those that may be similar are found by
//! counting bits.
//!
//! A signature's numbers are fourth roots, which are much alike in size: their signs hold most of
//! what they say, in a thirty-second of the memory that would have to be read.

use rayon::prelude::*;

/// Bits of one part of a sketch.
const WORD_BITS: usize = u64::BITS as usize;
/// Sketches that one thread compares at a time.
const CHUNK: usize = 512;

/// The sketches of many signatures, by their places in order.
#[derive(Debug, Clone)]
pub(super) struct Sketches {
    /// Parts of one sketch.
    words: usize,
    bits: Vec<u64>,
}

impl Sketches {
    /// Returns none yet, of signatures of so many numbers.
    pub fn new(signature_len: usize) -> Self {
        Self { words: signature_len.div_ceil(WORD_BITS).max(1), bits: Vec::new() }
    }

    /// Adds the sketch of a signature.
    pub fn push(&mut self, signature: &[f32]) {
        self.bits.extend(sketch(signature));
    }

    /// Returns the places of the `count` signatures whose sketches differ least from the query's,
    /// of those that are `asked` for, in ascending order; of equals the first.
    pub fn nearest(
        &self,
        query: &[f32],
        count: usize,
        is_asked: impl Fn(usize) -> bool,
    ) -> Vec<usize> {
        let query: Vec<u64> = sketch(query).collect();
        let differing = |known: &[u64]| -> u32 {
            query.iter().zip(known).map(|(a, b)| (a ^ b).count_ones()).sum()
        };
        let chunks = self.bits.par_chunks(CHUNK * self.words);
        let distances: Vec<u32> =
            chunks.flat_map_iter(|chunk| chunk.chunks_exact(self.words).map(differing)).collect();
        let asked = distances.into_iter().enumerate().filter(|&(place, _)| is_asked(place));
        let mut ranked: Vec<(u32, usize)> = asked.map(|(place, bits)| (bits, place)).collect();
        if count < ranked.len() {
            ranked.select_nth_unstable(count);
            ranked.truncate(count);
        }
        let mut places: Vec<usize> = ranked.into_iter().map(|(_, place)| place).collect();
        places.sort_unstable();
        places
    }
}

/// A bit for each number, set where it is positive.
fn sketch(signature: &[f32]) -> impl Iterator<Item = u64> + '_ {
    signature.chunks(WORD_BITS).map(|numbers| {
        let bit = |(at, &number): (usize, &f32)| u64::from(number > 0.0) << at;
        numbers.iter().enumerate().map(bit).sum()
    })
}
