//! The affine layer.

use candle_core::{DType, Result, Tensor};

#[cfg(feature = "cuda")]
use super::cuda;
use super::{Weights, gelu, silu_gate};

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

    /// Returns the type of the weights.
    pub fn dtype(&self) -> DType {
        self.weight.dtype()
    }

    /// Returns `x · weightᵀ + bias` over the last dimension of `x`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.with_bias(self.product(x)?)
    }

    /// Returns the exact GELU of [`Linear::forward`].
    pub fn forward_gelu(&self, x: &Tensor) -> Result<Tensor> {
        let out = self.product(x)?;
        #[cfg(feature = "cuda")]
        if let Some(bias) = &self.bias
            && cuda::add_bias(&out, bias, true)?
        {
            return Ok(out);
        }
        gelu(&self.with_bias(out)?)
    }

    /// Returns [`silu_gate`] of [`Linear::forward`].
    pub fn forward_silu_gate(&self, x: &Tensor) -> Result<Tensor> {
        let out = self.product(x)?;
        #[cfg(feature = "cuda")]
        if let Some(bias) = &self.bias
            && let Some(gated) = cuda::silu_gate(&out, bias)?
        {
            return Ok(gated);
        }
        silu_gate(&self.with_bias(out)?)
    }

    /// Returns `residual + gamma · forward(x)` in the type of `residual`: the end of each half of a
    /// transformer's block. Without `gamma` it counts as one.
    pub fn forward_onto(
        &self,
        x: &Tensor,
        residual: &Tensor,
        gamma: Option<&Tensor>,
    ) -> Result<Tensor> {
        let out = self.product(x)?;
        #[cfg(feature = "cuda")]
        if let Some(bias) = &self.bias
            && let Some(sum) = cuda::add_branch(residual, &out, bias, gamma)?
        {
            return Ok(sum);
        }
        let change = self.with_bias(out)?.to_dtype(residual.dtype())?;
        match gamma {
            Some(gamma) => residual + change.broadcast_mul(gamma)?,
            None => residual + change,
        }
    }

    /// Returns `x · weightᵀ`, in memory that nobody else holds.
    fn product(&self, x: &Tensor) -> Result<Tensor> {
        let mut shape = x.dims().to_vec();
        let width = shape.pop().unwrap_or(0);
        let rows: usize = shape.iter().product();
        let x = x.to_dtype(self.weight.dtype())?.reshape((rows, width))?;
        let out = x.matmul(&self.weight.t()?)?;
        shape.push(self.out_features());
        out.reshape(shape)
    }

    fn with_bias(&self, out: Tensor) -> Result<Tensor> {
        let Some(bias) = &self.bias else { return Ok(out) };
        #[cfg(feature = "cuda")]
        if cuda::add_bias(&out, bias, false)? {
            return Ok(out);
        }
        out.broadcast_add(bias)
    }
}
