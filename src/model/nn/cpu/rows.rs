//! Layers that treat each row, or each number, by itself.

use rayon::prelude::*;

use super::gemm::{in_place, load_at};
use super::math;
use super::simd::{Kernel, Level, MAX_LANES, Simd, dispatch_at};

/// Numbers that one task treats, about.
const TASK: usize = 1 << 15;

/// Writes to `to` the exact GELU of each number.
pub fn gelu(from: &[f32], to: &mut [f32], level: Level) {
    let tasks = to.par_chunks_mut(TASK).zip(from.par_chunks(TASK));
    tasks.for_each(|(to, from)| dispatch_at(level, Gelu { from, to }));
}

struct Gelu<'a> {
    from: &'a [f32],
    to: &'a mut [f32],
}

impl Kernel for Gelu<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        in_place(
            s,
            self.to,
            #[inline(always)]
            |i, _| math::gelu(s, load_at(s, self.from, i)),
        );
    }
}

/// Writes to `to` `silu(a)·b` for rows `(a, b)` of twice `half` numbers.
pub fn silu_gate(from: &[f32], to: &mut [f32], half: usize, level: Level) {
    let rows = (TASK / half.max(1)).max(1);
    let tasks = to.par_chunks_mut(rows * half).zip(from.par_chunks(rows * 2 * half));
    tasks.for_each(|(to, from)| dispatch_at(level, SiluGate { from, to, half }));
}

struct SiluGate<'a> {
    from: &'a [f32],
    to: &'a mut [f32],
    half: usize,
}

impl Kernel for SiluGate<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rows = self.from.chunks_exact(2 * self.half);
        for (to, from) in self.to.chunks_exact_mut(self.half).zip(rows) {
            let (a, b) = from.split_at(self.half);
            in_place(
                s,
                to,
                #[inline(always)]
                |i, _| s.mul(math::silu(s, load_at(s, a, i)), load_at(s, b, i)),
            );
        }
    }
}

/// The affine map and the epsilon of a layer normalisation.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// One scale for each column.
    pub weight: &'a [f32],
    /// One summand for each column.
    pub bias: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
}

impl Norm<'_> {
    /// Writes to `to` the rows of `from`, normalised.
    pub fn apply(self, from: &[f32], to: &mut [f32], level: Level) {
        let width = self.weight.len().max(1);
        let task = (TASK / width).max(1) * width;
        let tasks = to.par_chunks_mut(task).zip(from.par_chunks(task));
        tasks.for_each(|(to, from)| dispatch_at(level, NormRows { norm: self, from, to }));
    }
}

struct NormRows<'a> {
    norm: Norm<'a>,
    from: &'a [f32],
    to: &'a mut [f32],
}

impl Kernel for NormRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Norm { weight, bias, epsilon } = self.norm;
        let width = weight.len();
        for (from, to) in self.from.chunks_exact(width).zip(self.to.chunks_exact_mut(width)) {
            let mean = sum(
                s,
                (from, 0.0),
                #[inline(always)]
                |x| x,
            ) / width as f32;
            let negated = s.splat(-mean);
            let squares = sum(
                s,
                (from, mean),
                #[inline(always)]
                |x| {
                    let x = s.add(x, negated);
                    s.mul(x, x)
                },
            );
            let variance = squares / width as f32;
            let scale = s.splat(1.0 / (variance + epsilon).sqrt());
            in_place(
                s,
                to,
                #[inline(always)]
                |i, _| {
                    let x = s.mul(s.add(load_at(s, from, i), negated), scale);
                    s.fma(x, load_at(s, weight, i), load_at(s, bias, i))
                },
            );
        }
    }
}

/// The sum of `f` over a row, filled up to whole vectors, in two chains.
#[inline(always)]
fn sum<S: Simd>(s: S, (row, filler): (&[f32], f32), f: impl Fn(S::V) -> S::V) -> f32 {
    let mut sums = [s.splat(0.0); 2];
    let mut pairs = row.chunks_exact(2 * S::LANES);
    for pair in pairs.by_ref() {
        sums[0] = s.add(sums[0], f(s.load(pair)));
        sums[1] = s.add(sums[1], f(s.load(&pair[S::LANES..])));
    }
    for rest in pairs.remainder().chunks(S::LANES) {
        let mut padded = [filler; MAX_LANES];
        padded[..rest.len()].copy_from_slice(rest);
        sums[0] = s.add(sums[0], f(s.load(&padded)));
    }
    s.sum(s.add(sums[0], sums[1]))
}
