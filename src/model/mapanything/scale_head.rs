//! The scale head: how many metres a unit of the other heads is.

use candle_core::{Result, Tensor};

use super::pose_head::through;
use crate::model::nn::{Linear, Weights};

/// Layers on the scale token; always in f32.
#[derive(Debug)]
pub struct ScaleHead {
    proj: Linear,
    mlp: [Linear; 2],
    output_proj: Linear,
}

impl ScaleHead {
    /// Returns the head under `weights`.
    pub fn load(weights: &Weights) -> Result<Self> {
        let weights = &weights.f32();
        let layer = |name| Linear::load(&weights.scope(name));
        Ok(Self {
            proj: layer("proj")?,
            mlp: [layer("mlp.0.0")?, layer("mlp.1.0")?],
            output_proj: layer("output_proj")?,
        })
    }

    /// Returns the logarithm of the scale, `[1, 1]`, for the scale token `[1, D]`.
    pub fn forward(&self, scale_token: &Tensor) -> Result<Tensor> {
        // No activation behind the first layer.
        let x = self.proj.forward(scale_token)?;
        self.output_proj.forward(&through(&self.mlp, &x)?)
    }
}
