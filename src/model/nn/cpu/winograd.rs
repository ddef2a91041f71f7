//! 3×3 convolutions by minimal filtering: 16 products make four pixels, where 36 would.
//!
//! F(2×2, 3×3) of "Fast Algorithms for Convolutional Neural Networks" (Lavin and Gray, 2016). A tile
//! of 4×4 numbers of each channel is transformed, multiplied with the transformed kernel number by
//! number, summed over the channels, and transformed back to 2×2 pixels. Sums over channels are 16
//! matrix products. Its transforms only add, so that it is as exact as the plain sum.
#![allow(unsafe_code)]

use std::ops::Range;

use rayon::prelude::*;

use super::conv::Neighbourhoods;
use super::gemm::{Finish, Matrix, Operands, Panels, load_at, tile_into};
use super::scratch;
use super::shared::Shared;
use super::simd::{Kernel, Level, MAX_LANES, Simd, dispatch_at};

/// Numbers of a transformed tile, and of a transformed kernel.
const PLACES: usize = 16;
/// Tiles that one thread transforms at a time: few enough for the second cache, and still a good
/// part of the work for each of the weights that stream past. Half as many where threads want more.
const TILE_BLOCK: usize = 24;
/// Rows of the widest register tile.
const MOST_ROWS: usize = 12;

/// The kernels of a convolution, transformed.
#[derive(Debug)]
pub struct Kernels {
    /// One matrix `[outputs, channels]` for each place.
    places: Vec<Panels>,
}

impl Kernels {
    /// Returns the transforms of `weights` `[outputs, 3, 3, channels]` for the instructions of
    /// `level`.
    pub fn new(weights: &[f32], outputs: usize, channels: usize, level: Level) -> Self {
        let mut places = vec![vec![0.0_f32; outputs * channels]; PLACES];
        for (output, kernel) in weights.chunks_exact((9 * channels).max(1)).enumerate() {
            for channel in 0..channels {
                let tap = |i: usize| f64::from(kernel[i * channels + channel]);
                for (place, value) in places.iter_mut().zip(transformed_kernel(tap)) {
                    place[output * channels + channel] = value as f32;
                }
            }
        }
        let panels = |place: Vec<f32>| Panels::new(Matrix::F32(&place), outputs, channels, level);
        Self { places: places.into_iter().map(panels).collect() }
    }

    /// Returns the channels of the result.
    pub fn outputs(&self) -> usize {
        self.places[0].outputs()
    }

    /// Returns the channels that it is a convolution of.
    pub fn channels(&self) -> usize {
        self.places[0].depth()
    }
}

/// `G g Gᵀ` for a 3×3 kernel `g`, row by row.
fn transformed_kernel(tap: impl Fn(usize) -> f64) -> [f64; PLACES] {
    let columns = |[a, b, c]: [f64; 3]| [a, 0.5 * (a + b + c), 0.5 * (a - b + c), c];
    let rows: [[f64; 4]; 3] =
        std::array::from_fn(|y| columns(std::array::from_fn(|x| tap(3 * y + x))));
    let down: [[f64; 4]; 4] = std::array::from_fn(|x| columns(std::array::from_fn(|y| rows[y][x])));
    std::array::from_fn(|place| down[place % 4][place / 4])
}

/// Returns the convolution of `maps` as they are seen with a stride of 1, finished, as
/// `[N, H, W, outputs]`.
pub fn convolve(maps: &Neighbourhoods<'_>, kernels: &Kernels, finish: Finish<'_>) -> Vec<f32> {
    let [count, height, width, channels] = maps.size();
    assert_eq!(channels, kernels.channels(), "the operands' channels differ");
    let pixels = count * height * width;
    finish.check(pixels, kernels.outputs());
    let mut out = Vec::with_capacity(pixels * kernels.outputs());
    let to = Shared(out.as_mut_ptr());
    let convolution = Convolution { maps, kernels, finish, to };
    let tiles = count * height.div_ceil(2) * width.div_ceil(2);
    let few = tiles.div_ceil(TILE_BLOCK) < 4 * rayon::current_num_threads();
    let block = if few { TILE_BLOCK / 2 } else { TILE_BLOCK };
    let blocks = (0..tiles.div_ceil(block)).into_par_iter().with_max_len(1);
    blocks.for_each(|i| {
        let tiles = i * block..tiles.min((i + 1) * block);
        dispatch_at(kernels.places[0].level(), Block { convolution: &convolution, tiles });
    });
    // SAFETY: the tiles cover all pixels, and each wrote all channels of its own.
    unsafe { out.set_len(pixels * kernels.outputs()) };
    out
}

