//! Every kernel beside what candle's own operations give.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use recon_node::model::nn::{self, Conv3x3, Then, Weights, cuda};

use super::table::markdown;

/// Rounding of a result to bf16, relative to 1 + its magnitude; of f32 sums in another order.
const BF16: f64 = 8e-3;
const F32: f64 = 5e-5;
/// Factors have 10 bits of mantissa.
const TF32: f64 = 1e-2;

/// A comparison.
pub struct Check {
    name: String,
    /// Largest difference, relative to one plus the magnitude of what is expected.
    error: f64,
    limit: f64,
    kernel_ms: f64,
    plain_ms: f64,
}

impl Check {
    /// Returns whether the difference is within its limit.
    pub fn passed(&self) -> bool {
        self.error <= self.limit
    }

    fn row(&self) -> Vec<String> {
        let verdict = if self.passed() { "" } else { " BROKEN" };
        vec![
            self.name.clone(),
            format!("{:.1e}{verdict}", self.error),
            format!("{:.0e}", self.limit),
            format!("{:.3}", self.kernel_ms),
            format!("{:.3}", self.plain_ms),
        ]
    }
}

/// Returns the table of the comparisons.
pub fn table(checks: &[Check]) -> String {
    let heads = ["kernel", "worst error", "limit", "ms", "plain ms"];
    markdown(&heads, &checks.iter().map(Check::row).collect::<Vec<_>>())
}

/// Returns the comparison of every kernel.
pub fn check(device: &Device) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for (batch, queries, keys, heads) in
        [(1, 1, 1, 1), (2, 77, 63, 3), (1, 129, 2073, 12), (8, 1037, 1037, 16), (1, 8289, 8289, 12)]
    {
        checks.push(attention(device, (batch, queries, keys, heads))?);
    }
    for dtype in [DType::F32, DType::BF16] {
        for (rows, width) in [(3, 40), (8296, 1024), (8296, 1536)] {
            checks.extend(rows_checks(device, dtype, (rows, width))?);
        }
    }
    for (size, channels, out, stride) in [
        ((5, 7), 3, 8, 1),
        ((9, 11), 48, 40, 2),
        ((28, 37), 768, 768, 2),
        ((224, 296), 256, 128, 1),
    ] {
        checks.push(conv(device, (size, stride), (channels, out), DType::F32)?);
        checks.push(conv(device, (size, stride), (channels, out), DType::BF16)?);
    }
    nn::set_precision(DType::F32);
    checks.push(resize(device, (5, 7, 3), (9, 4))?);
    checks.push(resize(device, (224, 296, 128), (392, 518))?);
    Ok(checks)
}

