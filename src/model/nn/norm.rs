//! Layer normalisation.

use candle_core::{D, DType, Result, Tensor, bail};

use super::cpu::{rows, simd::Level};
use super::host::{self, Host};
use super::{Linear, Weights};

/// Normalises the last dimension to mean 0 and variance 1, then scales and shifts it; in f32.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl LayerNorm {
    /// Returns the layer under `weights`: tensors `weight` and `bias`.
    pub fn load(weights: &Weights, epsilon: f64) -> Result<Self> {
        let (weight, bias) = (weights.tensor_f32("weight")?, weights.tensor_f32("bias")?);
        if weight.dims() != bias.dims() || weight.rank() != 1 {
            bail!("normalisation: weight {:?}, bias {:?}", weight.dims(), bias.dims());
        }
        Ok(Self { weight, bias, epsilon })
    }

    /// Returns how many numbers it normalises together.
    pub fn width(&self) -> usize {
        self.weight.elem_count()
    }

    /// Returns `x` normalised.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_as(x, DType::F32)
    }

    /// Returns `x` normalised, in the type that `next` computes with.
    pub fn forward_for(&self, x: &Tensor, next: &Linear) -> Result<Tensor> {
        self.forward_as(x, next.dtype())
    }

    /// In `dtype` where that costs no pass over memory, else in f32.
    fn forward_as(&self, x: &Tensor, dtype: DType) -> Result<Tensor> {
        if x.device().is_cpu() {
            return self.forward_on_cpu(x);
        }
        #[cfg(feature = "cuda")]
        let weights = (&self.weight, &self.bias);
        #[cfg(feature = "cuda")]
        if let Some(out) = super::cuda::layer_norm(x, weights, self.epsilon, dtype)? {
            return Ok(out);
        }
        let _ = dtype;
        let x = x.to_dtype(DType::F32)?;
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let normal = centred.broadcast_div(&(variance + self.epsilon)?.sqrt()?)?;
        normal.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)
    }

    fn forward_on_cpu(&self, x: &Tensor) -> Result<Tensor> {
        if x.dim(D::Minus1)? != self.weight.elem_count() {
            bail!("normalisation of {:?} by {:?}", x.dims(), self.weight.dims());
        }
        let (weight, bias) = (Host::new(&self.weight), Host::new(&self.bias));
        let (weight, bias) = (weight.values()?, bias.values()?);
        let norm = rows::Norm { weight, bias, epsilon: self.epsilon as f32 };
        host::map(x, |from, to| norm.apply(from, to, Level::best()))
    }
}
