//! Vectors of eight: AVX2 with FMA and F16C.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{Kernel, MAX_LANES, Simd};

/// The proof that the processor has AVX2, FMA and F16C.
#[derive(Debug, Clone, Copy)]
pub struct Avx2(());

impl Avx2 {
    /// Returns the proof, or `None`.
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        has.then_some(Self(()))
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn run<K: Kernel>(simd: Avx2, kernel: K) -> K::Output {
    kernel.run(simd)
}

// SAFETY (all blocks below): an `Avx2` exists only where the processor has the instructions;
// loads and stores go to slices whose length was checked just before.
impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = 8;
    const TILE_ROWS: usize = 6;

    #[inline(always)]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: see above.
        unsafe { run(self, kernel) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    fn prefetch(self, address: *const f32) {
        // SAFETY: a prefetch of any address reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> __m256 {
        let from = &from[..8];
        // SAFETY: see above.
        unsafe { _mm256_loadu_ps(from.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, v: __m256, to: &mut [f32]) {
        let to = &mut to[..8];
        // SAFETY: see above.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn round(self, v: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_round_ps::<8>(v) }
    }
    #[inline(always)]
    fn scale_by_power(self, x: __m256, n: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe {
            let biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased)))
        }
    }
    #[inline(always)]
    fn select_less(self, a: __m256, b: __m256, yes: __m256, no: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b)) }
    }
    #[inline(always)]
    fn sum(self, v: __m256) -> f32 {
        let mut lanes = [0.0; 8];
        self.store(v, &mut lanes);
        let [a, b, c, d, e, f, g, h] = lanes;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
    #[inline(always)]
    fn load_bf16(self, from: &[half::bf16]) -> __m256 {
        let from = &from[..8];
        // SAFETY: see above; `bf16` is a transparent u16.
        unsafe {
            let bits = _mm_loadu_si128(from.as_ptr().cast());
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)))
        }
    }
    #[inline(always)]
    fn load_f16(self, from: &[half::f16]) -> __m256 {
        let from = &from[..8];
        // SAFETY: see above; `f16` is a transparent u16.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast())) }
    }
    #[inline(always)]
    fn load_i8(self, from: &[i8]) -> __m256 {
        let from = &from[..8];
        // SAFETY: see above.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.as_ptr().cast()))) }
    }
    #[inline(always)]
    fn transpose(self, rows: &mut [__m256; MAX_LANES]) {
        // SAFETY: see above.
        unsafe { transpose(rows) }
    }
}

/// Transposes the 8×8 square: 4×4 blocks in place, then the blocks.
#[inline(always)]
unsafe fn transpose(rows: &mut [__m256; MAX_LANES]) {
    for group in rows[..8].chunks_exact_mut(4) {
        // SAFETY: the caller's processor has AVX2.
        unsafe {
            let low01 = _mm256_unpacklo_ps(group[0], group[1]);
            let high01 = _mm256_unpackhi_ps(group[0], group[1]);
            let low23 = _mm256_unpacklo_ps(group[2], group[3]);
            let high23 = _mm256_unpackhi_ps(group[2], group[3]);
            group[0] = _mm256_shuffle_ps::<0x44>(low01, low23);
            group[1] = _mm256_shuffle_ps::<0xee>(low01, low23);
            group[2] = _mm256_shuffle_ps::<0x44>(high01, high23);
            group[3] = _mm256_shuffle_ps::<0xee>(high01, high23);
        }
    }
    for i in 0..4 {
        let (a, b) = (rows[i], rows[4 + i]);
        // SAFETY: the caller's processor has AVX2.
        unsafe {
            rows[i] = _mm256_permute2f128_ps::<0x20>(a, b);
            rows[4 + i] = _mm256_permute2f128_ps::<0x31>(a, b);
        }
    }
}
