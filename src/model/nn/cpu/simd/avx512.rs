//! Vectors of sixteen: AVX-512 F.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{Kernel, MAX_LANES, Simd};

/// The proof that the processor has AVX-512 F (and the AVX2, FMA and F16C that come with it).
#[derive(Debug, Clone, Copy)]
pub struct Avx512(());

impl Avx512 {
    /// Returns the proof, or `None`.
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        has.then_some(Self(()))
    }
}

#[target_feature(enable = "avx512f,avx2,fma,f16c")]
fn run<K: Kernel>(simd: Avx512, kernel: K) -> K::Output {
    kernel.run(simd)
}

// SAFETY (all blocks below): an `Avx512` exists only where the processor has the instructions;
// loads and stores go to slices whose length was checked just before.
impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;
    const TILE_ROWS: usize = 12;

    #[inline(always)]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: see above.
        unsafe { run(self, kernel) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn prefetch(self, address: *const f32) {
        // SAFETY: a prefetch of any address reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> __m512 {
        let from = &from[..16];
        // SAFETY: see above.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, v: __m512, to: &mut [f32]) {
        let to = &mut to[..16];
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn round(self, v: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_roundscale_ps::<8>(v) }
    }
    #[inline(always)]
    fn scale_by_power(self, x: __m512, n: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_scalef_ps(x, n) }
    }
    #[inline(always)]
    fn select_less(self, a: __m512, b: __m512, yes: __m512, no: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe {
            let less = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b);
            _mm512_mask_blend_ps(less, no, yes)
        }
    }
    #[inline(always)]
    fn sum(self, v: __m512) -> f32 {
        // SAFETY: see above.
        unsafe { _mm512_reduce_add_ps(v) }
    }
    #[inline(always)]
    fn load_bf16(self, from: &[half::bf16]) -> __m512 {
        let from = &from[..16];
        // SAFETY: see above; `bf16` is a transparent u16.
        unsafe {
            let bits = _mm256_loadu_si256(from.as_ptr().cast());
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits)))
        }
    }
    #[inline(always)]
    fn load_f16(self, from: &[half::f16]) -> __m512 {
        let from = &from[..16];
        // SAFETY: see above; `f16` is a transparent u16.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast())) }
    }
    #[inline(always)]
    fn load_i8(self, from: &[i8]) -> __m512 {
        let from = &from[..16];
        // SAFETY: see above.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.as_ptr().cast()))) }
    }
    #[inline(always)]
    fn transpose(self, rows: &mut [__m512; MAX_LANES]) {
        // SAFETY: see above.
        unsafe {
            transpose_quads(rows);
            transpose_blocks(rows);
        }
    }
}

/// Transposes the 4×4 blocks inside each group of four rows.
#[inline(always)]
unsafe fn transpose_quads(rows: &mut [__m512; MAX_LANES]) {
    for group in rows.chunks_exact_mut(4) {
        // SAFETY: the caller's processor has AVX-512.
        unsafe {
            let low01 = _mm512_unpacklo_ps(group[0], group[1]);
            let high01 = _mm512_unpackhi_ps(group[0], group[1]);
            let low23 = _mm512_unpacklo_ps(group[2], group[3]);
            let high23 = _mm512_unpackhi_ps(group[2], group[3]);
            group[0] = _mm512_shuffle_ps::<0x44>(low01, low23);
            group[1] = _mm512_shuffle_ps::<0xee>(low01, low23);
            group[2] = _mm512_shuffle_ps::<0x44>(high01, high23);
            group[3] = _mm512_shuffle_ps::<0xee>(high01, high23);
        }
    }
}

/// Transposes the 4×4 matrix of 4×4 blocks.
#[inline(always)]
unsafe fn transpose_blocks(rows: &mut [__m512; MAX_LANES]) {
    for i in 0..4 {
        let (a, b, c, d) = (rows[i], rows[4 + i], rows[8 + i], rows[12 + i]);
        // SAFETY: the caller's processor has AVX-512.
        unsafe {
            let low_ab = _mm512_shuffle_f32x4::<0x44>(a, b);
            let high_ab = _mm512_shuffle_f32x4::<0xee>(a, b);
            let low_cd = _mm512_shuffle_f32x4::<0x44>(c, d);
            let high_cd = _mm512_shuffle_f32x4::<0xee>(c, d);
            rows[i] = _mm512_shuffle_f32x4::<0x88>(low_ab, low_cd);
            rows[4 + i] = _mm512_shuffle_f32x4::<0xdd>(low_ab, low_cd);
            rows[8 + i] = _mm512_shuffle_f32x4::<0x88>(high_ab, high_cd);
            rows[12 + i] = _mm512_shuffle_f32x4::<0xdd>(high_ab, high_cd);
        }
    }
}
