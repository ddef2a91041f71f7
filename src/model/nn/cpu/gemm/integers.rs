//! Products with q8_0 weights in whole numbers, for processors with AVX-512 VNNI.
//!
//! The left operand becomes whole numbers of 16 bits with a scale for each 32 of a row, as the
//! weights are whole numbers of 8 bits; that rounds a 256th as much as the weights were rounded.
//! 32 products are summed without any error, then scaled and added up in f32, always in the same
//! order.
#![allow(unsafe_code)]

mod tile;

use std::ops::Range;

use half::f16;
use rayon::prelude::*;

use self::tile::{Panel, Row, TILE_ROWS, WIDTH, has_dot_products, tile};
use super::Shared;
use super::finish::Finish;
use super::pack::Rows;
use super::panels::Q8_BLOCK;
use crate::model::nn::cpu::simd::{Kernel, Level, Simd, dispatch_at};

/// Numbers of the left operand that fit the second cache, beside a panel.
const CACHED: usize = 128 * 1024;

/// A matrix `[outputs, depth]` of q8_0.
#[derive(Clone)]
pub struct IntegerPanels {
    outputs: usize,
    depth: usize,
    /// `[panel][depth / 2][output][2]`; the last panel is filled up with zeros.
    numbers: Vec<i8>,
    /// `[panel][block of depths][output]`.
    scales: Vec<f16>,
}

impl std::fmt::Debug for IntegerPanels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = self.numbers.len() + 2 * self.scales.len();
        write!(f, "IntegerPanels({} × {}, {bytes} bytes)", self.outputs, self.depth)
    }
}

impl IntegerPanels {
    /// Returns whether this machine computes faster with them than with [`super::Panels`].
    pub fn are_fast() -> bool {
        Level::best() == Level::Avx512 && has_dot_products()
    }

    /// Returns the matrix of `numbers` `[outputs, depth]` and `scales` `[outputs, depth / 32]`; the
    /// depth is a multiple of 32.
    pub fn new(numbers: &[i8], scales: &[f16], outputs: usize, depth: usize) -> Self {
        assert!(depth > 0 && depth.is_multiple_of(Q8_BLOCK), "q8_0 has no rows of {depth} numbers");
        let blocks = depth / Q8_BLOCK;
        let panels = outputs.div_ceil(WIDTH);
        let mut panel_numbers = vec![0; panels * WIDTH * depth];
        let mut panel_scales = vec![f16::ZERO; panels * WIDTH * blocks];
        panel_numbers
            .par_chunks_mut(WIDTH * depth)
            .zip(numbers.par_chunks(WIDTH * depth))
            .for_each(|(to, from)| interleave(to, from, depth));
        let chunks = panel_scales.chunks_mut(WIDTH * blocks).zip(scales.chunks(WIDTH * blocks));
        for (to, from) in chunks {
            for (output, row) in from.chunks_exact(blocks).enumerate() {
                let to = to.iter_mut().skip(output).step_by(WIDTH);
                row.iter().zip(to).for_each(|(scale, to)| *to = *scale);
            }
        }
        Self { outputs, depth, numbers: panel_numbers, scales: panel_scales }
    }

    /// Returns the columns of the product.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Returns how many products each number sums.
    pub fn depth(&self) -> usize {
        self.depth
    }

    fn panel(&self, panel: usize) -> Panel<'_> {
        let scales = WIDTH * self.depth / Q8_BLOCK;
        Panel {
            numbers: &self.numbers[panel * WIDTH * self.depth..][..WIDTH * self.depth],
            scales: &self.scales[panel * scales..][..scales],
        }
    }
}

/// Returns `left · weightsᵀ`, finished, as `[rows, outputs]`.
pub fn multiply_integers<R: Rows>(
    left: &R,
    rows: usize,
    weights: &IntegerPanels,
    finish: Finish<'_>,
) -> Vec<f32> {
    let columns = weights.outputs;
    assert_eq!(left.depth(), weights.depth, "the operands' depths differ");
    finish.check(rows, columns);
    let left = IntegerRows::new(left, rows);
    let mut out = Vec::with_capacity(rows * columns);
    let to = Shared(out.as_mut_ptr());
    let row_block = (CACHED / weights.depth / TILE_ROWS * TILE_ROWS).clamp(TILE_ROWS, 192);
    let row_blocks = rows.div_ceil(row_block);
    let panels = columns.div_ceil(WIDTH);
    let groups = (4 * rayon::current_num_threads()).div_ceil(row_blocks.max(1));
    let panel_block = panels.div_ceil(groups).max(panels.min(4)).max(1);
    let tasks = (0..row_blocks * panels.div_ceil(panel_block)).into_par_iter();
    tasks.with_max_len(1).for_each(|task| {
        let (row, panel) = (task % row_blocks * row_block, task / row_blocks * panel_block);
        let block = Block {
            left: &left,
            weights,
            finish,
            rows: row..rows.min(row + row_block),
            panels: panel..panels.min(panel + panel_block),
            out: to,
        };
        dispatch_at(Level::best(), block);
    });
    // SAFETY: the blocks cover the matrix, and each wrote all of its numbers.
    unsafe { out.set_len(rows * columns) };
    out
}

/// The left operand in whole numbers.
struct IntegerRows {
    depth: usize,
    /// `[row][depth]`.
    numbers: Vec<i16>,
    /// `[row][block of depths]`.
    scales: Vec<f32>,
}

