//! The transformer block that the encoder and the multi-view transformer share.

use candle_core::{D, DType, Result, Tensor};

use super::architecture::{FeedForward, TransformerSizes};
use crate::model::nn::{LayerNorm, Linear, Then, Weights, attention};

/// The ε of every normalisation of the network.
pub const NORM_EPSILON: f64 = 1e-6;

/// Attention, then a feed-forward part; each is added to what came in.
#[derive(Debug, Clone)]
pub struct Block {
    norm1: LayerNorm,
    attn: Attention,
    ls1: Option<Tensor>,
    norm2: LayerNorm,
    mlp: Mlp,
    ls2: Option<Tensor>,
}

impl Block {
    /// Returns the block under `weights`.
    pub fn load(weights: &Weights, sizes: &TransformerSizes) -> Result<Self> {
        let gamma = |name: &str| match sizes.layer_scale {
            true => weights.scope(name).tensor_f32("gamma").map(Some),
            false => Ok(None),
        };
        Ok(Self {
            norm1: LayerNorm::load(&weights.scope("norm1"), NORM_EPSILON)?,
            attn: Attention::load(&weights.scope("attn"), sizes.heads)?,
            ls1: gamma("ls1")?,
            norm2: LayerNorm::load(&weights.scope("norm2"), NORM_EPSILON)?,
            mlp: Mlp::load(&weights.scope("mlp"), sizes.feed_forward)?,
            ls2: gamma("ls2")?,
        })
    }

    /// Returns the tokens `x` `[B, T, C]` after the block; each of the B sequences is attended to
    /// by itself.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let normal = self.norm1.forward_for(x, &self.attn.qkv)?;
        let x = self.attn.forward(&normal, branch(self.ls1.as_ref(), x))?;
        let normal = self.norm2.forward_for(&x, self.mlp.first())?;
        self.mlp.forward(&normal, branch(self.ls2.as_ref(), &x))
    }
}

/// What follows a half of the block: `x + gamma · change` in the type of `x`. The residual stream
/// stays f32 whatever the layers use.
fn branch<'a>(gamma: Option<&'a Tensor>, x: &'a Tensor) -> Then<'a> {
    match gamma {
        Some(scale) => Then::ScaleAdd { scale, to: x },
        None => Then::Add(x),
    }
}

/// Multi-head self-attention.
#[derive(Debug, Clone)]
struct Attention {
    qkv: Linear,
    proj: Linear,
    heads: usize,
}

impl Attention {
    fn load(weights: &Weights, heads: usize) -> Result<Self> {
        let layer = |name| Linear::load(&weights.scope(name));
        Ok(Self { qkv: layer("qkv")?, proj: layer("proj")?, heads })
    }

    fn forward(&self, x: &Tensor, then: Then<'_>) -> Result<Tensor> {
        let (batch, tokens, width) = x.dims3()?;
        let head_dim = width / self.heads;
        let qkv = self.qkv.forward(x)?.reshape((batch, tokens, 3, self.heads, head_dim))?;
        let part = |i| qkv.narrow(2, i, 1)?.squeeze(2);
        let scale = 1.0 / (head_dim as f64).sqrt();
        self.proj.forward_then(&attention(&part(0)?, &part(1)?, &part(2)?, scale)?, then)
    }
}

/// The feed-forward part.
#[derive(Debug, Clone)]
enum Mlp {
    Gelu { fc1: Linear, fc2: Linear },
    SwiGlu { w12: Linear, w3: Linear },
}

impl Mlp {
    fn load(weights: &Weights, kind: FeedForward) -> Result<Self> {
        let layer = |name| Linear::load(&weights.scope(name));
        Ok(match kind {
            FeedForward::Gelu { .. } => Self::Gelu { fc1: layer("fc1")?, fc2: layer("fc2")? },
            FeedForward::SwiGlu { .. } => Self::SwiGlu { w12: layer("w12")?, w3: layer("w3")? },
        })
    }

    /// The layer that reads the input.
    fn first(&self) -> &Linear {
        match self {
            Self::Gelu { fc1, .. } => fc1,
            Self::SwiGlu { w12, .. } => w12,
        }
    }

    fn forward(&self, x: &Tensor, then: Then<'_>) -> Result<Tensor> {
        match self {
            Self::Gelu { fc1, fc2 } => fc2.forward_then(&fc1.forward_gelu(x)?, then),
            Self::SwiGlu { w12, w3 } => w3.forward_then(&w12.forward_silu_gate(x)?, then),
        }
    }
}

/// Returns the patches of `image` `[N, H, W, C]` as `[N, H/p, W/p, C·p·p]`, numbers of a patch
/// ordered by (channel, row, column): PyTorch's `pixel_unshuffle`, and the order in which a
/// convolution of stride p sees them.
pub fn patches(image: &Tensor, patch: usize) -> Result<Tensor> {
    let (n, height, width, channels) = image.dims4()?;
    let (h, w) = (height / patch, width / patch);
    image.reshape(&[n, h, patch, w, patch, channels])?.permute(vec![0, 1, 3, 5, 2, 4])?.reshape((
        n,
        h,
        w,
        channels * patch * patch,
    ))
}

/// Returns a map `[N, H, W, C]` as the reference lays it out, `[N, C, H, W]`, in f32.
pub fn channels_first(map: &Tensor) -> Result<Tensor> {
    map.permute((0, 3, 1, 2))?.to_dtype(DType::F32)?.contiguous()
}

/// Returns the mean of `x` `[N, H, W, C]` over the map, `[N, C]`.
pub fn mean_over_map(x: &Tensor) -> Result<Tensor> {
    let (n, h, w, c) = x.dims4()?;
    x.reshape((n, h * w, c))?.mean(D::Minus2)
}
