//! Nearest neighbours by dot product over dense descriptor maps, without the matrix of scores.

use rayon::prelude::*;

use super::lanes::{Instructions, LANES, Lanes, QUERIES, STEP, block_maxima, scores};
use crate::error::{Error, Result};

/// Candidates whose panels stay in the fastest cache while all queries pass by.
const BLOCK: usize = 4 * STEP;

/// A dense map of descriptors, `dim` numbers for each pixel in row order.
#[derive(Debug, Clone, Copy)]
pub struct DescriptorMap<'a> {
    width: usize,
    height: usize,
    dim: usize,
    values: &'a [f32],
}

impl<'a> DescriptorMap<'a> {
    /// Returns the map over `values`, `height` × `width` × `dim` with the last running fastest.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for another number of values, or none.
    pub fn new(width: usize, height: usize, dim: usize, values: &'a [f32]) -> Result<Self> {
        if values.len() == width * height * dim && !values.is_empty() {
            return Ok(Self { width, height, dim, values });
        }
        Err(Error::ShapeMismatch {
            what: "values of a descriptor map",
            expected: format!("{height}x{width}x{dim}, not empty"),
            found: format!("{} values", values.len()),
        })
    }

    /// Returns a list of descriptors as a map of one row.
    ///
    /// # Errors
    /// As [`DescriptorMap::new`].
    pub fn list(dim: usize, values: &'a [f32]) -> Result<Self> {
        Self::new(values.len() / dim.max(1), 1, dim, values)
    }

    /// Returns the number of columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Returns the number of rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Returns how many numbers a descriptor has.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Returns the number of pixels.
    pub fn len(&self) -> usize {
        self.width * self.height
    }

    /// Returns whether there is no pixel, which [`DescriptorMap::new`] refuses.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns the descriptor of the pixel at `index` in row order.
    pub fn at(&self, index: usize) -> &'a [f32] {
        &self.values[index * self.dim..(index + 1) * self.dim]
    }
}

/// A descriptor map laid out for search: the components of `LANES` neighbours side by side.
#[derive(Debug)]
pub struct DescriptorIndex {
    dim: usize,
    len: usize,
    panels: Vec<Lanes>,
    instructions: Instructions,
}

impl DescriptorIndex {
    /// Returns the index of a map.
    pub fn new(map: &DescriptorMap<'_>) -> Self {
        let count = map.len().next_multiple_of(STEP) / LANES;
        let mut panels = vec![Lanes([0.0; LANES]); count * map.dim];
        panels.par_chunks_mut(map.dim).enumerate().for_each(|(panel, rows)| {
            // The last descriptor fills up the last panels: it cannot win against itself.
            let pixels: [_; LANES] =
                std::array::from_fn(|l| map.at((panel * LANES + l).min(map.len() - 1)));
            for (d, row) in rows.iter_mut().enumerate() {
                *row = Lanes(pixels.map(|descriptor| descriptor[d]));
            }
        });
        Self { dim: map.dim, len: map.len(), panels, instructions: Instructions::detect() }
    }

    /// Returns, for each pixel of `queries` in `pixels`, the index of the descriptor here with the
    /// largest dot product, the first of equals. The result does not depend on the number of
    /// threads.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where the descriptors differ in length.
    pub fn nearest(&self, queries: &DescriptorMap<'_>, pixels: &[u32]) -> Result<Vec<u32>> {
        if queries.dim != self.dim {
            return Err(Error::ShapeMismatch {
                what: "numbers of a descriptor",
                expected: self.dim.to_string(),
                found: queries.dim.to_string(),
            });
        }
        let rows = self.gather(queries, pixels);
        let blocks = self.best_blocks(&rows);
        let nearest = pixels.par_iter().zip(&blocks);
        Ok(nearest.map(|(&p, best)| self.first_best(queries.at(p as usize), best.block)).collect())
    }

    /// The descriptors of `pixels`, filled up to whole groups of [`QUERIES`].
    fn gather(&self, queries: &DescriptorMap<'_>, pixels: &[u32]) -> Vec<f32> {
        let mut rows = Vec::with_capacity(pixels.len().next_multiple_of(QUERIES) * self.dim);
        pixels.iter().for_each(|&p| rows.extend_from_slice(queries.at(p as usize)));
        rows.resize(pixels.len().next_multiple_of(QUERIES) * self.dim, 0.0);
        rows
    }

    /// The first block that holds the largest score of each query.
    fn best_blocks(&self, rows: &[f32]) -> Vec<Best> {
        let block_len = BLOCK / LANES * self.dim;
        let blocks = self.panels.len().div_ceil(block_len);
        // Some tasks for each thread; the winner is the same however the blocks are shared out.
        let share = blocks.div_ceil(8 * rayon::current_num_threads()).max(1);
        let nothing = || vec![Best::NONE; rows.len() / self.dim];
        self.panels
            .par_chunks(share * block_len)
            .enumerate()
            .map(|(task, panels)| self.best_of_task(rows, panels, (task * share) as u32))
            .reduce(nothing, |mut a, b| {
                a.iter_mut().zip(b).for_each(|(a, b)| a.keep_better(b));
                a
            })
    }

    fn best_of_task(&self, rows: &[f32], panels: &[Lanes], first_block: u32) -> Vec<Best> {
        let mut maxima = vec![f32::NEG_INFINITY; rows.len() / self.dim];
        let mut best = vec![Best::NONE; maxima.len()];
        for (block, panels) in (first_block..).zip(panels.chunks(BLOCK / LANES * self.dim)) {
            block_maxima(self.instructions, self.dim, rows, panels, &mut maxima);
            for (best, &score) in best.iter_mut().zip(&maxima) {
                best.keep_better(Best { score, block });
            }
        }
        best
    }

    /// The first descriptor of a block with the block's largest score.
    fn first_best(&self, query: &[f32], block: u32) -> u32 {
        let block_len = BLOCK / LANES * self.dim;
        let start = (block as usize * block_len).min(self.panels.len());
        let panels = &self.panels[start..(start + block_len).min(self.panels.len())];
        let mut row = [f32::NEG_INFINITY; BLOCK];
        scores(self.instructions, query, panels, &mut row);
        let mut best = (f32::NEG_INFINITY, 0);
        for (column, &score) in row.iter().enumerate() {
            if score > best.0 {
                best = (score, column);
            }
        }
        (block as usize * BLOCK + best.1).min(self.len - 1) as u32
    }
}

/// The largest score so far and the block it is in.
#[derive(Debug, Clone, Copy)]
struct Best {
    score: f32,
    block: u32,
}

impl Best {
    /// What a query has that no score is a number of: the first block.
    const NONE: Self = Self { score: f32::NEG_INFINITY, block: 0 };

    /// Keeps the larger score, of equals that of the lower block.
    fn keep_better(&mut self, other: Self) {
        let tie = other.score.total_cmp(&self.score).is_eq() && other.block < self.block;
        if other.score > self.score || tie {
            *self = other;
        }
    }
}
