//! Vectors of f32 on the best instructions that the machine has.
//!
//! A kernel is written once against [`Simd`] and compiled for each [`Level`]. A value of a `Simd`
//! type is the proof that the processor has its instructions: only [`dispatch_at`] makes one,
//! after asking. That is what makes the methods safe to call.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use std::sync::OnceLock;

pub use portable::Portable;

/// The widest [`Simd::LANES`] of all levels.
pub const MAX_LANES: usize = 16;

/// Arithmetic on vectors of [`Simd::LANES`] numbers.
///
/// `fma(a, b, c)` is `a·b + c`, rounded once where the processor can.
pub trait Simd: Copy + Send + Sync + 'static {
    /// A vector.
    type V: Copy;
    /// Numbers in a vector.
    const LANES: usize;
    /// Rows of the matrix product's register tile, whose columns are two vectors.
    const TILE_ROWS: usize;

    /// Returns what `kernel` computes, compiled for these instructions.
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output;
    /// Returns a vector of equal numbers.
    fn splat(self, x: f32) -> Self::V;
    /// Asks for the line of the cache at `address`, which need not be one of ours.
    #[inline(always)]
    fn prefetch(self, _address: *const f32) {}
    /// Returns the first numbers of `from`, of which there are enough.
    fn load(self, from: &[f32]) -> Self::V;
    /// Writes to the first numbers of `to`, of which there are enough.
    fn store(self, v: Self::V, to: &mut [f32]);
    /// Returns the sum.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// Returns the difference.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// Returns the product.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// Returns the quotient.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// Returns the larger numbers.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// Returns `a·b + c`.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Returns the nearest whole numbers.
    fn round(self, v: Self::V) -> Self::V;
    /// Returns `x · 2^n` for whole `n` from -126 to 127.
    fn scale_by_power(self, x: Self::V, n: Self::V) -> Self::V;
    /// Returns `yes` where `a < b`, else `no`.
    fn select_less(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V;
    /// Returns the sum of the lanes, in a fixed order.
    fn sum(self, v: Self::V) -> f32;
    /// Returns the numbers of the first bf16 bit patterns of `from`.
    fn load_bf16(self, from: &[half::bf16]) -> Self::V;
    /// Returns the numbers of the first f16 bit patterns of `from`.
    fn load_f16(self, from: &[half::f16]) -> Self::V;
    /// Returns the first whole numbers of `from`.
    fn load_i8(self, from: &[i8]) -> Self::V;
    /// Transposes the square of the first `LANES` vectors.
    fn transpose(self, rows: &mut [Self::V; MAX_LANES]);

    /// Returns the negated numbers.
    #[inline(always)]
    fn neg(self, v: Self::V) -> Self::V {
        self.sub(self.splat(0.0), v)
    }

    /// Returns the absolute numbers.
    #[inline(always)]
    fn abs(self, v: Self::V) -> Self::V {
        self.max(v, self.neg(v))
    }

    /// Returns the smaller numbers.
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        self.select_less(b, a, b, a)
    }
}

/// Something to compute, whatever the instructions. `run` must be `#[inline(always)]`, as all that
/// it calls in its inner loops: the instructions end at a function that is not inlined.
pub trait Kernel {
    /// The result.
    type Output;
    /// Returns the result.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Sets of instructions, from the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What the compiler makes of plain loops: any processor.
    Portable,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// x86-64 with AVX-512 (F).
    Avx512,
}

static BEST: OnceLock<Level> = OnceLock::new();

impl Level {
    /// Returns the levels that this machine has, best last.
    pub fn available() -> Vec<Self> {
        [Self::Portable, Self::Avx2, Self::Avx512].into_iter().filter(|l| l.exists()).collect()
    }

    /// Returns the best level of this machine, or what [`Level::limit`] has left of it.
    pub fn best() -> Self {
        *BEST.get_or_init(|| Self::Avx512.or_below())
    }

    /// Lets nothing above this level be the best from now on, and returns what is. Only the first
    /// call has an effect, and only before anything was computed: weights are laid out for a level.
    pub fn limit(self) -> Self {
        *BEST.get_or_init(|| self.or_below())
    }

    /// The best level of this machine up to this one.
    fn or_below(self) -> Self {
        Self::available().into_iter().rfind(|&level| level <= self).unwrap_or(Self::Portable)
    }

    /// Returns the columns of the matrix product's register tile.
    pub fn tile_columns(self) -> usize {
        match self {
            Self::Portable => 2 * Portable::LANES,
            Self::Avx2 => 16,
            Self::Avx512 => 32,
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn exists(self) -> bool {
        match self {
            Self::Portable => true,
            Self::Avx2 => avx2::Avx2::detect().is_some(),
            Self::Avx512 => avx512::Avx512::detect().is_some(),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn exists(self) -> bool {
        self == Self::Portable
    }
}

/// Returns what `kernel` computes with the instructions of `level`, or with plain ones where the
/// machine lacks them.
pub fn dispatch_at<K: Kernel>(level: Level, kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    match level {
        Level::Avx512 => {
            if let Some(simd) = avx512::Avx512::detect() {
                return simd.vectorize(kernel);
            }
        }
        Level::Avx2 => {
            if let Some(simd) = avx2::Avx2::detect() {
                return simd.vectorize(kernel);
            }
        }
        Level::Portable => {}
    }
    let _ = level;
    Portable.vectorize(kernel)
}

/// Returns what `kernel` computes with the best instructions.
pub fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    dispatch_at(Level::best(), kernel)
}
