//! Transformer blocks of the family: the encoder's and the fusion's, and the decoder's.

use candle_core::{Result, Tensor};

use crate::model::nn::{LayerNorm, Linear, RopeTable, Then, Weights, attention};

/// The ε of all normalisations but those of Fast3R's fusion.
pub(super) const NORM_EPSILON: f64 = 1e-6;

/// What blocks of one transformer have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockSizes {
    /// Attention heads; `None` for heads of 64 numbers.
    pub(super) heads: Option<usize>,
    /// What the usual scale of scores is multiplied by.
    pub(super) scale: f64,
    /// The ε of the normalisations.
    pub(super) epsilon: f64,
}

impl BlockSizes {
    /// Heads in a width.
    pub(super) fn heads_of(&self, width: usize) -> usize {
        self.heads.unwrap_or(width / 64).max(1)
    }

    fn scores(&self, head_dim: usize) -> f64 {
        self.scale / (head_dim as f64).sqrt()
    }
}

/// Attention to the own tokens, then a feed-forward part; each is added to what came in.
#[derive(Debug)]
pub(super) struct Block {
    norm1: LayerNorm,
    attn: SelfAttention,
    norm2: LayerNorm,
    mlp: Mlp,
}

impl Block {
    pub(super) fn load(weights: &Weights, sizes: BlockSizes) -> Result<Self> {
        let norm = |name| LayerNorm::load(&weights.scope(name), sizes.epsilon);
        Ok(Self {
            norm1: norm("norm1")?,
            attn: SelfAttention::load(&weights.scope("attn"), sizes)?,
            norm2: norm("norm2")?,
            mlp: Mlp::load(&weights.scope("mlp"))?,
        })
    }

    /// Returns the tokens `x` `[B, T, C]` after the block.
    pub(super) fn forward(&self, x: &Tensor, rope: Option<&RopeTable>) -> Result<Tensor> {
        let x = self.attn.forward(&self.norm1, x, rope)?;
        self.mlp.forward(&self.norm2, &x)
    }
}

/// A block that also attends to the tokens of another view.
#[derive(Debug)]
pub(super) struct DecoderBlock {
    norm1: LayerNorm,
    attn: SelfAttention,
    norm2: LayerNorm,
    norm_y: LayerNorm,
    cross_attn: CrossAttention,
    norm3: LayerNorm,
    mlp: Mlp,
}

impl DecoderBlock {
    pub(super) fn load(weights: &Weights, sizes: BlockSizes) -> Result<Self> {
        let norm = |name| LayerNorm::load(&weights.scope(name), sizes.epsilon);
        Ok(Self {
            norm1: norm("norm1")?,
            attn: SelfAttention::load(&weights.scope("attn"), sizes)?,
            norm2: norm("norm2")?,
            norm_y: norm("norm_y")?,
            cross_attn: CrossAttention::load(&weights.scope("cross_attn"), sizes)?,
            norm3: norm("norm3")?,
            mlp: Mlp::load(&weights.scope("mlp"))?,
        })
    }

    /// Returns the tokens `x` after the block; `y` are those of the other view. Each comes with
    /// its places.
    pub(super) fn forward(&self, x: View<'_>, y: View<'_>) -> Result<Tensor> {
        let memory = self.norm_y.forward_for(y.tokens, &self.cross_attn.projk)?;
        let tokens = self.attn.forward(&self.norm1, x.tokens, Some(x.rope))?;
        let x = View { tokens: &tokens, ..x };
        let tokens =
            self.cross_attn.forward(&self.norm2, x, View { tokens: &memory, rope: y.rope })?;
        self.mlp.forward(&self.norm3, &tokens)
    }
}

/// Tokens of views of one size, and the angles of their places.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) tokens: &'a Tensor,
    pub(super) rope: &'a RopeTable,
}

#[derive(Debug)]
struct SelfAttention {
    qkv: Linear,
    proj: Linear,
    sizes: BlockSizes,
}

impl SelfAttention {
    fn load(weights: &Weights, sizes: BlockSizes) -> Result<Self> {
        let layer = |name| Linear::load(&weights.scope(name));
        Ok(Self { qkv: layer("qkv")?, proj: layer("proj")?, sizes })
    }

    fn forward(&self, norm: &LayerNorm, x: &Tensor, rope: Option<&RopeTable>) -> Result<Tensor> {
        let (batch, tokens, width) = x.dims3()?;
        let heads = self.sizes.heads_of(width);
        let qkv = self.qkv.forward(&norm.forward_for(x, &self.qkv)?)?;
        let qkv = qkv.reshape((batch, tokens, 3, heads, width / heads))?;
        let part = |i| qkv.narrow(2, i, 1)?.squeeze(2);
        let turned = |i| match rope {
            Some(rope) => rope.rotate(&part(i)?),
            None => part(i),
        };
        let scale = self.sizes.scores(width / heads);
        let change = attention(&turned(0)?, &turned(1)?, &part(2)?, scale)?;
        self.proj.forward_then(&change, Then::Add(x))
    }
}

#[derive(Debug)]
struct CrossAttention {
    projq: Linear,
    projk: Linear,
    projv: Linear,
    proj: Linear,
    sizes: BlockSizes,
}

impl CrossAttention {
    fn load(weights: &Weights, sizes: BlockSizes) -> Result<Self> {
        let layer = |name| Linear::load(&weights.scope(name));
        Ok(Self {
            projq: layer("projq")?,
            projk: layer("projk")?,
            projv: layer("projv")?,
            proj: layer("proj")?,
            sizes,
        })
    }

    /// The tokens of `x` after they have looked at the normalised ones of `y`.
    fn forward(&self, norm: &LayerNorm, x: View<'_>, y: View<'_>) -> Result<Tensor> {
        let normal = norm.forward_for(x.tokens, &self.projq)?;
        let split = |x: Tensor| {
            let (batch, tokens, width) = x.dims3()?;
            let heads = self.sizes.heads_of(width);
            x.reshape((batch, tokens, heads, width / heads))
        };
        let q = x.rope.rotate(&split(self.projq.forward(&normal)?)?)?;
        let k = y.rope.rotate(&split(self.projk.forward(y.tokens)?)?)?;
        let v = split(self.projv.forward(y.tokens)?)?;
        let scale = self.sizes.scores(q.dim(3)?);
        self.proj.forward_then(&attention(&q, &k, &v, scale)?, Then::Add(x.tokens))
    }
}

#[derive(Debug)]
pub(super) struct Mlp {
    fc1: Linear,
    fc2: Linear,
}

impl Mlp {
    pub(super) fn load(weights: &Weights) -> Result<Self> {
        let layer = |name| Linear::load(&weights.scope(name));
        Ok(Self { fc1: layer("fc1")?, fc2: layer("fc2")? })
    }

    fn forward(&self, norm: &LayerNorm, x: &Tensor) -> Result<Tensor> {
        let normal = norm.forward_for(x, &self.fc1)?;
        self.fc2.forward_then(&self.fc1.forward_gelu(&normal)?, Then::Add(x))
    }

    /// Returns both layers of `x`, with nothing added.
    pub(super) fn plain(&self, x: &Tensor) -> Result<Tensor> {
        self.fc2.forward(&self.fc1.forward_gelu(x)?)
    }
}

/// Returns how many blocks there are under `name`.
pub(super) fn count(weights: &Weights, name: &str) -> usize {
    (0..).take_while(|i| weights.scope(name).scope(i).has("norm1.weight")).count()
}
