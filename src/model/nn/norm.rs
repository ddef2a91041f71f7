//! Layer normalisation.

use candle_core::{D, DType, Result, Tensor};

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
        Ok(Self {
            weight: weights.tensor_f32("weight")?,
            bias: weights.tensor_f32("bias")?,
            epsilon,
        })
    }

    /// Returns `x` normalised, as the layer `next` reads it best.
    pub fn forward_for(&self, x: &Tensor, next: &Linear) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if let Some(out) = self.on_gpu(x, next.dtype())? {
            return Ok(out);
        }
        let _ = next;
        self.forward(x)
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, x: &Tensor, dtype: DType) -> Result<Option<Tensor>> {
        super::cuda::layer_norm(x, (&self.weight, &self.bias), self.epsilon, dtype)
    }

    /// Returns `x` normalised.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if let Some(out) = self.on_gpu(x, DType::F32)? {
            return Ok(out);
        }
        let x = x.to_dtype(DType::F32)?;
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let normal = centred.broadcast_div(&(variance + self.epsilon)?.sqrt()?)?;
        normal.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)
    }
}
