//! The affine layer.

use candle_core::{Result, Tensor};

use super::{Weights, gelu};

/// An affine map of the last dimension.
#[derive(Debug, Clone)]
pub struct Linear {
    /// `[out, in]`.
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Returns the layer under `weights`: tensor `weight` `[out, in]`, or `[out, in, k, k]` of a
    /// convolution whose stride is its kernel, and `bias` if there is one.
    pub fn load(weights: &Weights) -> Result<Self> {
        let weight = weights.tensor("weight")?.flatten_from(1)?;
        Ok(Self { weight, bias: weights.optional("bias")? })
    }

    /// Returns how many numbers a row of the result has.
    pub fn out_features(&self) -> usize {
        self.weight.dims().first().copied().unwrap_or(0)
    }

    /// Returns `x · weightᵀ + bias` over the last dimension of `x`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut shape = x.dims().to_vec();
        let width = shape.pop().unwrap_or(0);
        let rows: usize = shape.iter().product();
        let x = x.to_dtype(self.weight.dtype())?.reshape((rows, width))?;
        let out = x.matmul(&self.weight.t()?)?;
        shape.push(self.out_features());
        let out = out.reshape(shape)?;
        match &self.bias {
            Some(bias) => out.broadcast_add(bias),
            None => Ok(out),
        }
    }

    /// Returns the exact GELU of [`Linear::forward`].
    pub fn forward_gelu(&self, x: &Tensor) -> Result<Tensor> {
        gelu(&self.forward(x)?)
    }
}
