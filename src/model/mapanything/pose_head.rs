//! The pose head: where each view's camera is, from its patch tokens.

use candle_core::{Result, Tensor};

use super::block::mean_over_map;
use crate::model::nn::{Linear, Then, Weights};

/// Residual layers on patches, their mean, and two layers on that; always in f32.
#[derive(Debug)]
pub struct PoseHead {
    proj: Linear,
    res_conv: [[Linear; 3]; 2],
    more_mlps: [Linear; 2],
    fc_t: Linear,
    fc_rot: Linear,
}

impl PoseHead {
    /// Returns the head under `weights`.
    pub fn load(weights: &Weights) -> Result<Self> {
        let weights = &weights.f32();
        let layer = |name: &str| Linear::load(&weights.scope(name));
        let res_conv = |i: usize| -> Result<[Linear; 3]> {
            let conv = |k: usize| layer(&format!("res_conv.{i}.res_conv{k}"));
            Ok([conv(1)?, conv(2)?, conv(3)?])
        };
        Ok(Self {
            proj: layer("proj")?,
            res_conv: [res_conv(0)?, res_conv(1)?],
            more_mlps: [layer("more_mlps.0")?, layer("more_mlps.2")?],
            fc_t: layer("fc_t")?,
            fc_rot: layer("fc_rot")?,
        })
    }

    /// Returns `[N, 7]`, translation and quaternion (x, y, z, w; of any length), for `patches`
    /// `[N, h, w, D]`.
    pub fn forward(&self, patches: &Tensor) -> Result<Tensor> {
        let mut x = self.proj.forward(patches)?;
        for block in &self.res_conv {
            x = (through(block, &x)? + x)?;
        }
        let x = through(&self.more_mlps, &mean_over_map(&x)?)?;
        Tensor::cat(&[self.fc_t.forward(&x)?, self.fc_rot.forward(&x)?], 1)
    }
}

/// Returns `x` after each layer and the rectifier that follows it.
pub(super) fn through(layers: &[Linear], x: &Tensor) -> Result<Tensor> {
    layers.iter().try_fold(x.clone(), |x, layer| layer.forward_then(&x, Then::Relu))
}