/// Milliseconds of one run, after one that loads the kernel: the least of five.
fn time<T>(device: &Device, run: impl Fn() -> Result<T>) -> Result<f64> {
    run()?;
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        device.synchronize()?;
        let start = Instant::now();
        run()?;
        device.synchronize()?;
        best = best.min(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(best)
}

/// The largest difference relative to one plus the magnitude; NaN where there is one.
fn difference(found: &Tensor, expected: &Tensor) -> Result<f64> {
    let on_cpu = |x: &Tensor| x.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all();
    let (found, expected) = (on_cpu(found)?.to_vec1::<f32>()?, on_cpu(expected)?.to_vec1::<f32>()?);
    anyhow::ensure!(found.len() == expected.len(), "shapes differ");
    let pairs =
        found.iter().zip(&expected).map(|(a, b)| f64::from((a - b).abs() / (1.0 + b.abs())));
    Ok(pairs.fold(0.0, |worst, error| if error <= worst { worst } else { error }))
}

fn normal(device: &Device, shape: &[usize], spread: f64) -> Result<Tensor> {
    Ok((Tensor::randn(0f32, 1.0, shape, device)? * spread)?)
}

fn attention(
    device: &Device,
    (batch, queries, keys, heads): (usize, usize, usize, usize),
) -> Result<Check> {
    let packed = |tokens| -> Result<Tensor> {
        Ok(normal(device, &[batch, tokens, 3, heads, 64], 1.5)?.to_dtype(DType::BF16)?)
    };
    let (for_q, for_kv) = (packed(queries)?, packed(keys)?);
    let part = |x: &Tensor, i| x.narrow(2, i, 1)?.squeeze(2);
    let (q, k, v) = (part(&for_q, 0)?, part(&for_kv, 1)?, part(&for_kv, 2)?);
    let fused = || cuda::attention(&q, &k, &v, 0.125)?.context("the attention kernel refused");
    let as_type = |dtype| -> Result<[Tensor; 3]> {
        Ok([q.to_dtype(dtype)?, k.to_dtype(dtype)?, v.to_dtype(dtype)?])
    };
    let [q32, k32, v32] = as_type(DType::F32)?;
    let expected = nn::attention(&q32, &k32, &v32, 0.125)?;
    // In f16 the layer takes the plain path, with tensor cores as well.
    let [q16, k16, v16] = as_type(DType::F16)?;
    Ok(Check {
        name: format!("attention {batch}x{queries}x{keys}, {heads} heads, bf16"),
        error: difference(&fused()?, &expected)?,
        limit: 2e-2,
        kernel_ms: time(device, fused)?,
        plain_ms: time(device, || Ok(nn::attention(&q16, &k16, &v16, 0.125)?))?,
    })
}

/// A kernel's result and candle's, computed in f32 from the same numbers.
fn compare(
    device: &Device,
    (name, dtype): (String, DType),
    kernel: impl Fn() -> Result<Tensor>,
    plain: impl Fn() -> Result<Tensor>,
) -> Result<Check> {
    Ok(Check {
        error: difference(&kernel()?, &plain()?)?,
        limit: if dtype == DType::BF16 { BF16 } else { F32 },
        kernel_ms: time(device, kernel)?,
        plain_ms: time(device, plain)?,
        name,
    })
}

fn rows_checks(device: &Device, dtype: DType, (rows, width): (usize, usize)) -> Result<Vec<Check>> {
    let number =
        |shape: &[usize]| -> Result<Tensor> { Ok(normal(device, shape, 1.5)?.to_dtype(dtype)?) };
    let f32 = |x: &Tensor| x.to_dtype(DType::F32);
    let name = |what: &str| (format!("{what} {rows}x{width}, {dtype:?}"), dtype);
    let (x, bias) = (number(&[rows, width])?, number(&[width])?);
    let (wide, wide_bias) = (number(&[rows, 2 * width])?, number(&[2 * width])?);
    let residual = normal(device, &[rows, width], 1.0)?;
    let (gamma, shift) = (normal(device, &[width], 1.0)?, normal(device, &[width], 1.0)?);
    let finish = |then: Then<'_>| {
        // In place: it works on a copy.
        cuda::finish(&x.copy()?, &bias, then)?.context("the bias kernel refused")
    };
    let plain_bias = || f32(&x)?.broadcast_add(&f32(&bias)?);
    let plain_gate =
        || -> Result<Tensor> { Ok(nn::silu_gate(&f32(&wide)?.broadcast_add(&f32(&wide_bias)?)?)?) };
    let branch = Then::ScaleAdd { scale: &gamma, to: &residual };
    let norm = || cuda::layer_norm(&residual, (&gamma, &shift), 1e-6, dtype)?.context("refused");
    let plain_norm = || -> Result<Tensor> {
        let centred = residual.broadcast_sub(&residual.mean_keepdim(1)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(1)? + 1e-6)?.sqrt()?;
        Ok(centred.broadcast_div(&deviation)?.broadcast_mul(&gamma)?.broadcast_add(&shift)?)
    };
    Ok(vec![
        compare(device, name("bias"), || finish(Then::Nothing), || Ok(plain_bias()?))?,
        compare(
            device,
            name("bias and ReLU"),
            || finish(Then::Relu),
            || Ok(plain_bias()?.relu()?),
        )?,
        compare(
            device,
            name("bias and GELU"),
            || finish(Then::Gelu),
            || Ok(plain_bias()?.gelu_erf()?),
        )?,
        compare(
            device,
            name("SiLU gate"),
            || cuda::silu_gate(&wide, &wide_bias)?.context("the gate kernel refused"),
            plain_gate,
        )?,
        compare(
            device,
            name("scaled branch"),
            || finish(branch),
            || Ok((&residual + plain_bias()?.broadcast_mul(&gamma)?)?),
        )?,
        compare(device, name("layer norm"), norm, plain_norm)?,
    ])
}

