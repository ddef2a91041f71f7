//! The encoder of inputs that have a value for each pixel: rays and depths.

use candle_core::{Result, Tensor};

use super::architecture::PATCH_PX;
use super::block::{NORM_EPSILON, patches};
use crate::model::nn::{Conv3x3, LayerNorm, Linear, Then, Weights, gelu};

/// Convolutions over patches; always in f32.
#[derive(Debug, Clone)]
pub struct DenseEncoder {
    conv_in: Conv3x3,
    encoder: ([ResidualBlock; 2], Linear),
    norm_layer: LayerNorm,
}

impl DenseEncoder {
    /// Returns the encoder under `weights`.
    pub fn load(weights: &Weights) -> Result<Self> {
        let weights = &weights.f32();
        let encoder = weights.scope("encoder");
        let block = |i| ResidualBlock::load(&encoder.scope(i));
        Ok(Self {
            conv_in: Conv3x3::load(&weights.scope("conv_in"), 1)?,
            encoder: ([block(0)?, block(1)?], Linear::load(&encoder.scope(2))?),
            norm_layer: LayerNorm::load(&weights.scope("norm_layer"), NORM_EPSILON)?,
        })
    }

    /// Returns a token `[N, h, w, C]` for each patch of `values` `[N, H, W, channels]`.
    pub fn forward(&self, values: &Tensor) -> Result<Tensor> {
        let mut x = self.conv_in.forward(&patches(values, PATCH_PX)?)?;
        let (blocks, last) = &self.encoder;
        for block in blocks {
            x = block.forward(&x)?;
        }
        self.norm_layer.forward(&last.forward(&x)?)
    }
}

#[derive(Debug, Clone)]
struct ResidualBlock {
    conv1: Conv3x3,
    conv2: Conv3x3,
    shortcut: Linear,
}

impl ResidualBlock {
    fn load(weights: &Weights) -> Result<Self> {
        Ok(Self {
            conv1: Conv3x3::load(&weights.scope("conv1"), 1)?,
            conv2: Conv3x3::load(&weights.scope("conv2"), 1)?,
            shortcut: Linear::load(&weights.scope("shortcut"))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let change = self.conv2.forward(&self.conv1.forward_then(x, Then::Gelu)?)?;
        gelu(&(change + self.shortcut.forward(x)?)?)
    }
}
