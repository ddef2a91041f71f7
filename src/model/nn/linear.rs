//! The affine layer.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{D, DType, Result, Tensor};
use half::f16;
use rayon::prelude::*;

use super::cpu::gemm::{Dense, Matrix, Q8_BLOCK};
use super::host::{self, Host};
use super::product::{Packed, Then};
use super::{Weights, silu_gate};

/// An affine map of the last dimension.
#[derive(Debug, Clone)]
pub struct Linear(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Packed(Packed),
    /// `[out, in]`, `[out]`.
    Plain {
        weight: Tensor,
        bias: Option<Tensor>,
    },
}

impl Linear {
    /// Returns the layer under `weights`: tensor `weight` `[out, in]`, or `[out, in, k, k]` of a
    /// convolution whose stride is its kernel, and `bias` if there is one. Quantised matrices stay so
    /// where they can.
    pub fn load(weights: &Weights) -> Result<Self> {
        let bias = weights.optional("bias")?;
        match weights.quantized("weight")? {
            Some(weight) if rows(&weight).is_some() => Self::quantized(&weight, bias),
            _ => Self::new(weights.kernel("weight")?.flatten_from(1)?, bias),
        }
    }

    /// Returns the layer with `weight` `[out, in]` and `bias` `[out]`.
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Result<Self> {
        Ok(match Packed::new(&weight, bias.as_ref())? {
            Some(packed) => Self(Kind::Packed(packed)),
            None => Self(Kind::Plain { weight, bias }),
        })
    }

    /// Returns the layer with quantised `weight` `[out, in]` and `bias` `[out]`. On the CPU q8_0
    /// stays as it is; all else is widened.
    pub fn quantized(weight: &QTensor, bias: Option<Tensor>) -> Result<Self> {
        if let Some(packed) = packed_q8(weight, bias.as_ref())? {
            return Ok(Self(Kind::Packed(packed)));
        }
        let (outputs, depth) = rows(weight).unwrap_or_default();
        Self::new(weight.dequantize(&weight.device())?.reshape((outputs, depth))?, bias)
    }

    /// Returns how many numbers a row of the result has.
    pub fn out_features(&self) -> usize {
        match &self.0 {
            Kind::Packed(packed) => packed.outputs(),
            Kind::Plain { weight, .. } => weight.dims().first().copied().unwrap_or(0),
        }
    }

    /// Returns the type that the layer computes with.
    pub fn dtype(&self) -> DType {
        match &self.0 {
            Kind::Packed(_) => DType::F32,
            Kind::Plain { weight, .. } => weight.dtype(),
        }
    }

    /// Returns `x · weightᵀ + bias` over the last dimension of `x`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_then(x, Then::Nothing)
    }

    /// Returns the exact GELU of [`Linear::forward`].
    pub fn forward_gelu(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_then(x, Then::Gelu)
    }

    /// Returns [`silu_gate`] of [`Linear::forward`].
    pub fn forward_silu_gate(&self, x: &Tensor) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if let Kind::Plain { weight, bias: Some(bias) } = &self.0
            && let Some(out) = super::cuda::silu_gate(&product(x, weight)?, bias)?
        {
            let mut shape = x.dims().to_vec();
            shape.pop();
            shape.push(self.out_features() / 2);
            return out.reshape(shape);
        }
        silu_gate(&self.forward(x)?)
    }

    /// Returns [`Linear::forward`] and what follows.
    pub fn forward_then(&self, x: &Tensor, then: Then<'_>) -> Result<Tensor> {
        let mut shape = x.dims().to_vec();
        let depth = shape.pop().unwrap_or(0);
        shape.push(self.out_features());
        match &self.0 {
            Kind::Packed(packed) => {
                let x = host::dense_f32(x)?;
                let values = Host::new(&x);
                packed.forward(&Dense { values: values.values()?, depth }, shape, then)
            }
            Kind::Plain { weight, bias } => {
                then.finish(product(x, weight)?.reshape(shape)?, bias.as_ref())
            }
        }
    }
}

/// Returns `x · weightᵀ` over the last dimension of `x`, in rows.
fn product(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let x = x.to_dtype(weight.dtype())?.reshape(((), x.dim(D::Minus1)?))?;
    x.matmul(&weight.t()?)
}

/// Outputs and depth of a matrix, or of a kernel of one pixel.
fn rows(weight: &QTensor) -> Option<(usize, usize)> {
    match *weight.shape().dims() {
        [outputs, depth] | [outputs, 1, 1, depth] => Some((outputs, depth)),
        _ => None,
    }
}

/// Quantised weights ready for products over all dimensions but the first, as they are; `None` for
/// other kinds than q8_0, and elsewhere than on the CPU.
pub(super) fn packed_q8(weight: &QTensor, bias: Option<&Tensor>) -> Result<Option<Packed>> {
    let (outputs, depth) = match weight.shape().dims() {
        [outputs, rest @ ..] => (*outputs, rest.iter().product::<usize>()),
        [] => return Ok(None),
    };
    let fits = weight.dtype() == GgmlDType::Q8_0 && depth.is_multiple_of(Q8_BLOCK);
    if !(fits && weight.device().is_cpu()) {
        return Ok(None);
    }
    let (scales, numbers) = q8_parts(&weight.data()?);
    let matrix = Matrix::Q8 { numbers: &numbers, scales: &scales };
    Packed::from_matrix(matrix, (outputs, depth), bias).map(Some)
}

/// Scales and numbers of q8_0 blocks: each a half precision scale and 32 signed bytes.
fn q8_parts(bytes: &[u8]) -> (Vec<f16>, Vec<i8>) {
    let blocks = bytes.par_chunks_exact(2 + Q8_BLOCK);
    let mut numbers = vec![0; blocks.len() * Q8_BLOCK];
    numbers.par_chunks_exact_mut(Q8_BLOCK).zip(blocks.clone()).for_each(|(to, block)| {
        to.iter_mut().zip(&block[2..]).for_each(|(to, x)| *to = x.cast_signed());
    });
    (blocks.map(|block| f16::from_le_bytes([block[0], block[1]])).collect(), numbers)
}