/// The same layer on the GPU and on the CPU.
fn on_both(device: &Device, tensors: &HashMap<String, Tensor>) -> Result<(Weights, Weights)> {
    let moved = |to: &Device| -> Result<HashMap<String, Tensor>> {
        tensors.iter().map(|(name, x)| Ok((name.clone(), x.to_device(to)?))).collect()
    };
    Ok((Weights::new(moved(device)?, DType::F32), Weights::new(moved(&Device::Cpu)?, DType::F32)))
}

/// With weights of type `policy` elsewhere in the network: with less than f32, convolutions may
/// round their factors to TF32.
fn conv(
    device: &Device,
    ((height, width), stride): ((usize, usize), usize),
    (channels, out): (usize, usize),
    policy: DType,
) -> Result<Check> {
    nn::set_precision(policy);
    let tensors = HashMap::from([
        ("weight".to_owned(), normal(device, &[out, channels, 3, 3], 0.02)?),
        ("bias".to_owned(), normal(device, &[out], 0.5)?),
    ]);
    let (on_gpu, on_cpu) = on_both(device, &tensors)?;
    let (gpu, cpu) = (Conv3x3::load(&on_gpu, stride)?, Conv3x3::load(&on_cpu, stride)?);
    let x = normal(device, &[2, height, width, channels], 1.0)?;
    let to = normal(device, &[2, height.div_ceil(stride), width.div_ceil(stride), out], 1.0)?;
    let (x_cpu, to_cpu) = (x.to_device(&Device::Cpu)?, to.to_device(&Device::Cpu)?);
    let kernel_result = gpu.forward_rectified_then(&x, Then::Add(&to))?;
    let expected = cpu.forward_rectified_then(&x_cpu, Then::Add(&to_cpu))?;
    let nchw = x.permute((0, 3, 1, 2))?.contiguous()?;
    let kernel = tensors.get("weight").context("the weight")?;
    Ok(Check {
        name: format!(
            "3x3 convolution {height}x{width}x{channels} to {out}, stride {stride}, {}",
            if policy == DType::F32 { "F32" } else { "TF32" }
        ),
        error: difference(&kernel_result, &expected)?,
        limit: if policy == DType::F32 { F32 } else { TF32 },
        kernel_ms: time(device, || Ok(gpu.forward(&x)?))?,
        plain_ms: time(device, || Ok(nchw.conv2d(kernel, 1, stride, 1, 1)?))?,
    })
}

fn resize(
    device: &Device,
    (height, width, channels): (usize, usize, usize),
    (to_height, to_width): (usize, usize),
) -> Result<Check> {
    let x = normal(device, &[2, height, width, channels], 1.0)?;
    let nchw = x.permute((0, 3, 1, 2))?.contiguous()?;
    let plain = || Ok(nchw.upsample_bilinear2d(to_height, to_width, true)?);
    Ok(Check {
        name: format!("bilinear {height}x{width}x{channels} to {to_height}x{to_width}, F32"),
        error: difference(
            &nn::resize_bilinear(&x, to_height, to_width)?,
            &nn::resize_bilinear(&x.to_device(&Device::Cpu)?, to_height, to_width)?,
        )?,
        limit: 1e-4,
        kernel_ms: time(device, || Ok(nn::resize_bilinear(&x, to_height, to_width)?))?,
        plain_ms: time(device, plain)?,
    })
}
