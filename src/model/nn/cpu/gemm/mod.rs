//! The matrix product `x · wᵀ`, blocked for the caches.
//!
//! A block of `x` is packed for the second cache, and the weights stream past it in panels that
//! were laid out when they were loaded. Each number of the result is summed over the same stretches
//! of depth in the same order whatever the blocks and threads, so results do not depend on either.
#![allow(unsafe_code)]

mod finish;
mod integers;
mod pack;
mod panels;
mod tile;

use std::ops::Range;

use rayon::prelude::*;

use self::tile::{Target, tile};
use super::scratch;
use super::shared::Shared;
use super::simd::{Kernel, MAX_LANES, Simd, dispatch_at};

pub use finish::{Finish, Then, in_place, load_at};
pub use integers::{IntegerPanels, multiply_integers};
pub use pack::{Dense, Rows, pack};
pub use panels::{Matrix, Panels, Q8_BLOCK};
pub use tile::{Operands, tile_into};

/// Depths that are summed in registers before they go to memory.
const DEPTH_BLOCK: usize = pack::MAX_DEPTH;
/// Rows of `x` whose packed block fits the second cache. Smaller ones make work for more threads.
const ROW_BLOCKS: [usize; 3] = [192, 96, 48];

/// Returns `left · weightsᵀ`, finished, as `[rows, outputs]`.
pub fn multiply<R: Rows>(left: &R, rows: usize, weights: &Panels, finish: Finish<'_>) -> Vec<f32> {
    let columns = weights.outputs();
    assert_eq!(left.depth(), weights.depth(), "the operands' depths differ");
    finish.check(rows, columns);
    let mut out = Vec::with_capacity(rows * columns);
    let product = Product { left, weights, finish, rows, columns, out: Shared(out.as_mut_ptr()) };
    let (row_block, panel_block) = product.blocks();
    let row_blocks = rows.div_ceil(row_block);
    let panels = columns.div_ceil(weights.width());
    let tasks = (0..row_blocks * panels.div_ceil(panel_block)).into_par_iter();
    // Each by itself, so that a thread that is done early can take any of them over.
    tasks.with_max_len(1).for_each(|task| {
        let (row, panel) = (task % row_blocks * row_block, task / row_blocks * panel_block);
        let block = Block {
            product: &product,
            rows: row..rows.min(row + row_block),
            panels: panel..panels.min(panel + panel_block),
        };
        dispatch_at(weights.level(), block);
    });
    // SAFETY: the blocks cover the matrix, and each wrote all of its numbers.
    unsafe { out.set_len(rows * columns) };
    out
}

struct Product<'a, R> {
    left: &'a R,
    weights: &'a Panels,
    finish: Finish<'a>,
    rows: usize,
    columns: usize,
    out: Shared,
}

impl<R> Product<'_, R> {
    /// Rows and panels of a block: the largest that leave each thread several and all threads equally
    /// many, so that all end together.
    fn blocks(&self) -> (usize, usize) {
        let panels = self.columns.div_ceil(self.weights.width()).max(1);
        let threads = rayon::current_num_threads();
        let tasks = 4 * threads;
        let most = ROW_BLOCKS[0];
        let even = self.rows.div_ceil(self.rows.div_ceil(most).max(1)).max(1);
        let rows = ROW_BLOCKS
            .into_iter()
            .find(|block| self.rows.div_ceil(*block) * panels.div_ceil(8) >= tasks)
            .map_or(even, |block| block.min(even));
        let row_blocks = self.rows.div_ceil(rows).max(1);
        let columns = tasks.div_ceil(row_blocks);
        let shared_evenly = |columns: &usize| (columns * row_blocks).is_multiple_of(threads);
        let columns = (columns..columns + threads).find(shared_evenly).unwrap_or(columns);
        (rows, panels.div_ceil(columns).max(panels.min(4)))
    }
}