struct Convolution<'a> {
    maps: &'a Neighbourhoods<'a>,
    kernels: &'a Kernels,
    finish: Finish<'a>,
    to: Shared,
}

/// What one thread computes at a time.
struct Block<'a> {
    convolution: &'a Convolution<'a>,
    tiles: Range<usize>,
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let kernels = self.convolution.kernels;
        let (count, width) = (self.tiles.len(), 2 * S::LANES);
        let step = count * kernels.channels() + MAX_LANES;
        let mut room = scratch::take(PLACES * (step + count * width));
        let (transformed, products) = room.split_at_mut(PLACES * step);
        for rows in self.groups::<S>() {
            let to = &mut transformed[rows.start * kernels.channels()..];
            self.transform(s, rows, to, step);
        }
        for panel in 0..kernels.outputs().div_ceil(width) {
            self.multiply(s, panel, (transformed, step), products);
            self.transform_back(s, panel, products);
        }
        scratch::give_back(room);
    }
}

impl Block<'_> {
    /// The tiles of this block as rows of register tiles, which are nearly equally many.
    #[inline(always)]
    fn groups<S: Simd>(&self) -> impl Iterator<Item = Range<usize>> + use<S> {
        let count = self.tiles.len();
        let groups = count.div_ceil(S::TILE_ROWS);
        (0..groups).map(move |i| i * count / groups..(i + 1) * count / groups)
    }

    /// Writes the transforms of a group as `[channel][row]`, those of the next place a `step` later.
    #[inline(always)]
    fn transform<S: Simd>(&self, s: S, rows: Range<usize>, to: &mut [f32], step: usize) {
        let channels = self.convolution.kernels.channels();
        let mut seen = [[0.0_f32; MAX_LANES]; PLACES * MOST_ROWS];
        for channel in (0..channels).step_by(S::LANES) {
            for row in 0..rows.len() {
                let tile = self.transformed_tile(s, self.tiles.start + rows.start + row, channel);
                for (place, value) in tile.into_iter().enumerate() {
                    s.store(value, &mut seen[place * MOST_ROWS + row]);
                }
            }
            for (place, seen) in seen.chunks_exact(MOST_ROWS).enumerate() {
                let mut square = [s.splat(0.0); MAX_LANES];
                for (vector, seen) in square.iter_mut().zip(&seen[..rows.len()]) {
                    *vector = s.load(seen);
                }
                s.transpose(&mut square);
                let to = &mut to[place * step + channel * rows.len()..];
                // What a vector has beyond its rows is overwritten by the next.
                for (i, vector) in square[..S::LANES.min(channels - channel)].iter().enumerate() {
                    s.store(*vector, &mut to[i * rows.len()..]);
                }
            }
        }
    }

    /// `Bᵀ d B` of the 4×4 pixels `d` about a tile, for as many channels as a vector has.
    #[inline(always)]
    fn transformed_tile<S: Simd>(&self, s: S, tile: usize, channel: usize) -> [S::V; PLACES] {
        let [map, top, left] = self.convolution.corner(tile);
        let mut across = [[s.splat(0.0); 4]; 4];
        for (y, across) in across.iter_mut().enumerate() {
            let mut d = [s.splat(0.0); 4];
            for (x, d) in d.iter_mut().enumerate() {
                // One less, so that what lies outside wraps around to large.
                let pixel = [(top + y).wrapping_sub(1), (left + x).wrapping_sub(1)];
                *d = self.convolution.seen(s, map, pixel, channel);
            }
            *across = inner(s, d);
        }
        let mut out = [s.splat(0.0); PLACES];
        for x in 0..4 {
            let down = inner(s, [across[0][x], across[1][x], across[2][x], across[3][x]]);
            for (y, value) in down.into_iter().enumerate() {
                out[4 * y + x] = value;
            }
        }
        out
    }

    /// Writes the sums over channels as `[place][tile][output of the panel]`.
    #[inline(always)]
    fn multiply<S: Simd>(
        &self,
        s: S,
        panel: usize,
        (transformed, step): (&[f32], usize),
        products: &mut [f32],
    ) {
        let (depth, width) = (self.convolution.kernels.channels(), 2 * S::LANES);
        let each = self.tiles.len() * width;
        let places = self.convolution.kernels.places.iter().zip(products.chunks_exact_mut(each));
        for ((weights, products), a) in places.zip(transformed.chunks_exact(step)) {
            let b = weights.block(s, panel, 0..depth, &mut []);
            for rows in self.groups::<S>() {
                let a = &a[rows.start * depth..][..rows.len() * depth];
                let operands = Operands { a, a_step: rows.len(), b, b_step: width, depth };
                tile_into(
                    s,
                    rows.len(),
                    operands,
                    &mut products[rows.start * width..],
                    (width, false),
                );
            }
        }
    }

    /// Writes `Aᵀ m A` of the products `m` to the pixels of each tile, finished.
    #[inline(always)]
    fn transform_back<S: Simd>(&self, s: S, panel: usize, products: &[f32]) {
        let width = 2 * S::LANES;
        let first = panel * width;
        let columns = width.min(self.convolution.kernels.outputs() - first);
        for (i, tile) in self.tiles.clone().enumerate() {
            let mut pixels = [[0.0_f32; 2 * MAX_LANES]; 4];
            for lane in [0, S::LANES] {
                let m = |place: usize| {
                    s.load(&products[(place * self.tiles.len() + i) * width + lane..])
                };
                let mut across = [[s.splat(0.0); 2]; 4];
                for (y, across) in across.iter_mut().enumerate() {
                    *across = outer(s, [m(4 * y), m(4 * y + 1), m(4 * y + 2), m(4 * y + 3)]);
                }
                for x in 0..2 {
                    let down = outer(s, [across[0][x], across[1][x], across[2][x], across[3][x]]);
                    s.store(down[0], &mut pixels[x][lane..]);
                    s.store(down[1], &mut pixels[2 + x][lane..]);
                }
            }
            self.convolution.write(
                s,
                tile,
                first,
                pixels.each_ref().map(|pixel| &pixel[..columns]),
            );
        }
    }
}

