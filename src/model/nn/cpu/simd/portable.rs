//! Plain loops of fixed length, which the compiler turns into whatever vectors there are.

use super::{Kernel, MAX_LANES, Simd};

/// Any processor: also 64-bit ARM, whose 32 vector registers of four numbers these tiles fit.
#[derive(Debug, Clone, Copy)]
pub struct Portable;

const LANES: usize = 4;

type V = [f32; LANES];

#[inline(always)]
fn zip(a: V, b: V, f: impl Fn(f32, f32) -> f32) -> V {
    std::array::from_fn(|i| f(a[i], b[i]))
}

impl Simd for Portable {
    type V = V;
    const LANES: usize = LANES;
    const TILE_ROWS: usize = 4;

    #[inline(always)]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
    #[inline(always)]
    fn splat(self, x: f32) -> V {
        [x; LANES]
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> V {
        let from = &from[..LANES];
        std::array::from_fn(|i| from[i])
    }
    #[inline(always)]
    fn store(self, v: V, to: &mut [f32]) {
        to[..LANES].copy_from_slice(&v);
    }
    #[inline(always)]
    fn add(self, a: V, b: V) -> V {
        zip(
            a,
            b,
            #[inline(always)]
            |a, b| a + b,
        )
    }
    #[inline(always)]
    fn sub(self, a: V, b: V) -> V {
        zip(
            a,
            b,
            #[inline(always)]
            |a, b| a - b,
        )
    }
    #[inline(always)]
    fn mul(self, a: V, b: V) -> V {
        zip(
            a,
            b,
            #[inline(always)]
            |a, b| a * b,
        )
    }
    #[inline(always)]
    fn div(self, a: V, b: V) -> V {
        zip(
            a,
            b,
            #[inline(always)]
            |a, b| a / b,
        )
    }
    #[inline(always)]
    fn max(self, a: V, b: V) -> V {
        zip(
            a,
            b,
            #[inline(always)]
            |a, b| if a > b { a } else { b },
        )
    }
    #[inline(always)]
    fn fma(self, a: V, b: V, c: V) -> V {
        // Without the instruction `mul_add` is a slow call; on ARM the instruction is always there.
        if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
            std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
        } else {
            std::array::from_fn(|i| a[i] * b[i] + c[i])
        }
    }
    #[inline(always)]
    fn round(self, v: V) -> V {
        // Adding and taking away 1.5·2²³ leaves no fraction; |v| stays far below 2²² here.
        const MAGIC: f32 = 12_582_912.0;
        v.map(|x| (x + MAGIC) - MAGIC)
    }
    #[inline(always)]
    fn scale_by_power(self, x: V, n: V) -> V {
        zip(x, n, |x, n| x * f32::from_bits(((n as i32 + 127) << 23) as u32))
    }
    #[inline(always)]
    fn select_less(self, a: V, b: V, yes: V, no: V) -> V {
        std::array::from_fn(|i| if a[i] < b[i] { yes[i] } else { no[i] })
    }
    #[inline(always)]
    fn sum(self, v: V) -> f32 {
        (v[0] + v[2]) + (v[1] + v[3])
    }
    #[inline(always)]
    fn load_bf16(self, from: &[half::bf16]) -> V {
        let from = &from[..LANES];
        std::array::from_fn(|i| f32::from_bits(u32::from(from[i].to_bits()) << 16))
    }
    #[inline(always)]
    fn load_f16(self, from: &[half::f16]) -> V {
        let from = &from[..LANES];
        std::array::from_fn(|i| from[i].to_f32())
    }
    #[inline(always)]
    fn load_i8(self, from: &[i8]) -> V {
        let from = &from[..LANES];
        std::array::from_fn(|i| f32::from(from[i]))
    }
    #[inline(always)]
    fn transpose(self, rows: &mut [V; MAX_LANES]) {
        let source: [V; LANES] = std::array::from_fn(|i| rows[i]);
        for (i, row) in rows[..LANES].iter_mut().enumerate() {
            *row = std::array::from_fn(|j| source[j][i]);
        }
    }
}