/// What one thread computes at a time.
struct Block<'a, R> {
    product: &'a Product<'a, R>,
    rows: Range<usize>,
    panels: Range<usize>,
}

impl<R: Rows> Kernel for Block<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Product { weights, columns, .. } = *self.product;
        let depth = weights.depth();
        let packed = self.rows.len() * DEPTH_BLOCK.min(depth) + MAX_LANES;
        let widened = DEPTH_BLOCK.min(depth) * weights.width();
        let mut room = scratch::take(packed + widened);
        let (packed, widened) = room.split_at_mut(packed);
        for start in (0..depth.max(1)).step_by(DEPTH_BLOCK) {
            let depths = start..depth.min(start + DEPTH_BLOCK);
            self.pack(s, depths.clone(), packed);
            for panel in self.panels.clone() {
                let b = weights.block(s, panel, depths.clone(), widened);
                self.panel(s, (packed, b), panel * weights.width(), depths.clone());
            }
        }
        scratch::give_back(room);
        let first = self.panels.start * weights.width();
        let last = columns.min(self.panels.end * weights.width());
        for row in self.rows.clone() {
            let start = row * columns + first;
            // SAFETY: inside this block's part of the result, which was written above.
            let values = unsafe {
                std::slice::from_raw_parts_mut(self.product.out.0.add(start), last - first)
            };
            self.product.finish.apply(s, start, columns, values);
        }
    }
}

impl<R: Rows> Block<'_, R> {
    /// The rows of this block's tiles, which are nearly equal.
    #[inline(always)]
    fn tiles<S: Simd>(&self) -> impl Iterator<Item = Range<usize>> {
        let (start, length) = (self.rows.start, self.rows.len());
        let tiles = length.div_ceil(S::TILE_ROWS);
        (0..tiles).map(move |i| start + i * length / tiles..start + (i + 1) * length / tiles)
    }

    #[inline(always)]
    fn pack<S: Simd>(&self, s: S, depths: Range<usize>, to: &mut [f32]) {
        for rows in self.tiles::<S>() {
            let at = (rows.start - self.rows.start) * depths.len();
            pack(s, self.product.left, rows, depths.clone(), &mut to[at..]);
        }
    }

    /// Multiplies all tiles of the block with one panel.
    #[inline(always)]
    fn panel<S: Simd>(
        &self,
        s: S,
        (packed, b): (&[f32], &[f32]),
        column: usize,
        depths: Range<usize>,
    ) {
        let (depth, add) = (depths.len(), depths.start > 0);
        let columns = self.product.columns;
        for rows in self.tiles::<S>() {
            let a = &packed[(rows.start - self.rows.start) * depth..][..rows.len() * depth];
            let operands = Operands { a, a_step: rows.len(), b, b_step: 2 * S::LANES, depth };
            let start = self.product.out.0.wrapping_add(rows.start * columns + column);
            if column + 2 * S::LANES <= columns {
                // SAFETY: the tile lies inside this block's part of the result.
                unsafe { tile(s, rows.len(), operands, Target { start, step: columns, add }) };
            } else {
                // SAFETY: as above, for the columns that there are.
                unsafe { narrow_tile(s, rows.len(), operands, start, (columns, column, add)) };
            }
        }
    }
}

/// A tile that reaches past the last column.
#[inline(always)]
unsafe fn narrow_tile<S: Simd>(
    s: S,
    rows: usize,
    operands: Operands<'_>,
    to: *mut f32,
    (columns, column, add): (usize, usize, bool),
) {
    let mut whole = [0.0; 12 * 2 * MAX_LANES];
    let step = 2 * S::LANES;
    tile_into(s, rows, operands, &mut whole, (step, false));
    for (row, values) in whole.chunks_exact(step).take(rows).enumerate() {
        for (i, value) in values[..columns - column].iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe {
                let to = to.add(row * columns + i);
                *to = if add { *to + value } else { *value };
            }
        }
    }
}
