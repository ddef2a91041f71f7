//! Functions of vectors. The polynomials are minimax fits of our own (iteratively reweighted least
//! squares at Chebyshev nodes, 30-digit reference values).

use super::simd::Simd;

/// Returns e^x; 0 (to 1e-38) below -87, and no more than 2^127 above 88. Relative error under 2e-7.
#[inline(always)]
pub fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = s.min(s.max(x, s.splat(-87.3)), s.splat(88.0));
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let r = s.fma(n, s.splat(-LN_2_HIGH), x);
    let r = s.fma(n, s.splat(-LN_2_LOW), r);
    let p = polynomial(
        s,
        r,
        [1.0, 1.0, 0.499_999_9, 0.166_664_2, 0.041_668_225, 0.008_374_816, 0.001_383_684_2],
    );
    s.scale_by_power(p, n)
}

/// Returns Φ(x) = (1 + erf(x/√2))/2, the normal distribution.
#[inline(always)]
pub fn normal_distribution<S: Simd>(s: S, x: S::V) -> S::V {
    let t = s.mul(s.abs(x), s.splat(std::f32::consts::FRAC_1_SQRT_2));
    let half = s.splat(0.5);
    let inner = s.fma(erf_below_one(s, t), s.splat(-0.5), half);
    let outer = s.mul(erfc_above_one(s, t), half);
    let tail = s.select_less(t, s.splat(1.0), inner, outer);
    s.select_less(x, s.splat(0.0), tail, s.sub(s.splat(1.0), tail))
}

/// Returns erf(t), 0 ≤ t ≤ 1.
#[inline(always)]
#[allow(clippy::approx_constant, reason = "all seven together are the best fit")]
fn erf_below_one<S: Simd>(s: S, t: S::V) -> S::V {
    let p = [
        1.128_379_1,
        -0.376_126_26,
        0.112_836_03,
        -0.026_854_444,
        0.005_189_535,
        -0.000_802_084_1,
        7.889_119e-5,
    ];
    s.mul(t, polynomial(s, s.mul(t, t), p))
}

/// Returns 1 - erf(t), t ≥ 1, as the exponential of a polynomial; that of 6, 2e-17, beyond 6.
#[inline(always)]
fn erfc_above_one<S: Simd>(s: S, t: S::V) -> S::V {
    let t = s.min(t, s.splat(6.0));
    let p = [
        -0.000_229_266_31,
        1.129_981_4,
        0.632_026_26,
        0.110_151_604,
        -0.026_648_292,
        0.004_929_166_8,
        -0.000_662_447_1,
        6.042_484e-5,
        -3.325_009e-6,
        8.295_346e-8,
    ];
    exp(s, s.neg(polynomial(s, t, p)))
}

/// Returns the exact GELU, x·Φ(x).
#[inline(always)]
pub fn gelu<S: Simd>(s: S, x: S::V) -> S::V {
    s.mul(x, normal_distribution(s, x))
}

/// Returns x / (1 + e^-x).
#[inline(always)]
pub fn silu<S: Simd>(s: S, x: S::V) -> S::V {
    s.div(x, s.add(s.splat(1.0), exp(s, s.neg(x))))
}

/// Returns the polynomial with the coefficient of the constant first.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(s: S, x: S::V, coefficients: [f32; N]) -> S::V {
    let mut value = s.splat(coefficients[N - 1]);
    for c in coefficients.iter().rev().skip(1) {
        value = s.fma(value, x, s.splat(*c));
    }
    value
}
