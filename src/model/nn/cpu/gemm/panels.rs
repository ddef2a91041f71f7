//! The right operand: weights, laid out once as the register tile reads them, in the type of their
//! file.

use std::ops::{Deref, DerefMut, Range};

use half::{bf16, f16};
use rayon::prelude::*;

use super::super::simd::{Level, Simd};

/// How many weights share a scale in q8_0.
pub const Q8_BLOCK: usize = 32;

/// A matrix `[outputs, depth]` in panels of as many outputs as the register tile has columns.
pub struct Panels {
    level: Level,
    outputs: usize,
    depth: usize,
    values: Values,
}

/// Numbers of which the first begins a line of the cache, so that no vector of them lies in two.
struct Aligned<T> {
    room: Vec<T>,
    start: usize,
    length: usize,
}

impl<T: Copy + Default> Aligned<T> {
    /// Returns `length` zeros.
    fn zeros(length: usize) -> Self {
        const LINE_BYTES: usize = 64;
        let room = vec![T::default(); length + LINE_BYTES / size_of::<T>()];
        let start = room.as_ptr().align_offset(LINE_BYTES).min(room.len() - length);
        Self { room, start, length }
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.room[self.start..][..self.length]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.room[self.start..][..self.length]
    }
}

/// `[panel][depth][output]`, scales `[panel][block of depths][output]`.
enum Values {
    F32(Aligned<f32>),
    Bf16(Aligned<bf16>),
    F16(Aligned<f16>),
    Q8 { numbers: Aligned<i8>, scales: Aligned<f16> },
}

/// Weights as they lie in a file, row-major `[outputs, depth]`.
#[derive(Clone, Copy)]
pub enum Matrix<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// The upper half of single precision.
    Bf16(&'a [bf16]),
    /// Half precision.
    F16(&'a [f16]),
    /// Whole numbers, and a scale for each 32 along a row.
    Q8 {
        /// `[outputs, depth]`.
        numbers: &'a [i8],
        /// `[outputs, depth / 32]`.
        scales: &'a [f16],
    },
}

impl std::fmt::Debug for Panels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Panels({} × {}, {} bytes)", self.outputs, self.depth, self.bytes())
    }
}

impl Panels {
    /// Returns `matrix` for the instructions of `level`. The depth of q8_0 is a multiple of 32.
    pub fn new(matrix: Matrix<'_>, outputs: usize, depth: usize, level: Level) -> Self {
        let width = level.tile_columns();
        let values = match matrix {
            Matrix::F32(x) => Values::F32(interleave(x, outputs, depth, width)),
            Matrix::Bf16(x) => Values::Bf16(interleave(x, outputs, depth, width)),
            Matrix::F16(x) => Values::F16(interleave(x, outputs, depth, width)),
            Matrix::Q8 { numbers, scales } => Values::Q8 {
                numbers: interleave(numbers, outputs, depth, width),
                scales: interleave(scales, outputs, depth / Q8_BLOCK, width),
            },
        };
        Self { level, outputs, depth, values }
    }

    /// Returns the instructions that this layout is for.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Returns the columns of the product.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Returns how many products each number sums.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Returns the outputs of a panel; the last is filled up with zeros.
    pub fn width(&self) -> usize {
        self.level.tile_columns()
    }

    /// Returns the memory that the weights take.
    pub fn bytes(&self) -> usize {
        match &self.values {
            Values::F32(x) => 4 * x.len(),
            Values::Bf16(x) => 2 * x.len(),
            Values::F16(x) => 2 * x.len(),
            Values::Q8 { numbers, scales } => numbers.len() + 2 * scales.len(),
        }
    }

    /// Returns `[depth][output]` of a panel as f32, in `room` if it has to be widened.
    #[inline(always)]
    pub fn block<'a, S: Simd>(
        &'a self,
        s: S,
        panel: usize,
        depths: Range<usize>,
        room: &'a mut [f32],
    ) -> &'a [f32] {
        let width = self.width();
        let range = (panel * self.depth + depths.start) * width..;
        let length = depths.len() * width;
        match &self.values {
            Values::F32(x) => return &x[range][..length],
            Values::Bf16(x) => widen(
                s,
                &x[range][..length],
                room,
                #[inline(always)]
                |v| s.load_bf16(v),
            ),
            Values::F16(x) => widen(
                s,
                &x[range][..length],
                room,
                #[inline(always)]
                |v| s.load_f16(v),
            ),
            Values::Q8 { numbers, scales } => {
                let blocks = self.depth / Q8_BLOCK;
                let scales = &scales[panel * blocks * width..][..blocks * width];
                scale(s, &numbers[range][..length], (scales, depths.start), width, room);
            }
        }
        &room[..length]
    }
}

#[inline(always)]
fn widen<S: Simd, T>(s: S, from: &[T], room: &mut [f32], load: impl Fn(&[T]) -> S::V) {
    for (from, to) in from.chunks_exact(S::LANES).zip(room.chunks_exact_mut(S::LANES)) {
        s.store(load(from), to);
    }
}

#[inline(always)]
fn scale<S: Simd>(
    s: S,
    numbers: &[i8],
    (scales, start): (&[f16], usize),
    width: usize,
    room: &mut [f32],
) {
    let rows = numbers.chunks_exact(width).zip(room.chunks_exact_mut(width));
    for (i, (numbers, to)) in rows.enumerate() {
        let scales = &scales[(start + i) / Q8_BLOCK * width..][..width];
        for lane in (0..width).step_by(S::LANES) {
            let product = s.mul(s.load_i8(&numbers[lane..]), s.load_f16(&scales[lane..]));
            s.store(product, &mut to[lane..]);
        }
    }
}

/// Returns row-major `[rows, depth]` as `[panel][depth][row in panel]`, filled up with zeros.
fn interleave<T: Copy + Default + Send + Sync>(
    from: &[T],
    rows: usize,
    depth: usize,
    width: usize,
) -> Aligned<T> {
    /// Depths whose panel stays in the first cache while it is written.
    const STRETCH: usize = 64;
    let mut to = Aligned::zeros(rows.div_ceil(width) * depth * width);
    if depth == 0 {
        return to;
    }
    to.par_chunks_mut(depth * width).zip(from.par_chunks(depth * width)).for_each(|(to, from)| {
        for start in (0..depth).step_by(STRETCH) {
            let length = STRETCH.min(depth - start);
            for (r, row) in from.chunks_exact(depth).enumerate() {
                let to = to[start * width..].iter_mut().skip(r).step_by(width);
                row[start..start + length].iter().zip(to).for_each(|(x, to)| *to = *x);
            }
        }
    });
    to
}
