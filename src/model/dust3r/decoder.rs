//! The decoder of pairs: two chains of blocks, each of which looks at the other view.

use candle_core::{Result, Tensor};

use super::block::{BlockSizes, DecoderBlock, NORM_EPSILON, View, count};
use super::config::FamilyConfig;
use super::encoder::Encoded;
use super::heads::HeadTokens;
use crate::model::mapanything::taps::Taps;
use crate::model::nn::{LayerNorm, Linear, RopeTable, Weights};

/// The decoder.
#[derive(Debug)]
pub(super) struct Decoder {
    embed: Linear,
    /// One block for each view.
    blocks: Vec<[DecoderBlock; 2]>,
    norm: LayerNorm,
    sizes: BlockSizes,
    rope_base: f64,
}

impl Decoder {
    pub(super) fn load(weights: &Weights, config: &FamilyConfig) -> Result<Self> {
        let sizes = BlockSizes { heads: config.decoder_heads, scale: 1.0, epsilon: NORM_EPSILON };
        let block = |chain: &str, i| DecoderBlock::load(&weights.scope(chain).scope(i), sizes);
        Ok(Self {
            embed: Linear::load(&weights.scope("decoder_embed"))?,
            blocks: (0..count(weights, "dec_blocks"))
                .map(|i| Ok([block("dec_blocks", i)?, block("dec_blocks2", i)?]))
                .collect::<Result<_>>()?,
            norm: LayerNorm::load(&weights.scope("dec_norm"), NORM_EPSILON)?,
            sizes,
            rope_base: config.rope_base,
        })
    }

    /// Returns what the heads of the first and the second views are given: view i of the one is
    /// paired with view i of the other.
    pub(super) fn forward(&self, views: [&Encoded; 2], taps: &Taps) -> Result<[HeadTokens; 2]> {
        let [mut first, mut second] = [self.embedded(views[0])?, self.embedded(views[1])?];
        taps.record("decoder_embed", || Ok(first.clone()))?;
        taps.record("decoder_embed#1", || Ok(second.clone()))?;
        let ropes = [self.rope(views[0], &first)?, self.rope(views[1], &second)?];
        let depth = self.blocks.len();
        let mut tokens = views.map(|view| HeadTokens::new(view.tokens.clone(), view.patches));
        for (i, [block1, block2]) in self.blocks.iter().enumerate() {
            let a = View { tokens: &first, rope: &ropes[0] };
            let b = View { tokens: &second, rope: &ropes[1] };
            (first, second) = (block1.forward(a, b)?, block2.forward(b, a)?);
            taps.record(format_args!("dec_blocks.{i}"), || Ok(first.clone()))?;
            taps.record(format_args!("dec_blocks2.{i}"), || Ok(second.clone()))?;
            tokens[0].listen(i + 1, depth, &first);
            tokens[1].listen(i + 1, depth, &second);
        }
        tokens[0].set_last(self.norm.forward(&first)?);
        tokens[1].set_last(self.norm.forward(&second)?);
        Ok(tokens)
    }

    fn embedded(&self, view: &Encoded) -> Result<Tensor> {
        self.embed.forward(&view.tokens)?.to_dtype(candle_core::DType::F32)
    }

    fn rope(&self, view: &Encoded, tokens: &Tensor) -> Result<RopeTable> {
        let width = tokens.dim(2)?;
        let head_dim = width / self.sizes.heads_of(width);
        RopeTable::new(view.patches, head_dim, self.rope_base, tokens.device())
    }
}
