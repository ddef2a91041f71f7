//! The register tile of the matrix product: a few rows by two vectors of columns.
#![allow(unsafe_code)]

use super::super::simd::Simd;

/// How far ahead of its use the right operand is asked for: weights come from memory.
const PREFETCHED_DEPTHS: usize = 16;

/// Where a tile's operands lie: `a` is `[depth][a_step]` of which the first columns are rows of the
/// tile, `b` is `[depth][b_step]` of which the first two vectors are used.
#[derive(Clone, Copy)]
pub struct Operands<'a> {
    /// The left operand, transposed.
    pub a: &'a [f32],
    /// Numbers from one depth of `a` to the next.
    pub a_step: usize,
    /// The right operand.
    pub b: &'a [f32],
    /// Numbers from one depth of `b` to the next.
    pub b_step: usize,
    /// How many products are summed.
    pub depth: usize,
}

/// Part of a row-major matrix that one thread writes: `rows` × two vectors from `start` on, a row
/// every `step` numbers.
#[derive(Clone, Copy)]
pub struct Target {
    /// The first number.
    pub start: *mut f32,
    /// Numbers from row to row.
    pub step: usize,
    /// Whether the products are added to what is there.
    pub add: bool,
}

/// Writes the tile of `rows` rows, at most 12 and [`Simd::TILE_ROWS`].
///
/// # Safety
/// `target` is valid for `rows` rows of two vectors, and nobody else uses them.
#[inline(always)]
pub unsafe fn tile<S: Simd>(s: S, rows: usize, operands: Operands<'_>, target: Target) {
    let Operands { a, a_step, b, b_step, depth } = operands;
    if depth > 0 {
        assert!(a.len() >= (depth - 1) * a_step + rows);
        assert!(b.len() >= (depth - 1) * b_step + 2 * S::LANES);
    }
    assert!(rows <= S::TILE_ROWS);
    // SAFETY: lengths were checked above; the target is the caller's promise.
    unsafe {
        match rows {
            0 => {}
            1 => fixed::<S, 1>(s, operands, target),
            2 => fixed::<S, 2>(s, operands, target),
            3 => fixed::<S, 3>(s, operands, target),
            4 => fixed::<S, 4>(s, operands, target),
            5 => fixed::<S, 5>(s, operands, target),
            6 => fixed::<S, 6>(s, operands, target),
            7 => fixed::<S, 7>(s, operands, target),
            8 => fixed::<S, 8>(s, operands, target),
            9 => fixed::<S, 9>(s, operands, target),
            10 => fixed::<S, 10>(s, operands, target),
            11 => fixed::<S, 11>(s, operands, target),
            _ => fixed::<S, 12>(s, operands, target),
        }
    }
}

/// Writes the tile of `rows` rows to `to`, a row every `step` numbers; adds it where `add` is set.
#[inline(always)]
pub fn tile_into<S: Simd>(
    s: S,
    rows: usize,
    operands: Operands<'_>,
    to: &mut [f32],
    (step, add): (usize, bool),
) {
    assert!(rows == 0 || to.len() >= (rows - 1) * step + 2 * S::LANES);
    // SAFETY: `to` is ours, and was found long enough.
    unsafe { tile(s, rows, operands, Target { start: to.as_mut_ptr(), step, add }) };
}

#[inline(always)]
unsafe fn fixed<S: Simd, const ROWS: usize>(s: S, operands: Operands<'_>, target: Target) {
    if ROWS > S::TILE_ROWS {
        return;
    }
    let mut sums = [[s.splat(0.0); 2]; ROWS];
    let (mut a, mut b) = (operands.a.as_ptr(), operands.b.as_ptr());
    for _ in 0..operands.depth {
        // SAFETY: `tile` checked that each depth of both operands lies inside its slice.
        unsafe {
            let b0 = s.load(std::slice::from_raw_parts(b, S::LANES));
            let b1 = s.load(std::slice::from_raw_parts(b.add(S::LANES), S::LANES));
            for (r, sum) in sums.iter_mut().enumerate() {
                let x = s.splat(*a.add(r));
                sum[0] = s.fma(x, b0, sum[0]);
                sum[1] = s.fma(x, b1, sum[1]);
            }
            s.prefetch(b.wrapping_add(PREFETCHED_DEPTHS * operands.b_step));
            s.prefetch(b.wrapping_add(PREFETCHED_DEPTHS * operands.b_step + S::LANES));
            a = a.wrapping_add(operands.a_step);
            b = b.wrapping_add(operands.b_step);
        }
    }
    for (r, sum) in sums.iter().enumerate() {
        // SAFETY: the target is valid for all rows by the caller's promise.
        let row = unsafe {
            std::slice::from_raw_parts_mut(target.start.add(r * target.step), 2 * S::LANES)
        };
        let (left, right) = row.split_at_mut(S::LANES);
        for (sum, to) in sum.iter().zip([left, right]) {
            let sum = if target.add { s.add(s.load(to), *sum) } else { *sum };
            s.store(sum, to);
        }
    }
}
