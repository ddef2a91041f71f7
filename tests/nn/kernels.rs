//! Every kernel at every level of instructions that this machine has.

use half::{bf16, f16};
use proptest::prelude::*;
use recon_node::model::nn::cpu::attention::{AttentionShape, Heads, attention};
use recon_node::model::nn::cpu::conv::Neighbourhoods;
use recon_node::model::nn::cpu::gemm::{
    Dense, Finish, IntegerPanels, Matrix, Panels, Then, multiply, multiply_integers,
};
use recon_node::model::nn::cpu::math;
use recon_node::model::nn::cpu::resize::resize;
use recon_node::model::nn::cpu::rows::{Norm, gelu, silu_gate};
use recon_node::model::nn::cpu::simd::{Kernel, Level, MAX_LANES, Simd, dispatch_at};

use super::reference::{self, assert_close, numbers};

const PLAIN: Finish<'static> = Finish { bias: None, then: Then::Nothing };

/// A function of vectors, applied to numbers.
struct Map<'a>(&'a [f32], Function);

#[derive(Clone, Copy)]
enum Function {
    Exp,
    Normal,
    Silu,
}

impl Kernel for Map<'_> {
    type Output = Vec<f32>;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<f32> {
        let mut out = vec![0.0; self.0.len()];
        for (from, to) in self.0.chunks_exact(MAX_LANES).zip(out.chunks_exact_mut(MAX_LANES)) {
            for lane in (0..MAX_LANES).step_by(S::LANES) {
                let x = s.load(&from[lane..]);
                let y = match self.1 {
                    Function::Exp => math::exp(s, x),
                    Function::Normal => math::normal_distribution(s, x),
                    Function::Silu => math::silu(s, x),
                };
                s.store(y, &mut to[lane..]);
            }
        }
        out
    }
}

fn steps(from: f32, to: f32) -> Vec<f32> {
    (0..160_000).map(|i| from + (to - from) * i as f32 / 159_999.0).collect()
}

/// The largest error of `function`, relative to `expected`.
fn worst(level: Level, function: Function, at: &[f32], expected: impl Fn(f64) -> f64) -> f64 {
    let found = dispatch_at(level, Map(at, function));
    let error = |(x, y): (&f32, &f32)| {
        let expected = expected(f64::from(*x));
        ((f64::from(*y) - expected) / expected).abs()
    };
    at.iter().zip(&found).map(error).fold(0.0, f64::max)
}

#[test]
fn exponential_and_normal_distribution_are_exact_to_single_precision() {
    for level in Level::available() {
        let error = worst(level, Function::Exp, &steps(-80.0, 80.0), f64::exp);
        assert!(error < 5e-7, "{level:?}: exp is off by {error:e}");
        let normal = |x: f64| 0.5 * (1.0 + reference::erf(x / std::f64::consts::SQRT_2));
        let error = worst(level, Function::Normal, &steps(-1.4, 8.0), normal);
        assert!(error < 1e-6, "{level:?}: the normal distribution is off by {error:e}");
        let error = worst(level, Function::Silu, &steps(-20.0, 20.1), |x| x / (1.0 + (-x).exp()));
        assert!(error < 1e-6, "{level:?}: SiLU is off by {error:e}");
    }
}

#[test]
fn exponential_of_the_ends_is_finite() {
    let ends = [-1e30, -104.0, -88.0, 0.0, 88.0, 89.0, 1e30, f32::MIN].repeat(2);
    for level in Level::available() {
        let found = dispatch_at(level, Map(&ends, Function::Exp));
        assert!(found.iter().all(|x| x.is_finite() && *x >= 0.0), "{level:?}: {found:?}");
        assert!(found[0] < 1e-37 && found[7] < 1e-37 && (found[3] - 1.0).abs() < 1e-7);
    }
}

#[test]
fn gelu_is_the_exact_one() {
    for level in Level::available() {
        for n in [1, 15, 33, 70_001] {
            let mut x = steps(-12.0, 12.0);
            x.truncate(n);
            let expected: Vec<f64> = x.iter().map(|x| reference::gelu(f64::from(*x))).collect();
            let mut found = vec![0.0; n];
            gelu(&x, &mut found, level);
            assert_close(&found, &expected, 1e-6, "gelu");
        }
    }
}

