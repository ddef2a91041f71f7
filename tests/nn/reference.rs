//! What the kernels are compared with: the definitions, in f64, number by number.

/// Returns numbers between -1 and 1 that `seed` determines.
pub fn numbers(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1u64 << 23) as f32) - 1.0
    };
    std::iter::repeat_with(next).take(n).collect()
}

/// Returns `x · wᵀ` for `x` `[rows, depth]` and `w` `[columns, depth]`.
pub fn product(x: &[f32], w: &[f32], depth: usize) -> Vec<f64> {
    let dot = |x: &[f32], w: &[f32]| -> f64 {
        x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum()
    };
    let rows = x.chunks_exact(depth);
    rows.flat_map(|x| w.chunks_exact(depth).map(move |w| dot(x, w))).collect()
}

/// Returns erf(x): its series near zero, its continued fraction far away.
pub fn erf(x: f64) -> f64 {
    let scale = 2.0 / std::f64::consts::PI.sqrt();
    if x.abs() < 3.0 {
        let mut term = x;
        let mut sum = x;
        for n in 1..100 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return scale * sum;
    }
    let t = x.abs();
    let fraction = (1..60).rev().fold(t, |tail, n| t + f64::from(n) / 2.0 / tail);
    x.signum() * (1.0 - (-t * t).exp() / fraction / std::f64::consts::PI.sqrt())
}

/// Returns the exact GELU.
pub fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2))
}

/// Returns attention of one head for `q` `[Tq, D]`, `k` and `v` `[Tk, D]`.
pub fn attention(q: &[f32], k: &[f32], v: &[f32], dim: usize, scale: f64) -> Vec<f64> {
    let scores = product(q, k, dim);
    let keys = k.len() / dim;
    let mut out = Vec::with_capacity(q.len());
    for row in scores.chunks_exact(keys) {
        let largest = row.iter().copied().fold(f64::MIN, f64::max);
        let weights: Vec<f64> = row.iter().map(|x| ((x - largest) * scale).exp()).collect();
        let sum: f64 = weights.iter().sum();
        for d in 0..dim {
            let values = v[d..].iter().step_by(dim);
            let mixed: f64 = weights.iter().zip(values).map(|(w, v)| w * f64::from(*v)).sum();
            out.push(mixed / sum);
        }
    }
    out
}

/// Returns the 3×3 convolution of one map `[H, W, C]` with weights `[O, 3, 3, C]`.
pub fn conv3x3(x: &[f32], [h, w, c]: [usize; 3], weight: &[f32], stride: usize) -> Vec<f64> {
    let mut out = Vec::new();
    for y in (0..h).step_by(stride) {
        for column in (0..w).step_by(stride) {
            for weight in weight.chunks_exact(9 * c) {
                let taps = weight.chunks_exact(c).enumerate();
                let inside = taps.filter_map(|(tap, weight)| {
                    let (y, x_at) = (y + tap / 3, column + tap % 3);
                    let pixel_at = (y.checked_sub(1)? * w + x_at.checked_sub(1)?) * c;
                    (y <= h && x_at <= w).then(|| product(&x[pixel_at..][..c], weight, c)[0])
                });
                out.push(inside.sum());
            }
        }
    }
    out
}

/// Returns one map `[H, W, C]` resized, corners on corners.
pub fn resize(x: &[f32], [h, w, c]: [usize; 3], height: usize, width: usize) -> Vec<f64> {
    let at = |i: usize, from: usize, to: usize| {
        let at = if to > 1 { i as f64 * (from - 1) as f64 / (to - 1) as f64 } else { 0.0 };
        let first = (at.floor() as usize).min(from - 1);
        (first, (first + 1).min(from - 1), at - first as f64)
    };
    let mut out = Vec::with_capacity(height * width * c);
    for row in 0..height {
        let (top, bottom, fy) = at(row, h, height);
        for column in 0..width {
            let (left, right, fx) = at(column, w, width);
            for channel in 0..c {
                let pixel = |y: usize, x_at: usize| f64::from(x[(y * w + x_at) * c + channel]);
                let upper = pixel(top, left) * (1.0 - fx) + pixel(top, right) * fx;
                let lower = pixel(bottom, left) * (1.0 - fx) + pixel(bottom, right) * fx;
                out.push(upper * (1.0 - fy) + lower * fy);
            }
        }
    }
    out
}

/// Returns rows of `width` normalised to mean 0 and variance 1, scaled and shifted.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f64) -> Vec<f64> {
    let width = weight.len();
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks_exact(width) {
        let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / width as f64;
        let variance =
            row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / width as f64;
        let normal = row.iter().map(|x| (f64::from(*x) - mean) / (variance + epsilon).sqrt());
        let affine = normal.zip(weight).zip(bias);
        out.extend(affine.map(|((x, w), b)| x * f64::from(*w) + f64::from(*b)));
    }
    out
}

/// Panics where the two differ by more than `limit`.
pub fn assert_close(found: &[f32], expected: &[f64], limit: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(error <= limit, "{what}: number {i} is {found}, not {expected}: off by {error:e}");
    }
}
