//! Convolutions over `[N, H, W, C]` maps.

use candle_core::{Result, Tensor};

use super::Weights;

/// A 3×3 convolution with zero padding 1.
#[derive(Debug, Clone)]
pub struct Conv3x3 {
    /// `[9 · C, O]`, rows ordered by (dy, dx, c).
    weight: Tensor,
    bias: Option<Tensor>,
    stride: usize,
}

impl Conv3x3 {
    /// Returns the layer under `weights`: tensor `weight` `[O, C, 3, 3]`, and `bias` if there is one.
    pub fn load(weights: &Weights, stride: usize) -> Result<Self> {
        let weight = weights.tensor("weight")?;
        let (out, channels, _, _) = weight.dims4()?;
        let weight = weight.permute((2, 3, 1, 0))?.reshape((9 * channels, out))?;
        Ok(Self { weight, bias: weights.optional("bias")?, stride })
    }

    /// Returns the convolution of `x` `[N, H, W, C]` as `[N, ceil(H/stride), ceil(W/stride), O]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if let Some(out) = super::cuda::conv3x3(x, &self.weight, self.stride)? {
            return self.with_bias(out);
        }
        let (n, h, w, c) = x.dims4()?;
        let padded = x.pad_with_zeros(1, 1, 1)?.pad_with_zeros(2, 1, 1)?;
        let taps = (0..9)
            .map(|tap| padded.narrow(1, tap / 3, h)?.narrow(2, tap % 3, w))
            .collect::<Result<Vec<_>>>()?;
        let taps = Tensor::cat(&taps, 3)?.reshape((n * h * w, 9 * c))?;
        let out = taps.matmul(&self.weight)?.reshape((n, h, w, ()))?;
        self.with_bias(every(&out, self.stride)?)
    }

    fn with_bias(&self, out: Tensor) -> Result<Tensor> {
        let Some(bias) = &self.bias else { return Ok(out) };
        #[cfg(feature = "cuda")]
        if super::cuda::add_bias(&out, bias, false)? {
            return Ok(out);
        }
        out.broadcast_add(bias)
    }
}

/// Every `stride`th row and column.
fn every(x: &Tensor, stride: usize) -> Result<Tensor> {
    if stride == 1 {
        return Ok(x.clone());
    }
    let (_, h, w, _) = x.dims4()?;
    let picks = |n: usize| Tensor::arange_step(0, n as u32, stride as u32, x.device());
    x.index_select(&picks(h)?, 1)?.index_select(&picks(w)?, 2)
}

/// A transposed convolution whose stride is its kernel: one matrix product for each pixel, then
/// depth to space.
#[derive(Debug, Clone)]
pub struct TransposedConv {
    /// `[C, k · k · O]`, columns ordered by (dy, dx, o).
    weight: Tensor,
    bias: Tensor,
    kernel: usize,
}

impl TransposedConv {
    /// Returns the layer under `weights`: tensors `weight` `[C, O, k, k]` and `bias`.
    pub fn load(weights: &Weights) -> Result<Self> {
        let weight = weights.tensor("weight")?;
        let (channels, out, kernel, _) = weight.dims4()?;
        let weight = weight.permute((0, 2, 3, 1))?.reshape((channels, kernel * kernel * out))?;
        Ok(Self { weight, bias: weights.tensor("bias")?, kernel })
    }

    /// Returns `x` `[N, H, W, C]` enlarged to `[N, k · H, k · W, O]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (n, h, w, c) = x.dims4()?;
        let k = self.kernel;
        let out = x.reshape((n * h * w, c))?.matmul(&self.weight)?;
        let out = out.reshape(&[n, h, w, k, k, self.bias.dim(0)?])?;
        let out = out.permute(vec![0, 1, 3, 2, 4, 5])?.reshape((n, h * k, w * k, ()))?;
        out.broadcast_add(&self.bias)
    }
}