impl IntegerRows {
    fn new<R: Rows>(left: &R, rows: usize) -> Self {
        let depth = left.depth();
        let blocks = depth / Q8_BLOCK;
        let (mut numbers, mut scales) = (vec![0; rows * depth], vec![0.0; rows * blocks]);
        let tasks = numbers.par_chunks_mut(depth).zip(scales.par_chunks_mut(blocks)).enumerate();
        tasks.for_each(|(row, (numbers, scales))| {
            dispatch_at(Level::best(), Reduce { left, row, numbers, scales });
        });
        Self { depth, numbers, scales }
    }

    /// Some rows of a tile; those beyond the last repeat it.
    fn rows(&self, rows: Range<usize>) -> [Row<'_>; TILE_ROWS] {
        std::array::from_fn(|i| self.row(rows.start + i.min(rows.len() - 1)))
    }

    fn row(&self, row: usize) -> Row<'_> {
        let blocks = self.depth / Q8_BLOCK;
        (&self.numbers[row * self.depth..][..self.depth], &self.scales[row * blocks..][..blocks])
    }
}

/// Brings a row into whole numbers.
struct Reduce<'a, R> {
    left: &'a R,
    row: usize,
    numbers: &'a mut [i16],
    scales: &'a mut [f32],
}

impl<R: Rows> Kernel for Reduce<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let blocks = self.numbers.chunks_exact_mut(Q8_BLOCK).zip(self.scales);
        for (block, (numbers, scale)) in blocks.enumerate() {
            let values = values(self.left, self.row, block * Q8_BLOCK);
            let largest = values.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            // Not a number where one of the values is none, or infinite: that must not get lost.
            let poison: f32 = values.iter().map(|x| x * 0.0).sum();
            let inverse = if largest > 0.0 { f32::from(i16::MAX) / largest } else { 0.0 };
            *scale = largest / f32::from(i16::MAX) + poison;
            for (to, x) in numbers.iter_mut().zip(values) {
                // At this magnitude the last bits of a float are the nearest whole number.
                *to = (x * inverse + 12_582_912.0).to_bits() as i16;
            }
        }
    }
}

/// The 32 numbers of a row from `start` on.
#[inline(always)]
fn values<R: Rows>(left: &R, row: usize, start: usize) -> [f32; Q8_BLOCK] {
    let mut values = [0.0; Q8_BLOCK];
    let mut at = 0;
    while at < Q8_BLOCK {
        let end = (left.piece_end(start + at) - start).min(Q8_BLOCK);
        if let Some(piece) = left.piece(row, start + at, end - at) {
            values[at..end].copy_from_slice(piece);
        }
        at = end;
    }
    if left.rectified() {
        values = values.map(|x| x.max(0.0));
    }
    values
}

/// What one thread computes at a time.
struct Block<'a> {
    left: &'a IntegerRows,
    weights: &'a IntegerPanels,
    finish: Finish<'a>,
    rows: Range<usize>,
    panels: Range<usize>,
    out: Shared,
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let columns = self.weights.outputs;
        for panel in self.panels.clone() {
            let (weights, first) = (self.weights.panel(panel), panel * WIDTH);
            let width = WIDTH.min(columns - first);
            for row in self.rows.clone().step_by(TILE_ROWS) {
                let count = TILE_ROWS.min(self.rows.end - row);
                let sums = tile(self.left.rows(row..row + count), weights);
                for (i, sums) in sums[..count].iter().enumerate() {
                    self.segment(row + i, first..first + width).copy_from_slice(&sums[..width]);
                }
            }
        }
        let span = self.panels.start * WIDTH..columns.min(self.panels.end * WIDTH);
        for row in self.rows.clone() {
            let start = row * columns + span.start;
            self.finish.apply(s, start, columns, self.segment(row, span.clone()));
        }
    }
}

impl Block<'_> {
    /// Part of a row of the result, which is this block's alone.
    #[inline(always)]
    #[allow(
        clippy::mut_from_ref,
        reason = "no two blocks share a part, and each uses one at a time"
    )]
    fn segment(&self, row: usize, span: Range<usize>) -> &mut [f32] {
        let start = row * self.weights.outputs + span.start;
        // SAFETY: inside the result and inside this block.
        unsafe { std::slice::from_raw_parts_mut(self.out.0.add(start), span.len()) }
    }
}

/// Writes rows of a panel as pairs of depths, all outputs of a pair side by side.
fn interleave(to: &mut [i8], from: &[i8], depth: usize) {
    for (output, row) in from.chunks_exact(depth).enumerate() {
        let pairs = to[2 * output..].chunks_mut(2 * WIDTH);
        for (pair, to) in row.chunks_exact(2).zip(pairs) {
            to[..2].copy_from_slice(pair);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tiles_are_the_same_to_rounding() {
        let depth = 4 * Q8_BLOCK;
        let number = |i: usize| (i * 7919 % 255) as i32 - 127;
        let numbers: Vec<i8> = (0..40 * depth).map(|i| number(i) as i8).collect();
        let scales: Vec<f16> =
            (0..40 * 4).map(|i| f16::from_f32(0.01 + 0.001 * (i % 7) as f32)).collect();
        let panels = IntegerPanels::new(&numbers, &scales, 40, depth);
        let values: Vec<f32> = (0..4 * depth).map(|i| number(i * 31 + 5) as f32 * 0.37).collect();
        let left = IntegerRows::new(&super::super::Dense { values: &values, depth }, 4);
        for panel in 0..2 {
            let panel = panels.panel(panel);
            let rows = left.rows(0..4);
            let (found, plain) = (tile(rows, panel), tile::plain(rows, panel));
            for (a, b) in found.iter().flatten().zip(plain.iter().flatten()) {
                assert!((a - b).abs() <= 1e-5 * (1.0 + b.abs()), "{a} and {b}");
            }
        }
    }
}
