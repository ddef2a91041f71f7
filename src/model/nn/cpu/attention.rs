//! Attention without a score matrix in memory.
//!
//! One tile of queries at a time passes over the keys in blocks; scores stay in the first caches,
//! and the softmax is kept up to date as larger scores come (the online softmax of Milakov and
//! Gimelshein 2018). Scores are held as `[key][query]`, so that the softmax runs down columns and
//! the score block is already the packed left operand of the product with the values.
#![allow(unsafe_code)]

use rayon::prelude::*;

use super::gemm::{Operands, Rows, in_place, pack, tile_into};
use super::math;
use super::scratch;
use super::shared::Shared;
use super::simd::{Kernel, Level, MAX_LANES, Simd, dispatch_at};

/// Keys of a block; a multiple of all tile heights.
const KEYS: usize = 96;

/// Vectors of `head_dim` numbers at `(batch, token, head)`, anywhere in a larger tensor.
#[derive(Clone, Copy)]
pub struct Heads<'a> {
    /// The tensor.
    pub values: &'a [f32],
    /// Numbers from one batch, token and head to the next.
    pub strides: [usize; 3],
    /// How many tokens there are.
    pub tokens: usize,
}

impl Heads<'_> {
    #[inline(always)]
    fn at(&self, batch: usize, token: usize, head: usize, head_dim: usize) -> &[f32] {
        let [b, t, h] = self.strides;
        &self.values[batch * b + token * t + head * h..][..head_dim]
    }
}

/// What is attended to: sizes and the scale of scores.
#[derive(Debug, Clone, Copy)]
pub struct AttentionShape {
    /// Independent sequences.
    pub batch: usize,
    /// Heads.
    pub heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// What scores are multiplied by.
    pub scale: f32,
}

/// Returns `softmax(scale · q kᵀ) v` as `[batch, token, head, head_dim]`.
pub fn attention([q, k, v]: [Heads<'_>; 3], shape: AttentionShape, level: Level) -> Vec<f32> {
    let AttentionShape { batch, heads, head_dim, .. } = shape;
    let mut out = vec![0.0; batch * q.tokens * heads * head_dim];
    if out.is_empty() || k.tokens == 0 {
        return out;
    }
    let width = head_dim.next_multiple_of(level.tile_columns());
    let keys = k.tokens;
    let padded = keys.next_multiple_of(KEYS);
    let length = (padded * head_dim + MAX_LANES) + keys * width;
    let mut packed = vec![0.0; batch * heads * length];
    packed.par_chunks_mut(length).enumerate().for_each(|(i, to)| {
        let (keys, values) = to.split_at_mut(padded * head_dim + MAX_LANES);
        let at = (i / heads, i % heads);
        dispatch_at(level, PackHead { k, v, at, head_dim, width, keys, values });
    });
    let tiles = q.tokens.div_ceil(level.tile_columns());
    let out_pointer = Shared(out.as_mut_ptr());
    (0..batch * heads * tiles).into_par_iter().for_each(|task| {
        let (head, first) = (task / tiles, task % tiles * level.tile_columns());
        let (keys, values) =
            packed[head * length..][..length].split_at(padded * head_dim + MAX_LANES);
        let at = (head / heads, head % heads);
        let out = out_pointer;
        dispatch_at(
            level,
            QueryTile { q, shape, at, first, keys, values, width, tokens: k.tokens, out },
        );
    });
    out
}

/// Lays out one head's keys as left operands and its values as rows of whole vectors.
struct PackHead<'a, 'b> {
    k: Heads<'a>,
    v: Heads<'a>,
    at: (usize, usize),
    head_dim: usize,
    width: usize,
    keys: &'b mut [f32],
    values: &'b mut [f32],
}

/// The keys of one head, as rows.
struct KeyRows<'a> {
    k: Heads<'a>,
    at: (usize, usize),
    head_dim: usize,
}

impl Rows for KeyRows<'_> {
    fn depth(&self) -> usize {
        self.head_dim
    }
    #[inline(always)]
    fn piece_end(&self, depth: usize) -> usize {
        self.head_dim.min(depth + 256)
    }
    #[inline(always)]
    fn piece(&self, row: usize, depth: usize, length: usize) -> Option<&[f32]> {
        let (batch, head) = self.at;
        (row < self.k.tokens)
            .then(|| &self.k.at(batch, row, head, self.head_dim)[depth..depth + length])
    }
}

impl Kernel for PackHead<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rows = KeyRows { k: self.k, at: self.at, head_dim: self.head_dim };
        let tokens = self.k.tokens;
        for first in (0..tokens).step_by(S::TILE_ROWS) {
            let to = &mut self.keys[first * self.head_dim..];
            pack(s, &rows, first..first + S::TILE_ROWS, 0..self.head_dim, to);
        }
        let (batch, head) = self.at;
        for (token, to) in self.values.chunks_exact_mut(self.width).enumerate() {
            to[..self.head_dim].copy_from_slice(self.v.at(batch, token, head, self.head_dim));
        }
    }
}

/// One tile of queries of one head.
struct QueryTile<'a> {
    q: Heads<'a>,
    shape: AttentionShape,
    at: (usize, usize),
    first: usize,
    /// `[tile of keys][head_dim][key]`.
    keys: &'a [f32],
    /// `[key][width]`.
    values: &'a [f32],
    width: usize,
    tokens: usize,
    out: Shared,
}

/// Where a tile works: scaled queries, scores, sums of values, and for each query the largest score,
/// the sum of exponentials and the last correction.
struct Room<'a> {
    queries: &'a mut [f32],
    scores: &'a mut [f32],
    sums: &'a mut [f32],
    largest: &'a mut [f32],
    weights: &'a mut [f32],
    correction: &'a mut [f32],
}