impl Convolution<'_> {
    /// The map of a tile, and its first row and column.
    #[inline(always)]
    fn corner(&self, tile: usize) -> [usize; 3] {
        let [_, height, width, _] = self.maps.size();
        let (down, across) = (height.div_ceil(2), width.div_ceil(2));
        [tile / (down * across), tile / across % down * 2, tile % across * 2]
    }

    /// The channels of a pixel from `channel` on, which are zeros beyond the edges.
    #[inline(always)]
    fn seen<S: Simd>(&self, s: S, map: usize, pixel: [usize; 2], channel: usize) -> S::V {
        match self.maps.pixel(map, pixel) {
            None => s.splat(0.0),
            Some(numbers) if self.maps.is_rectified() => {
                s.max(load_at(s, numbers, channel), s.splat(0.0))
            }
            Some(numbers) => load_at(s, numbers, channel),
        }
    }

    /// Writes some outputs, from `first` on, of a tile's pixels, as far as these are in the map.
    #[inline(always)]
    fn write<S: Simd>(&self, s: S, tile: usize, first: usize, pixels: [&[f32]; 4]) {
        let [_, height, width, _] = self.maps.size();
        let [map, top, left] = self.corner(tile);
        let outputs = self.kernels.outputs();
        for (i, values) in pixels.into_iter().enumerate() {
            let (y, x) = (top + i / 2, left + i % 2);
            if y >= height || x >= width {
                continue;
            }
            let start = ((map * height + y) * width + x) * outputs + first;
            // SAFETY: the pixel is in the map, and no other tile has it.
            let to = unsafe { std::slice::from_raw_parts_mut(self.to.0.add(start), values.len()) };
            to.copy_from_slice(values);
            self.finish.apply(s, start, outputs, to);
        }
    }
}

/// `Bᵀ d`.
#[inline(always)]
fn inner<S: Simd>(s: S, [a, b, c, d]: [S::V; 4]) -> [S::V; 4] {
    [s.sub(a, c), s.add(b, c), s.sub(c, b), s.sub(b, d)]
}

/// `Aᵀ m`.
#[inline(always)]
fn outer<S: Simd>(s: S, [a, b, c, d]: [S::V; 4]) -> [S::V; 2] {
    [s.add(s.add(a, b), c), s.sub(s.sub(b, c), d)]
}