/// Rounds each weight as q8_0 does; returns numbers, scales and what they stand for.
fn quantized(weights: &[f32]) -> (Vec<i8>, Vec<f16>, Vec<f32>) {
    let (mut whole, mut scales, mut wide) = (Vec::new(), Vec::new(), Vec::new());
    for block in weights.chunks_exact(32) {
        let scale = f16::from_f32(block.iter().fold(0f32, |m, x| m.max(x.abs())) / 127.0);
        let numbers = block.iter().map(|x| (x / scale.to_f32()).round() as i8);
        whole.extend(numbers.clone());
        wide.extend(numbers.map(|n| f32::from(n) * scale.to_f32()));
        scales.push(scale);
    }
    (whole, scales, wide)
}

fn check_product(rows: usize, depth: usize, columns: usize, seed: u64) {
    let (x, w) = (numbers(rows * depth, seed), numbers(columns * depth, seed + 1));
    let limit = 4e-7 * (depth as f64).sqrt() * 3.0;
    let bf: Vec<_> = w.iter().map(|x| bf16::from_f32(*x)).collect();
    let hf: Vec<_> = w.iter().map(|x| f16::from_f32(*x)).collect();
    let (q8, scales, wide) = quantized(&w);
    let widened = |from: &mut dyn Iterator<Item = f32>| from.collect::<Vec<_>>();
    let mut cases = vec![
        (Matrix::F32(&w), w.clone()),
        (Matrix::Bf16(&bf), widened(&mut bf.iter().map(|x| x.to_f32()))),
        (Matrix::F16(&hf), widened(&mut hf.iter().map(|x| x.to_f32()))),
    ];
    if depth.is_multiple_of(32) {
        cases.push((Matrix::Q8 { numbers: &q8, scales: &scales }, wide.clone()));
        let panels = IntegerPanels::new(&q8, &scales, columns, depth);
        let found = multiply_integers(&Dense { values: &x, depth }, rows, &panels, PLAIN);
        // 16 bits of each number of x are left.
        let limit = limit + 2e-5 * (depth as f64).sqrt();
        let what = format!("{rows} × {depth} × {columns}, {panels:?}");
        assert_close(&found, &reference::product(&x, &wide, depth), limit, &what);
    }
    for level in Level::available() {
        for (matrix, same) in &cases {
            let panels = Panels::new(*matrix, columns, depth, level);
            let found = multiply(&Dense { values: &x, depth }, rows, &panels, PLAIN);
            let what = format!("{level:?} {rows} × {depth} × {columns}, {panels:?}");
            assert_close(&found, &reference::product(&x, same, depth), limit, &what);
        }
    }
}

#[test]
fn products_of_awkward_shapes() {
    let shapes =
        [(1, 1, 1), (13, 17, 33), (12, 512, 32), (25, 1056, 70), (193, 96, 31), (5, 513, 6)];
    for (i, (rows, depth, columns)) in shapes.into_iter().enumerate() {
        check_product(rows, depth, columns, i as u64);
    }
}

