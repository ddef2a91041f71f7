//! The innermost loop of convolution over `[H, W, C]` maps, compiled for the widest vectors that
//! this processor has.
#![allow(unsafe_code)]

/// Output channels that lie side by side in a panel of weights.
pub(super) const LANES: usize = 16;
/// Output pixels that share the loads of weights.
const PIXELS: usize = 4;

/// One number for each of [`LANES`] output channels.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Lanes(pub [f32; LANES]);

/// A convolution over one row of output pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    /// Input from the first tap of the first output pixel on.
    pub input: &'a [f32],
    /// Numbers from one row of input to the next.
    pub input_stride: usize,
    /// Numbers from the first tap of an output pixel to that of the next.
    pub step: usize,
    /// Numbers of input side by side that one row of taps takes in.
    pub taps: usize,
    /// Rows of taps.
    pub tap_rows: usize,
    /// For each panel, `tap_rows · taps` lanes.
    pub weights: &'a [Lanes],
    /// One for each panel.
    pub bias: &'a [Lanes],
    /// Output channels.
    pub channels: usize,
    /// Whether negative results become zero.
    pub relu: bool,
}

/// Writes to `output` the convolution of a row, `channels` numbers for each pixel. Every number
/// is a sum in the order of the taps: the same on any number of threads.
pub(super) fn convolve(row: &Row<'_>, output: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has what the function is compiled for.
            return unsafe { convolve_avx512(row, output) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has what the function is compiled for.
            return unsafe { convolve_avx2(row, output) };
        }
    }
    by_panels::<1, 1, false>(row, output);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn convolve_avx512(row: &Row<'_>, output: &mut [f32]) {
    by_panels::<PIXELS, 4, true>(row, output);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn convolve_avx2(row: &Row<'_>, output: &mut [f32]) {
    by_panels::<PIXELS, 1, true>(row, output);
}

/// Takes `P` panels at a time, then two, then one; `Q` pixels at a time.
#[inline(always)]
fn by_panels<const Q: usize, const P: usize, const FUSED: bool>(row: &Row<'_>, output: &mut [f32]) {
    let mut panel = 0;
    while panel < row.bias.len() {
        match row.bias.len() - panel {
            left if left >= P => {
                along_row::<Q, P, FUSED>(row, panel, output);
                panel += P;
            }
            left if left >= 2 => {
                along_row::<Q, 2, FUSED>(row, panel, output);
                panel += 2;
            }
            _ => {
                along_row::<Q, 1, FUSED>(row, panel, output);
                panel += 1;
            }
        }
    }
}

#[inline(always)]
fn along_row<const Q: usize, const P: usize, const FUSED: bool>(
    row: &Row<'_>,
    panel: usize,
    output: &mut [f32],
) {
    let width = output.len() / row.channels;
    for (tile, output) in output.chunks_mut(Q * row.channels).enumerate() {
        // Pixels beyond the end repeat the last one and are not written.
        let starts: [usize; Q] = std::array::from_fn(|q| (tile * Q + q).min(width - 1) * row.step);
        let mut sums: [[Lanes; P]; Q] = [std::array::from_fn(|p| row.bias[panel + p]); Q];
        for tap_row in 0..row.tap_rows {
            let pixels: [&[f32]; Q] = std::array::from_fn(|q| {
                &row.input[tap_row * row.input_stride + starts[q]..][..row.taps]
            });
            let weights: [&[Lanes]; P] = std::array::from_fn(|p| {
                let first = ((panel + p) * row.tap_rows + tap_row) * row.taps;
                &row.weights[first..][..row.taps]
            });
            accumulate::<Q, P, FUSED>(row.taps, &pixels, &weights, &mut sums);
        }
        write::<Q, P>(row, panel, &sums, output);
    }
}

#[inline(always)]
fn accumulate<const Q: usize, const P: usize, const FUSED: bool>(
    taps: usize,
    pixels: &[&[f32]; Q],
    weights: &[&[Lanes]; P],
    sums: &mut [[Lanes; P]; Q],
) {
    let mut local = *sums;
    for k in 0..taps {
        for q in 0..Q {
            for p in 0..P {
                add_product::<FUSED>(&mut local[q][p], pixels[q][k], &weights[p][k]);
            }
        }
    }
    *sums = local;
}

#[inline(always)]
fn add_product<const FUSED: bool>(sum: &mut Lanes, factor: f32, lanes: &Lanes) {
    for l in 0..LANES {
        sum.0[l] = if FUSED {
            factor.mul_add(lanes.0[l], sum.0[l])
        } else {
            factor * lanes.0[l] + sum.0[l]
        };
    }
}

#[inline(always)]
fn write<const Q: usize, const P: usize>(
    row: &Row<'_>,
    panel: usize,
    sums: &[[Lanes; P]; Q],
    output: &mut [f32],
) {
    for (pixel, sums) in output.chunks_exact_mut(row.channels).zip(sums) {
        let groups = pixel[panel * LANES..].chunks_mut(LANES);
        for (group, sum) in groups.zip(sums) {
            for (out, &value) in group.iter_mut().zip(&sum.0) {
                *out = if row.relu { value.max(0.0) } else { value };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 3×3 taps of 5 channels, stride 2, seven pixels: neither panels nor tiles come out even.
    #[test]
    fn all_instructions_agree() {
        let number = |i: usize| ((i * 7919 + 31) % 1013) as f32 / 1013.0 - 0.5;
        let input: Vec<f32> = (0..3 * 16 * 5).map(number).collect();
        for channels in [1_usize, 16, 40, 65, 128] {
            let panels = channels.div_ceil(LANES);
            let lanes = |i: usize| Lanes(std::array::from_fn(|l| number(3 * i + 7 * l)));
            let weights: Vec<Lanes> = (0..panels * 45).map(lanes).collect();
            let bias: Vec<Lanes> = (0..panels).map(lanes).collect();
            let row = Row {
                input: &input,
                input_stride: 16 * 5,
                step: 2 * 5,
                taps: 3 * 5,
                tap_rows: 3,
                weights: &weights,
                bias: &bias,
                channels,
                relu: channels != 16,
            };
            let (mut expected, mut found) = (vec![0.0; 7 * channels], vec![9.0; 7 * channels]);
            by_panels::<1, 1, false>(&row, &mut expected);
            convolve(&row, &mut found);
            for (a, b) in expected.iter().zip(&found) {
                assert!((a - b).abs() < 1e-4, "{channels} channels: {a} {b}");
            }
        }
    }
}
