//! What is done to a product before it leaves the cache.

use super::super::math;
use super::super::simd::{MAX_LANES, Simd};

/// What follows the bias.
#[derive(Clone, Copy)]
pub enum Then<'a> {
    /// Nothing.
    Nothing,
    /// max(x, 0).
    Relu,
    /// The exact GELU.
    Gelu,
    /// The sum with a matrix of the same shape.
    Add(&'a [f32]),
    /// The sum of such a matrix and the product with a scale for each column.
    ScaleAdd {
        /// One for each column.
        scale: &'a [f32],
        /// The matrix.
        to: &'a [f32],
    },
}

/// The end of a matrix product: bias, then one thing more.
#[derive(Clone, Copy)]
pub struct Finish<'a> {
    /// One for each column.
    pub bias: Option<&'a [f32]>,
    /// What follows.
    pub then: Then<'a>,
}

impl Finish<'_> {
    /// Panics where a part does not fit a result of `rows` by `columns`.
    pub fn check(&self, rows: usize, columns: usize) {
        assert!(self.bias.is_none_or(|bias| bias.len() == columns), "the bias has another width");
        match self.then {
            Then::Add(to) => assert_eq!(to.len(), rows * columns, "the sum has another shape"),
            Then::ScaleAdd { scale, to } => {
                assert_eq!(scale.len(), columns, "the scale has another width");
                assert_eq!(to.len(), rows * columns, "the sum has another shape");
            }
            Then::Nothing | Then::Relu | Then::Gelu => {}
        }
    }

    /// Finishes `values`, which begin at `start` of the row-major result with `columns` columns.
    #[inline(always)]
    pub fn apply<S: Simd>(&self, s: S, start: usize, columns: usize, values: &mut [f32]) {
        let column = start % columns;
        if let Some(bias) = self.bias {
            in_place(
                s,
                values,
                #[inline(always)]
                |i, x| s.add(x, load_at(s, bias, column + i)),
            );
        }
        match self.then {
            Then::Nothing => {}
            Then::Relu => in_place(
                s,
                values,
                #[inline(always)]
                |_, x| s.max(x, s.splat(0.0)),
            ),
            Then::Gelu => in_place(
                s,
                values,
                #[inline(always)]
                |_, x| math::gelu(s, x),
            ),
            Then::Add(to) => in_place(
                s,
                values,
                #[inline(always)]
                |i, x| s.add(load_at(s, to, start + i), x),
            ),
            Then::ScaleAdd { scale, to } => in_place(
                s,
                values,
                #[inline(always)]
                |i, x| s.fma(x, load_at(s, scale, column + i), load_at(s, to, start + i)),
            ),
        }
    }
}

/// Replaces each vector of `values` by `f(index, vector)`; the last may be filled up.
#[inline(always)]
pub fn in_place<S: Simd>(s: S, values: &mut [f32], f: impl Fn(usize, S::V) -> S::V) {
    let whole = values.len() - values.len() % S::LANES;
    let mut chunks = values.chunks_exact_mut(S::LANES);
    for (i, chunk) in chunks.by_ref().enumerate() {
        s.store(f(i * S::LANES, s.load(chunk)), chunk);
    }
    let rest = chunks.into_remainder();
    if !rest.is_empty() {
        let mut padded = [0.0; MAX_LANES];
        padded[..rest.len()].copy_from_slice(rest);
        s.store(f(whole, s.load(&padded)), &mut padded);
        rest.copy_from_slice(&padded[..rest.len()]);
    }
}

/// Returns the vector of `from` at `at`, filled up with zeros past the end.
#[inline(always)]
pub fn load_at<S: Simd>(s: S, from: &[f32], at: usize) -> S::V {
    let from = &from[at..];
    if from.len() >= S::LANES {
        return s.load(from);
    }
    let mut padded = [0.0; MAX_LANES];
    padded[..from.len()].copy_from_slice(from);
    s.load(&padded)
}
