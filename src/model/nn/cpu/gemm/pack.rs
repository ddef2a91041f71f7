//! The left operand, laid out as the register tile reads it.

use std::ops::Range;

use super::super::simd::{MAX_LANES, Simd};

/// The most depths that are packed at once.
pub const MAX_DEPTH: usize = 512;

static ZEROS: [f32; MAX_DEPTH] = [0.0; MAX_DEPTH];

/// Rows of a matrix that may lie anywhere, piece by piece: a convolution's rows are the
/// neighbourhoods of pixels, and exist nowhere as a whole.
pub trait Rows: Sync {
    /// Returns the length of a row.
    fn depth(&self) -> usize;
    /// Returns where the piece that begins at `depth` ends, the same for all rows.
    fn piece_end(&self, depth: usize) -> usize;
    /// Returns `length` numbers of a piece from `depth` on, or `None` if they are zeros.
    fn piece(&self, row: usize, depth: usize, length: usize) -> Option<&[f32]>;
    /// Returns whether negative numbers count as zero.
    fn rectified(&self) -> bool {
        false
    }
}

/// The rows of a row-major matrix.
#[derive(Clone, Copy)]
pub struct Dense<'a> {
    /// The numbers.
    pub values: &'a [f32],
    /// The length of a row.
    pub depth: usize,
}

impl Rows for Dense<'_> {
    fn depth(&self) -> usize {
        self.depth
    }
    fn piece_end(&self, _: usize) -> usize {
        self.depth
    }
    fn piece(&self, row: usize, depth: usize, length: usize) -> Option<&[f32]> {
        Some(&self.values[row * self.depth + depth..][..length])
    }
}

/// Writes `rows` of `left` as `[depth][row]`. `to` has room for one more vector, which is spoilt.
#[inline(always)]
pub fn pack<S: Simd, R: Rows>(
    s: S,
    left: &R,
    rows: Range<usize>,
    depths: Range<usize>,
    to: &mut [f32],
) {
    let mut depth = depths.start;
    while depth < depths.end {
        let end = left.piece_end(depth).min(depths.end);
        let length = end - depth;
        let pieces: [&[f32]; MAX_LANES] = std::array::from_fn(|i| {
            let row = rows.start + i;
            let piece = if row < rows.end { left.piece(row, depth, length) } else { None };
            piece.unwrap_or(&ZEROS[..length])
        });
        let to = &mut to[(depth - depths.start) * rows.len()..];
        if left.rectified() {
            interleave(
                s,
                &pieces,
                rows.len(),
                #[inline(always)]
                |v| s.max(v, s.splat(0.0)),
                to,
            );
        } else {
            interleave(
                s,
                &pieces,
                rows.len(),
                #[inline(always)]
                |v| v,
                to,
            );
        }
        depth = end;
    }
}

/// Writes `pieces` as columns, `count` to a row; what a vector has beyond is overwritten by the
/// next. A tile has no more rows than a vector has lanes.
#[inline(always)]
fn interleave<S: Simd>(
    s: S,
    pieces: &[&[f32]; MAX_LANES],
    count: usize,
    map: impl Fn(S::V) -> S::V,
    to: &mut [f32],
) {
    let length = pieces[0].len();
    let whole = length - length % S::LANES;
    let mut block = [s.splat(0.0); MAX_LANES];
    let mut padded = [0.0; MAX_LANES];
    for depth in (0..length).step_by(S::LANES) {
        for (row, piece) in block[..S::LANES].iter_mut().zip(pieces) {
            *row = if depth < whole {
                map(s.load(&piece[depth..]))
            } else {
                padded[..length - depth].copy_from_slice(&piece[depth..]);
                map(s.load(&padded))
            };
        }
        s.transpose(&mut block);
        for (i, row) in block[..S::LANES.min(length - depth)].iter().enumerate() {
            s.store(*row, &mut to[(depth + i) * count..]);
        }
    }
}
