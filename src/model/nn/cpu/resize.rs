//! Bilinear resizing of `[N, H, W, C]` maps, corners on corners.

use rayon::prelude::*;

use super::gemm::{in_place, load_at};
use super::scratch;
use super::simd::{Kernel, Level, Simd, dispatch_at};

/// Height, width and channels of a map.
pub type MapSize = [usize; 3];

/// Writes to `to` `[N, height, width, C]` the maps `from`, of size `size`.
pub fn resize(
    from: &[f32],
    size: MapSize,
    to: &mut [f32],
    (height, width): (usize, usize),
    level: Level,
) {
    let [rows, columns, channels] = size;
    let (map, row) = (rows * columns * channels, width * channels);
    if map == 0 || row == 0 || height == 0 {
        return;
    }
    let (vertical, horizontal) = (positions(rows, height), positions(columns, width));
    to.par_chunks_mut(row).enumerate().for_each(|(i, to)| {
        let from = &from[i / height * map..][..map];
        let position = vertical[i % height];
        let horizontal = &horizontal;
        dispatch_at(level, Row { from, size, to, vertical: position, horizontal });
    });
}

/// Where an output lies between two inputs: the first, the second, and how far it is from the first.
#[derive(Debug, Clone, Copy)]
struct Position {
    first: usize,
    second: usize,
    fraction: f32,
}

fn positions(from: usize, to: usize) -> Vec<Position> {
    let step = if to > 1 { (from - 1) as f64 / (to - 1) as f64 } else { 0.0 };
    let position = |i: usize| {
        let at = i as f64 * step;
        let first = (at as usize).min(from - 1);
        Position { first, second: (first + 1).min(from - 1), fraction: (at - first as f64) as f32 }
    };
    (0..to).map(position).collect()
}

/// One row of the result.
struct Row<'a> {
    from: &'a [f32],
    size: MapSize,
    to: &'a mut [f32],
    vertical: Position,
    horizontal: &'a [Position],
}

impl Kernel for Row<'_> {
    type Output = ();

    /// Blends two rows of the source, then pairs of their pixels.
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let [_, columns, channels] = self.size;
        let length = columns * channels;
        let row = |i: usize| &self.from[i * length..][..length];
        let (top, bottom) = (row(self.vertical.first), row(self.vertical.second));
        let mut room = scratch::take(length);
        let blended = &mut room[..length];
        let fraction = s.splat(self.vertical.fraction);
        in_place(
            s,
            blended,
            #[inline(always)]
            |i, _| {
                let x = load_at(s, top, i);
                s.fma(s.sub(load_at(s, bottom, i), x), fraction, x)
            },
        );
        let blended = &*blended;
        for (to, at) in self.to.chunks_exact_mut(channels).zip(self.horizontal) {
            let left = &blended[at.first * channels..][..channels];
            let right = &blended[at.second * channels..][..channels];
            let fraction = s.splat(at.fraction);
            in_place(
                s,
                to,
                #[inline(always)]
                |i, _| {
                    let x = load_at(s, left, i);
                    s.fma(s.sub(load_at(s, right, i), x), fraction, x)
                },
            );
        }
        scratch::give_back(room);
    }
}
