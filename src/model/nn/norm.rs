//! Layer normalisation.

use candle_core::{D, DType, Result, Tensor};

use super::Weights;

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

    /// Returns `x` normalised.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.to_dtype(DType::F32)?;
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let normal = centred.broadcast_div(&(variance + self.epsilon)?.sqrt()?)?;
        normal.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)
    }
}
