//! Convolutions over `[N, H, W, C]` maps.

use std::sync::Arc;

use candle_core::{DType, Result, Tensor, bail};

use super::Weights;
use super::cpu::conv::Neighbourhoods;
use super::cpu::simd::Level;
use super::cpu::winograd::{Kernels, convolve};
use super::host::{self, Host};
use super::linear::{Linear, packed_q8};
use super::product::{Packed, Then, finished, fitting};

/// A 3×3 convolution with zero padding 1.
#[derive(Debug, Clone)]
pub struct Conv3x3 {
    kind: Kind,
    stride: usize,
}

#[derive(Debug, Clone)]
enum Kind {
    /// In f32 on the CPU, where every pixel counts.
    Filtered(Filtered),
    /// On the CPU, in the other types and with a stride.
    Packed(Packed),
    /// `[O, 9 · C]`, rows ordered by (dy, dx, c); `[O]`.
    Plain { weight: Tensor, bias: Option<Tensor> },
}

impl Conv3x3 {
    /// Returns the layer under `weights`: tensor `weight` `[O, C, 3, 3]`, and `bias` if there is one.
    pub fn load(weights: &Weights, stride: usize) -> Result<Self> {
        let bias = weights.optional("bias")?;
        let stored = weights.quantized("weight")?;
        // In blocks of fewer bits kernels have the order that the product wants.
        let packed = stored.map(|stored| packed_q8(&stored, bias.as_ref())).transpose()?.flatten();
        if let Some(packed) = packed {
            return Ok(Self { kind: Kind::Packed(packed), stride });
        }
        let weight = weights.kernel("weight")?;
        let (out, channels, _, _) = weight.dims4()?;
        let rows = weight.permute((0, 2, 3, 1))?.reshape((out, 9 * channels))?;
        Ok(Self { kind: Kind::new(rows, bias, stride)?, stride })
    }

    /// Returns the convolution of `x` `[N, H, W, C]` as `[N, ceil(H/stride), ceil(W/stride), O]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_then(x, Then::Nothing)
    }

    /// Returns [`Conv3x3::forward`] and what follows.
    pub fn forward_then(&self, x: &Tensor, then: Then<'_>) -> Result<Tensor> {
        self.apply(x, false, then)
    }

    /// Returns [`Conv3x3::forward`] of max(x, 0), and what follows.
    pub fn forward_rectified_then(&self, x: &Tensor, then: Then<'_>) -> Result<Tensor> {
        self.apply(x, true, then)
    }

    fn apply(&self, x: &Tensor, rectified: bool, then: Then<'_>) -> Result<Tensor> {
        match &self.kind {
            Kind::Plain { weight, bias } => self.plain((weight, bias.as_ref()), x, rectified, then),
            Kind::Filtered(filtered) => {
                self.on_maps(x, rectified, |maps, size| filtered.forward(maps, size, then))
            }
            Kind::Packed(packed) => self.on_maps(x, rectified, |maps, [n, h, w]| {
                packed.forward(maps, vec![n, h, w, packed.outputs()], then)
            }),
        }
    }

    /// Returns what `convolve` makes of the neighbourhoods of `x`, and of the result's size.
    fn on_maps(
        &self,
        x: &Tensor,
        rectified: bool,
        convolve: impl FnOnce(&Neighbourhoods<'_>, [usize; 3]) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let x = host::dense_f32(x)?;
        let (n, height, width, channels) = x.dims4()?;
        let values = Host::new(&x);
        let size = [height, width, channels];
        let maps = Neighbourhoods::new(values.values()?, size, self.stride, rectified);
        let (h, w) = maps.out_size();
        convolve(&maps, [n, h, w])
    }

    fn plain(
        &self,
        (weight, bias): (&Tensor, Option<&Tensor>),
        x: &Tensor,
        rectified: bool,
        then: Then<'_>,
    ) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        let window = super::cuda::Window { stride: self.stride, rectify: rectified };
        #[cfg(feature = "cuda")]
        if let Some(out) = super::cuda::conv3x3(x, (weight, bias), window, then)? {
            return Ok(out);
        }
        let x = if rectified { x.relu()? } else { x.clone() };
        let (n, h, w, c) = x.dims4()?;
        let padded = x.pad_with_zeros(1, 1, 1)?.pad_with_zeros(2, 1, 1)?;
        let taps = (0..9)
            .map(|tap| padded.narrow(1, tap / 3, h)?.narrow(2, tap % 3, w))
            .collect::<Result<Vec<_>>>()?;
        let taps = Tensor::cat(&taps, 3)?.reshape((n * h * w, 9 * c))?;
        let out = taps.matmul(&weight.t()?)?.reshape((n, h, w, ()))?;
        then.finish(every(&out, self.stride)?, bias)
    }
}