/// Whole numbers have no such values: the scale has to carry them.
#[test]
fn products_of_whole_numbers_let_nothing_get_lost_that_is_no_number() {
    let (q8, scales, _) = quantized(&numbers(40 * 64, 3));
    let panels = IntegerPanels::new(&q8, &scales, 40, 64);
    for strange in [f32::NAN, f32::INFINITY] {
        let mut x = numbers(8 * 64, 4);
        x[3 * 64 + 50] = strange;
        let found = multiply_integers(&Dense { values: &x, depth: 64 }, 8, &panels, PLAIN);
        for (row, values) in found.chunks_exact(40).enumerate() {
            assert!(values.iter().all(|value| value.is_finite() == (row != 3)), "{strange} {row}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn products_of_any_shape(rows in 1usize..60, depth in 1usize..90, columns in 1usize..80) {
        check_product(rows, depth, columns, 7);
        check_product(rows, depth.next_multiple_of(32), columns, 8);
    }

    #[test]
    fn attention_of_any_shape(
        queries in 1usize..70,
        keys in 1usize..230,
        dim in prop::sample::select(vec![1usize, 10, 16, 64, 80]),
        magnitude in prop::sample::select(vec![1f32, 30.0]),
    ) {
        check_attention(queries, keys, dim, magnitude);
    }

    #[test]
    fn convolutions_of_any_shape(
        (h, w, c) in (1usize..9, 1usize..9, 1usize..40),
        out in 1usize..40,
        stride in 1usize..3,
    ) {
        check_conv([h, w, c], out, stride);
    }

    #[test]
    fn resizing_to_any_shape(
        (h, w, c) in (1usize..9, 1usize..9, 1usize..40),
        height in 1usize..20,
        width in 1usize..20,
    ) {
        let x = numbers(h * w * c, 3);
        let expected = reference::resize(&x, [h, w, c], height, width);
        for level in Level::available() {
            let mut found = vec![0.0; expected.len()];
            resize(&x, [h, w, c], &mut found, (height, width), level);
            assert_close(&found, &expected, 1e-6, "resize");
        }
    }

    #[test]
    fn rows_of_any_width(rows in 1usize..40, width in 1usize..100, mean in -50f32..50.0) {
        let x: Vec<f32> = numbers(rows * width, 4).iter().map(|x| x + mean).collect();
        let (weight, bias) = (numbers(width, 5), numbers(width, 6));
        let expected = reference::layer_norm(&x, &weight, &bias, 1e-6);
        let gated: Vec<f32> = numbers(rows * 2 * width, 9);
        let gates: Vec<f64> = gated.chunks_exact(2 * width).flat_map(|row| {
            let silu = |x: f32| f64::from(x) / (1.0 + (-f64::from(x)).exp());
            row[..width].iter().zip(&row[width..]).map(move |(a, b)| silu(*a) * f64::from(*b))
        }).collect();
        for level in Level::available() {
            let mut found = vec![0.0; x.len()];
            let norm = Norm { weight: &weight, bias: &bias, epsilon: 1e-6 };
            norm.apply(&x, &mut found, level);
            // Rows whose numbers are nearly equal are divided by nearly nothing.
            let limit = if width < 4 { 5e-2 } else { 2e-4 };
            assert_close(&found, &expected, limit, "normalisation");
            silu_gate(&gated, &mut found, width, level);
            assert_close(&found, &gates, 1e-6, "gate");
        }
    }
}

#[test]
fn a_product_is_finished_in_place() {
    let (rows, depth, columns) = (29, 40, 45);
    let (x, w) = (numbers(rows * depth, 1), numbers(columns * depth, 2));
    let (bias, scale) = (numbers(columns, 3), numbers(columns, 4));
    let to = numbers(rows * columns, 5);
    let plain = reference::product(&x, &w, depth);
    let wide = |x: f32| f64::from(x);
    type Expected<'a> = Box<dyn Fn(usize, f64) -> f64 + 'a>;
    let cases: [(Then<'_>, Expected<'_>); 5] = [
        (Then::Nothing, Box::new(|_, x| x)),
        (Then::Relu, Box::new(|_, x| x.max(0.0))),
        (Then::Gelu, Box::new(|_, x| reference::gelu(x))),
        (Then::Add(&to), Box::new(|i, x| x + wide(to[i]))),
        (
            Then::ScaleAdd { scale: &scale, to: &to },
            Box::new(|i, x| wide(to[i]) + x * wide(scale[i % columns])),
        ),
    ];
    for level in Level::available() {
        let panels = Panels::new(Matrix::F32(&w), columns, depth, level);
        for (then, expected) in &cases {
            let finish = Finish { bias: Some(&bias), then: *then };
            let found = multiply(&Dense { values: &x, depth }, rows, &panels, finish);
            let with_bias = plain.iter().enumerate().map(|(i, x)| (i, x + wide(bias[i % columns])));
            let expected: Vec<f64> = with_bias.map(|(i, x)| expected(i, x)).collect();
            assert_close(&found, &expected, 3e-6, "a finished product");
        }
    }
}

fn check_attention(queries: usize, keys: usize, dim: usize, magnitude: f32) {
    let (batch, heads) = (2, 3);
    let scaled =
        |n: usize, seed| -> Vec<f32> { numbers(n, seed).iter().map(|x| x * magnitude).collect() };
    let q = scaled(batch * queries * heads * dim, 1);
    // Keys and values lie in one tensor, as behind a fused projection.
    let kv = scaled(batch * keys * 2 * heads * dim, 2);
    let row = 2 * heads * dim;
    let q_heads =
        Heads { values: &q, strides: [queries * heads * dim, heads * dim, dim], tokens: queries };
    let at = |offset: usize| Heads {
        values: &kv[offset..],
        strides: [keys * row, row, dim],
        tokens: keys,
    };
    let shape = AttentionShape { batch, heads, head_dim: dim, scale: 1.0 / (dim as f32).sqrt() };
    for level in Level::available() {
        let found = attention([q_heads, at(0), at(heads * dim)], shape, level);
        for head in 0..batch * heads {
            let (b, h) = (head / heads, head % heads);
            let take = |x: &[f32], tokens: usize, row: usize, offset: usize| -> Vec<f32> {
                let token = |t: usize| &x[(b * tokens + t) * row + offset + h * dim..][..dim];
                (0..tokens).flat_map(|t| token(t).to_vec()).collect()
            };
            let expected = reference::attention(
                &take(&q, queries, heads * dim, 0),
                &take(&kv, keys, row, 0),
                &take(&kv, keys, row, heads * dim),
                dim,
                1.0 / (dim as f64).sqrt(),
            );
            let found = take(&found, queries, heads * dim, 0);
            // Scores of hundreds are exact to 1e-5 only, and their exponentials no better.
            let limit = if magnitude > 1.0 { 3e-2 } else { 2e-6 };
            let what = format!("attention {level:?} {queries} × {keys} × {dim}");
            assert_close(&found, &expected, limit, &what);
        }
    }
}

fn check_conv([h, w, c]: [usize; 3], out: usize, stride: usize) {
    let maps = 2;
    let x = numbers(maps * h * w * c, 1);
    let weight = numbers(out * 9 * c, 2);
    let positive: Vec<f32> = x.iter().map(|x| x.max(0.0)).collect();
    for level in Level::available() {
        let panels = Panels::new(Matrix::F32(&weight), out, 9 * c, level);
        for (rectified, same) in [(false, &x), (true, &positive)] {
            let rows = Neighbourhoods::new(&x, [h, w, c], stride, rectified);
            let (height, width) = rows.out_size();
            let found = multiply(&rows, maps * height * width, &panels, PLAIN);
            let expected: Vec<f64> = same
                .chunks_exact(h * w * c)
                .flat_map(|map| reference::conv3x3(map, [h, w, c], &weight, stride))
                .collect();
            let limit = 2e-6 * (9.0 * c as f64).sqrt();
            assert_close(&found, &expected, limit, &format!("conv {level:?} {h}×{w}×{c}"));
        }
    }
}

#[test]
fn a_convolution_deeper_than_one_block() {
    check_conv([3, 5, 96], 34, 1);
    check_conv([4, 3, 600], 5, 2);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let (rows, depth, columns) = (211, 700, 150);
    let (x, w) = (numbers(rows * depth, 1), numbers(columns * depth, 2));
    let qkv = numbers(2 * 131 * 3 * 4 * 64, 3);
    let heads =
        |i: usize| Heads { values: &qkv[i * 256..], strides: [131 * 768, 768, 64], tokens: 131 };
    let shape = AttentionShape { batch: 2, heads: 4, head_dim: 64, scale: 0.125 };
    for level in Level::available() {
        let panels = Panels::new(Matrix::F32(&w), columns, depth, level);
        let results = [1, 2, 5].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let finish = Finish { bias: None, then: Then::Gelu };
                let mut all = multiply(&Dense { values: &x, depth }, rows, &panels, finish);
                all.extend(attention([heads(0), heads(1), heads(2)], shape, level));
                let mut resized = vec![0.0; 9 * 8 * 350];
                resize(&x[..4 * 5 * 350], [4, 5, 350], &mut resized, (9, 8), level);
                all.extend(resized);
                all.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
            })
        });
        assert!(results[0] == results[1] && results[0] == results[2], "{level:?}");
    }
}

#[test]
fn nothing_gives_nothing() {
    let w = numbers(12, 1);
    let panels = Panels::new(Matrix::F32(&w), 3, 4, Level::best());
    assert!(multiply(&Dense { values: &[], depth: 4 }, 0, &panels, PLAIN).is_empty());
    let none = Heads { values: &[], strides: [0, 4, 4], tokens: 0 };
    let shape = AttentionShape { batch: 1, heads: 1, head_dim: 4, scale: 1.0 };
    assert!(attention([none; 3], shape, Level::best()).is_empty());
}
