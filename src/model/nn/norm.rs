//! Layer normalisation.

use candle_core::{D, DType, Result, Tensor, bail};

use super::Weights;
use super::cpu::{rows, simd::Level};
use super::host::{self, Host};

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

    /// Returns `x` normalised.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if x.device().is_cpu() {
            return self.forward_on_cpu(x);
        }
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