impl Kind {
    /// The kind for rows of weights `[O, 9 · C]`.
    fn new(weight: Tensor, bias: Option<Tensor>, stride: usize) -> Result<Self> {
        let filtered = if stride == 1 { Filtered::new(&weight, bias.as_ref())? } else { None };
        if let Some(filtered) = filtered {
            return Ok(Self::Filtered(filtered));
        }
        Ok(match Packed::new(&weight, bias.as_ref())? {
            Some(packed) => Self::Packed(packed),
            None => Self::Plain { weight, bias },
        })
    }
}

/// A convolution by minimal filtering, see [`super::cpu::winograd`].
#[derive(Debug, Clone)]
struct Filtered {
    kernels: Arc<Kernels>,
    bias: Option<Tensor>,
}

impl Filtered {
    /// Returns it for rows of weights `[O, 9 · C]`, or `None` where these are not f32 on the CPU.
    fn new(weight: &Tensor, bias: Option<&Tensor>) -> Result<Option<Self>> {
        if weight.dtype() != DType::F32 || !weight.device().is_cpu() {
            return Ok(None);
        }
        let (outputs, depth) = weight.dims2()?;
        let bias = bias.map(|bias| fitting(bias, outputs)).transpose()?;
        let weight = weight.contiguous()?;
        let values = Host::new(&weight);
        let kernels = Kernels::new(values.values()?, outputs, depth / 9, Level::best());
        Ok(Some(Self { kernels: Arc::new(kernels), bias }))
    }

    fn forward(
        &self,
        maps: &Neighbourhoods<'_>,
        [n, h, w]: [usize; 3],
        then: Then<'_>,
    ) -> Result<Tensor> {
        let [_, _, _, channels] = maps.size();
        if channels != self.kernels.channels() {
            bail!("maps of {channels} channels do not fit kernels of {}", self.kernels.channels());
        }
        let shape = vec![n, h, w, self.kernels.outputs()];
        finished(self.bias.as_ref(), then, shape, |finish| convolve(maps, &self.kernels, finish))
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
    /// From C to k · k · O numbers, ordered by (dy, dx, o).
    pixel: Linear,
    kernel: usize,
}

impl TransposedConv {
    /// Returns the layer under `weights`: tensors `weight` `[C, O, k, k]` and `bias`.
    pub fn load(weights: &Weights) -> Result<Self> {
        let weight = weights.kernel("weight")?;
        let (channels, out, kernel, _) = weight.dims4()?;
        let weight = weight.permute((2, 3, 1, 0))?.reshape((kernel * kernel * out, channels))?;
        let bias = weights.tensor("bias")?.repeat(kernel * kernel)?;
        Ok(Self { pixel: Linear::new(weight, Some(bias))?, kernel })
    }

    /// Returns `x` `[N, H, W, C]` enlarged to `[N, k · H, k · W, O]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (n, h, w, _) = x.dims4()?;
        let k = self.kernel;
        let out = self.pixel.forward(x)?;
        let out = out.reshape(&[n, h, w, k, k, self.pixel.out_features() / (k * k)])?;
        out.permute(vec![0, 1, 3, 2, 4, 5])?.reshape((n, h * k, w * k, ()))
    }
}
