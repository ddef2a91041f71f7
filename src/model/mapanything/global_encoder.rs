//! The encoder of inputs that hold for a whole view: poses and scales.

use candle_core::{Result, Tensor};

use super::block::NORM_EPSILON;
use crate::model::nn::{LayerNorm, Linear, Weights};

/// Four layers and a normalisation; always in f32.
#[derive(Debug, Clone)]
pub struct GlobalEncoder {
    hidden: [Linear; 3],
    last: Linear,
    norm_layer: LayerNorm,
}

impl GlobalEncoder {
    /// Returns the encoder under `weights`.
    pub fn load(weights: &Weights) -> Result<Self> {
        let weights = &weights.f32();
        let encoder = weights.scope("encoder");
        // The reference nests a sequence for each layer that it adds.
        let layer = |name| Linear::load(&encoder.scope(name));
        Ok(Self {
            hidden: [layer("0.0.0.0")?, layer("0.0.1")?, layer("0.1")?],
            last: layer("1")?,
            norm_layer: LayerNorm::load(&weights.scope("norm_layer"), NORM_EPSILON)?,
        })
    }

    /// Returns a token `[N, C]` for each row of `values` `[N, numbers]`.
    pub fn forward(&self, values: &Tensor) -> Result<Tensor> {
        let mut x = values.clone();
        for layer in &self.hidden {
            x = layer.forward_gelu(&x)?;
        }
        self.norm_layer.forward(&self.last.forward(&x)?)
    }
}