impl Kernel for QueryTile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let columns = 2 * S::LANES;
        let dim = self.shape.head_dim;
        let mut room = scratch::take((dim + KEYS + self.width + 3) * columns + MAX_LANES);
        let (queries, rest) = room.split_at_mut(dim * columns + MAX_LANES);
        let (scores, rest) = rest.split_at_mut(KEYS * columns);
        let (sums, rest) = rest.split_at_mut(self.width * columns);
        let (largest, rest) = rest.split_at_mut(columns);
        let (weights, correction) = rest.split_at_mut(columns);
        let mut tile = Room { queries, scores, sums, largest, weights, correction };
        self.start(s, &mut tile);
        for key in (0..self.tokens).step_by(KEYS) {
            let keys = KEYS.min(self.tokens - key);
            self.scores(s, &mut tile, key, keys);
            softmax(s, &mut tile, keys);
            self.add_values(s, &mut tile, key, keys);
        }
        self.finish(s, &mut tile);
        scratch::give_back(room);
    }
}

impl QueryTile<'_> {
    #[inline(always)]
    fn count(&self, columns: usize) -> usize {
        columns.min(self.q.tokens - self.first)
    }

    #[inline(always)]
    fn start<S: Simd>(&self, s: S, room: &mut Room<'_>) {
        let (columns, dim) = (2 * S::LANES, self.shape.head_dim);
        let (batch, head) = self.at;
        room.queries[..dim * columns].fill(0.0);
        for i in 0..self.count(columns) {
            let query = self.q.at(batch, self.first + i, head, dim);
            for (x, to) in query.iter().zip(room.queries[i..].iter_mut().step_by(columns)) {
                *to = x * self.shape.scale;
            }
        }
        room.sums.fill(0.0);
        in_place(
            s,
            room.largest,
            #[inline(always)]
            |_, _| s.splat(f32::MIN),
        );
        room.weights[..columns].fill(0.0);
    }

    /// Scores of a block of keys, `[key][query]`.
    #[inline(always)]
    fn scores<S: Simd>(&self, s: S, room: &mut Room<'_>, key: usize, keys: usize) {
        let (columns, dim) = (2 * S::LANES, self.shape.head_dim);
        for first in (0..keys).step_by(S::TILE_ROWS) {
            let operands = Operands {
                a: &self.keys[(key + first) * dim..][..S::TILE_ROWS * dim],
                a_step: S::TILE_ROWS,
                b: &room.queries[..dim * columns],
                b_step: columns,
                depth: dim,
            };
            let to = &mut room.scores[first * columns..][..S::TILE_ROWS * columns];
            tile_into(s, S::TILE_ROWS, operands, to, (columns, false));
        }
    }

    /// Adds the block's weighted values to the sums, `[query][width]`.
    #[inline(always)]
    fn add_values<S: Simd>(&self, s: S, room: &mut Room<'_>, key: usize, keys: usize) {
        let (columns, width) = (2 * S::LANES, self.width);
        let values = &self.values[key * width..][..keys * width];
        for (sums, correction) in room.sums.chunks_exact_mut(width).zip(&room.correction[..columns])
        {
            let correction = s.splat(*correction);
            in_place(
                s,
                sums,
                #[inline(always)]
                |_, x| s.mul(x, correction),
            );
        }
        let count = self.count(columns);
        for row in (0..count).step_by(S::TILE_ROWS) {
            let rows = S::TILE_ROWS.min(count - row);
            for column in (0..width).step_by(columns) {
                let operands = Operands {
                    a: &room.scores[row..keys * columns],
                    a_step: columns,
                    b: &values[column..],
                    b_step: width,
                    depth: keys,
                };
                let to = &mut room.sums[row * width + column..];
                tile_into(s, rows, operands, to, (width, true));
            }
        }
    }

    #[inline(always)]
    fn finish<S: Simd>(&self, s: S, room: &mut Room<'_>) {
        let AttentionShape { heads, head_dim, .. } = self.shape;
        let (batch, head) = self.at;
        for i in 0..self.count(2 * S::LANES) {
            let sums = &mut room.sums[i * self.width..][..head_dim];
            let scale = s.splat(1.0 / room.weights[i]);
            in_place(
                s,
                sums,
                #[inline(always)]
                |_, x| s.mul(x, scale),
            );
            let token = batch * self.q.tokens + self.first + i;
            let at = (token * heads + head) * head_dim;
            // SAFETY: inside the result; this head of this query is this task's alone.
            let to = unsafe { std::slice::from_raw_parts_mut(self.out.0.add(at), head_dim) };
            to.copy_from_slice(sums);
        }
    }
}

/// Turns scores into exponentials, and brings largest scores, sums and corrections up to date.
#[inline(always)]
fn softmax<S: Simd>(s: S, room: &mut Room<'_>, keys: usize) {
    let columns = 2 * S::LANES;
    for lane in [0, S::LANES] {
        let before = s.load(&room.largest[lane..]);
        let mut largest = before;
        for row in room.scores.chunks_exact(columns).take(keys) {
            largest = s.max(largest, s.load(&row[lane..]));
        }
        s.store(largest, &mut room.largest[lane..]);
        let correction = math::exp(s, s.sub(before, largest));
        s.store(correction, &mut room.correction[lane..]);
        let mut sum = s.mul(s.load(&room.weights[lane..]), correction);
        for row in room.scores.chunks_exact_mut(columns).take(keys) {
            let weight = math::exp(s, s.sub(s.load(&row[lane..]), largest));
            s.store(weight, &mut row[lane..]);
            sum = s.add(sum, weight);
        }
        s.store(sum, &mut room.weights[lane..]);
    }
}
