//! The image encoder: DINOv2, a vision transformer on patches of 14 pixels.

use candle_core::{DType, Result, Tensor};

use super::architecture::{Architecture, PATCH_PX};
use super::block::{Block, NORM_EPSILON, channels_first, patches};
use super::position::PositionTable;
use super::taps::Taps;
use crate::model::nn::{LayerNorm, Linear, Weights};

/// What the encoder says about views of one size.
#[derive(Debug, Clone)]
pub struct EncodedViews {
    /// `[N, h, w, C]`: one token for each patch.
    pub features: Tensor,
    /// `[N, 1, C]`: one token for each whole view.
    pub class_token: Tensor,
}

impl EncodedViews {
    /// Returns the number of views.
    pub fn len(&self) -> usize {
        self.features.dims().first().copied().unwrap_or(0)
    }

    /// Returns whether there is no view.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns view `i` alone.
    pub fn view(&self, i: usize) -> Result<Self> {
        // A copy, lest one cached view keep all of its batch in memory.
        let alone = |x: &Tensor| x.narrow(0, i, 1)?.force_contiguous();
        Ok(Self { features: alone(&self.features)?, class_token: alone(&self.class_token)? })
    }

    /// Returns all `views`, which are of one size, in one batch.
    pub fn cat(views: &[&Self]) -> Result<Self> {
        let all = |part: fn(&Self) -> &Tensor| {
            let parts: Vec<_> = views.iter().map(|view| part(view)).collect();
            Tensor::cat(&parts, 0)
        };
        Ok(Self { features: all(|v| &v.features)?, class_token: all(|v| &v.class_token)? })
    }
}

/// DINOv2 without registers.
#[derive(Debug)]
pub struct Encoder {
    patch_embed: Linear,
    cls_token: Tensor,
    pos_embed: PositionTable,
    blocks: Vec<Block>,
    norm: Option<LayerNorm>,
}

impl Encoder {
    /// Returns the encoder under `weights`.
    pub fn load(weights: &Weights, architecture: &Architecture) -> Result<Self> {
        let sizes = &architecture.encoder;
        let blocks = weights.scope("blocks");
        let norm = || LayerNorm::load(&weights.scope("norm"), NORM_EPSILON);
        Ok(Self {
            patch_embed: Linear::load(&weights.scope("patch_embed.proj"))?,
            cls_token: weights.tensor_f32("cls_token")?,
            pos_embed: PositionTable::new(weights.tensor_f32("pos_embed")?)?,
            blocks: (0..sizes.depth)
                .map(|i| Block::load(&blocks.scope(i), sizes))
                .collect::<Result<_>>()?,
            norm: sizes.final_norm.then(norm).transpose()?,
        })
    }

    /// Returns the tokens of `images` `[N, H, W, 3]`, normalised colours, sides multiples of 14.
    pub fn forward(&self, images: &Tensor, taps: &Taps) -> Result<EncodedViews> {
        let patches = patches(images, PATCH_PX)?;
        let (n, h, w, _) = patches.dims4()?;
        let mut x = self.embed(&patches)?;
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x)?;
            taps.record(format_args!("encoder.block{i}_out"), || Ok(x.clone()))?;
        }
        if let Some(norm) = &self.norm {
            x = norm.forward(&x)?;
        }
        let class_token = x.narrow(1, 0, 1)?.contiguous()?;
        let features = x.narrow(1, 1, h * w)?.contiguous()?.reshape((n, h, w, ()))?;
        taps.record("encoder.features", || channels_first(&features))?;
        taps.record("encoder.registers", || class_token.transpose(1, 2)?.contiguous())?;
        Ok(EncodedViews { features, class_token })
    }

    /// The class token and the patches, each with its position.
    fn embed(&self, patches: &Tensor) -> Result<Tensor> {
        let (n, h, w, pixels) = patches.dims4()?;
        let tokens = self.patch_embed.forward(&patches.reshape((n, h * w, pixels))?)?;
        let tokens = tokens.to_dtype(DType::F32)?;
        let (_, _, width) = self.cls_token.dims3()?;
        let cls_token = self.cls_token.broadcast_as((n, 1, width))?;
        let tokens = Tensor::cat(&[&cls_token.contiguous()?, &tokens], 1)?;
        tokens.broadcast_add(&self.pos_embed.at(h, w)?)
    }
}
