//! The innermost part of a product of whole numbers: a few rows by one panel of outputs.
#![allow(unsafe_code)]

use half::f16;

use super::super::panels::Q8_BLOCK;

/// Outputs of a panel.
pub const WIDTH: usize = 32;
/// Rows of a tile, whose sums stay in registers.
pub const TILE_ROWS: usize = 6;

/// A panel's numbers and scales.
#[derive(Clone, Copy)]
pub struct Panel<'a> {
    pub numbers: &'a [i8],
    pub scales: &'a [f16],
}

/// A row's numbers and the scale of each block of them.
pub type Row<'a> = (&'a [i16], &'a [f32]);

/// Sums of a few rows with one panel.
pub type Tile = [[f32; WIDTH]; TILE_ROWS];

/// Returns the products of `rows` with a panel.
pub fn tile(rows: [Row<'_>; TILE_ROWS], panel: Panel<'_>) -> Tile {
    #[cfg(target_arch = "x86_64")]
    if has_dot_products() {
        // SAFETY: the processor has the instructions.
        return unsafe { vnni::tile(rows, panel) };
    }
    plain(rows, panel)
}

/// The same without special instructions.
pub fn plain(rows: [Row<'_>; TILE_ROWS], panel: Panel<'_>) -> Tile {
    let mut sums = [[0.0; WIDTH]; TILE_ROWS];
    for ((numbers, scales), sums) in rows.into_iter().zip(&mut sums) {
        let weights = panel.numbers.chunks_exact(Q8_BLOCK * WIDTH);
        let blocks = numbers.chunks_exact(Q8_BLOCK).zip(scales).zip(weights);
        for (((x, scale), weights), factors) in blocks.zip(panel.scales.chunks_exact(WIDTH)) {
            for (output, sum) in sums.iter_mut().enumerate() {
                let product = |(pair, x): (usize, &[i16])| {
                    let at = (pair * WIDTH + output) * 2;
                    i32::from(x[0]) * i32::from(weights[at])
                        + i32::from(x[1]) * i32::from(weights[at + 1])
                };
                let whole: i32 = x.chunks_exact(2).enumerate().map(product).sum();
                *sum += whole as f32 * (factors[output].to_f32() * scale);
            }
        }
    }
    sums
}

#[cfg(target_arch = "x86_64")]
/// Returns whether the processor multiplies and sums pairs of 16 bits at once.
pub fn has_dot_products() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vnni")
}

#[cfg(not(target_arch = "x86_64"))]
/// Returns whether the processor multiplies and sums pairs of 16 bits at once.
pub fn has_dot_products() -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
mod vnni {
    use std::arch::x86_64::*;

    use super::{Panel, Q8_BLOCK, Row, TILE_ROWS, Tile, WIDTH};

    /// Vectors of outputs.
    const HALF: usize = WIDTH / 2;

    /// Returns the products of rows with a panel.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub fn tile(rows: [Row<'_>; TILE_ROWS], panel: Panel<'_>) -> Tile {
        let blocks = panel.scales.len() / WIDTH;
        assert!(panel.numbers.len() >= blocks * Q8_BLOCK * WIDTH);
        for (numbers, scales) in rows {
            assert!(numbers.len() >= blocks * Q8_BLOCK && scales.len() >= blocks);
        }
        let mut sums = [[_mm512_setzero_ps(); 2]; TILE_ROWS];
        for block in 0..blocks {
            let mut whole = [[_mm512_setzero_si512(); 2]; TILE_ROWS];
            for pair in block * Q8_BLOCK / 2..(block + 1) * Q8_BLOCK / 2 {
                // SAFETY: lengths were checked above.
                let weights = unsafe { widened(panel.numbers.as_ptr().add(pair * 2 * WIDTH)) };
                for ((numbers, _), whole) in rows.iter().zip(&mut whole) {
                    // SAFETY: as above.
                    let x =
                        unsafe { numbers.as_ptr().add(2 * pair).cast::<i32>().read_unaligned() };
                    let x = _mm512_set1_epi32(x);
                    whole[0] = _mm512_dpwssd_epi32(whole[0], weights[0], x);
                    whole[1] = _mm512_dpwssd_epi32(whole[1], weights[1], x);
                }
            }
            // SAFETY: as above.
            let factors = unsafe { scales(panel.scales.as_ptr().add(block * WIDTH).cast()) };
            for (((_, scales), whole), sums) in rows.iter().zip(&whole).zip(&mut sums) {
                let scale = _mm512_set1_ps(scales[block]);
                for half in 0..2 {
                    let factor = _mm512_mul_ps(factors[half], scale);
                    sums[half] =
                        _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole[half]), factor, sums[half]);
                }
            }
        }
        stored(&sums)
    }

    /// A pair of depths of all outputs, as 16 bits.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn widened(from: *const i8) -> [__m512i; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let low = _mm256_loadu_si256(from.cast());
            let high = _mm256_loadu_si256(from.add(WIDTH).cast());
            [_mm512_cvtepi8_epi16(low), _mm512_cvtepi8_epi16(high)]
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn scales(from: *const u16) -> [__m512; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let low = _mm256_loadu_si256(from.cast());
            let high = _mm256_loadu_si256(from.add(HALF).cast());
            [_mm512_cvtph_ps(low), _mm512_cvtph_ps(high)]
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn stored(sums: &[[__m512; 2]; TILE_ROWS]) -> Tile {
        let mut tile = [[0.0; WIDTH]; TILE_ROWS];
        for (sums, to) in sums.iter().zip(&mut tile) {
            let (low, high) = to.split_at_mut(HALF);
            // SAFETY: each half is a vector long.
            unsafe {
                _mm512_storeu_ps(low.as_mut_ptr(), sums[0]);
                _mm512_storeu_ps(high.as_mut_ptr(), sums[1]);
            }
        }
        tile
    }
}
