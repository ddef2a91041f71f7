//! What is known of the views beforehand, added to what the encoder sees in them.

use candle_core::{Device, Result, Tensor};

use super::block::{NORM_EPSILON, channels_first};
use super::dense_encoder::DenseEncoder;
use super::encoder::EncodedViews;
use super::global_encoder::GlobalEncoder;
use super::taps::Taps;
use crate::model::nn::{LayerNorm, Weights};

/// What is known of one view, in the numbers that the network takes. Whatever is `None` costs
/// nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ViewPriors {
    /// Unit rays of all pixels in row order, three numbers each.
    pub ray_directions: Option<Vec<f32>>,
    /// `ln(1 + d/m)` of the depths d along the rays of all pixels in row order, m their mean; 0
    /// where there is none.
    pub log_depth: Option<Vec<f32>>,
    /// `ln m`, where m is in metres.
    pub log_depth_scale: Option<f32>,
    /// Rotation to the first view, (x, y, z, w).
    pub rotation: Option<[f32; 4]>,
    /// Position in the first view divided by f, the mean distance of all views.
    pub translation: Option<[f32; 3]>,
    /// `ln f`, where f is in metres.
    pub log_translation_scale: Option<f32>,
}

/// The encoders of all that can be known, and the normalisation behind their sum.
#[derive(Debug)]
pub struct Fusion {
    ray_dirs_encoder: DenseEncoder,
    depth_encoder: DenseEncoder,
    cam_rot_encoder: GlobalEncoder,
    cam_trans_encoder: GlobalEncoder,
    depth_scale_encoder: GlobalEncoder,
    cam_trans_scale_encoder: GlobalEncoder,
    fusion_norm_layer: LayerNorm,
    device: Device,
}

/// What an encoder adds to the tokens of view `view`: `[1, h or 1, w or 1, C]`.
struct Contribution {
    view: usize,
    tokens: Tensor,
}

impl Fusion {
    /// Returns the encoders under `weights`, the root of the checkpoint.
    pub fn load(weights: &Weights) -> Result<Self> {
        let dense = |name| DenseEncoder::load(&weights.scope(name));
        let global = |name| GlobalEncoder::load(&weights.scope(name));
        let norm = weights.scope("fusion_norm_layer");
        Ok(Self {
            ray_dirs_encoder: dense("ray_dirs_encoder")?,
            depth_encoder: dense("depth_encoder")?,
            cam_rot_encoder: global("cam_rot_encoder")?,
            cam_trans_encoder: global("cam_trans_encoder")?,
            depth_scale_encoder: global("depth_scale_encoder")?,
            cam_trans_scale_encoder: global("cam_trans_scale_encoder")?,
            fusion_norm_layer: LayerNorm::load(&norm, NORM_EPSILON)?,
            device: weights.device().clone(),
        })
    }

    /// Returns the fused tokens `[N, h, w, C]` of views that are `size` (rows, columns) pixels;
    /// `priors` has an entry for each view.
    pub fn forward(
        &self,
        views: &EncodedViews,
        priors: &[ViewPriors],
        size: (usize, usize),
        taps: &Taps,
    ) -> Result<Tensor> {
        let contributions = self.contributions(priors, size, taps)?;
        let features = match contributions.is_empty() {
            true => views.features.clone(),
            false => added(&views.features, contributions)?,
        };
        let fused = self.fusion_norm_layer.forward(&features)?;
        taps.record("fused_nhwc", || Ok(fused.clone()))?;
        Ok(fused)
    }

    /// In the reference's order, since sums of floats depend on it.
    fn contributions(
        &self,
        priors: &[ViewPriors],
        size: (usize, usize),
        taps: &Taps,
    ) -> Result<Vec<Contribution>> {
        let mut all = Vec::new();
        let mut dense = |name: &str, encoder, values: fn(&ViewPriors) -> Option<&[f32]>| {
            let values = chosen(priors, values);
            self.dense(name, encoder, &values, size, taps).map(|found| all.extend(found))
        };
        dense("ray_dirs", &self.ray_dirs_encoder, |p| p.ray_directions.as_deref())?;
        dense("depth", &self.depth_encoder, |p| p.log_depth.as_deref())?;
        let mut global = |name: &str, encoder, values: fn(&ViewPriors) -> Option<&[f32]>| {
            let values = chosen(priors, values);
            self.global(name, encoder, &values, taps).map(|found| all.extend(found))
        };
        global("depth_scale", &self.depth_scale_encoder, |p| {
            p.log_depth_scale.as_ref().map(std::slice::from_ref)
        })?;
        global("cam_rot", &self.cam_rot_encoder, |p| p.rotation.as_ref().map(|q| &q[..]))?;
        global("cam_trans", &self.cam_trans_encoder, |p| p.translation.as_ref().map(|t| &t[..]))?;
        global("cam_trans_scale", &self.cam_trans_scale_encoder, |p| {
            p.log_translation_scale.as_ref().map(std::slice::from_ref)
        })?;
        Ok(all)
    }

    /// One view at a time: convolutions over patches of several views at once are no faster, and
    /// need memory for each.
    fn dense(
        &self,
        name: &str,
        encoder: &DenseEncoder,
        values: &[(usize, &[f32])],
        (height, width): (usize, usize),
        taps: &Taps,
    ) -> Result<Vec<Contribution>> {
        let encode = |&(view, values): &(usize, &[f32])| {
            let map = Tensor::from_slice(values, (1, height, width, ()), &self.device)?;
            let tokens = encoder.forward(&map)?;
            Ok(Contribution { view, tokens })
        };
        let contributions = values.iter().map(encode).collect::<Result<Vec<_>>>()?;
        for (contribution, (view, values)) in contributions.iter().zip(values) {
            taps.record(format_args!("{name}_encoder.input[{view}]"), || {
                let map = Tensor::from_slice(values, (1, height, width, ()), &self.device)?;
                channels_first(&map)
            })?;
            taps.record(format_args!("{name}_encoder.features[{view}]"), || {
                channels_first(&contribution.tokens)
            })?;
        }
        Ok(contributions)
    }

    fn global(
        &self,
        name: &str,
        encoder: &GlobalEncoder,
        values: &[(usize, &[f32])],
        taps: &Taps,
    ) -> Result<Vec<Contribution>> {
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<f32> = values.iter().flat_map(|(_, row)| row.iter().copied()).collect();
        let rows = Tensor::from_vec(rows, (values.len(), ()), &self.device)?;
        let tokens = encoder.forward(&rows)?;
        let row_of = |i: usize, &(view, _): &(usize, &[f32])| {
            let (input, features) = (rows.narrow(0, i, 1)?, tokens.narrow(0, i, 1)?);
            taps.record(format_args!("{name}_encoder.input[{view}]"), || Ok(input))?;
            taps.record(format_args!("{name}_encoder.features[{view}]"), || Ok(features.clone()))?;
            Ok(Contribution { view, tokens: features.unsqueeze(1)?.unsqueeze(1)? })
        };
        values.iter().enumerate().map(|(i, value)| row_of(i, value)).collect()
    }
}

/// The views of which something is known, with it.
fn chosen(
    priors: &[ViewPriors],
    values: fn(&ViewPriors) -> Option<&[f32]>,
) -> Vec<(usize, &[f32])> {
    priors.iter().enumerate().filter_map(|(view, p)| Some((view, values(p)?))).collect()
}

/// Adds to each view of `features` `[N, h, w, C]` what belongs to it.
fn added(features: &Tensor, contributions: Vec<Contribution>) -> Result<Tensor> {
    let mut views: Vec<Tensor> = features.chunk(features.dim(0)?, 0)?;
    for Contribution { view, tokens } in contributions {
        if let Some(features) = views.get_mut(view) {
            *features = features.broadcast_add(&tokens)?;
        }
    }
    Tensor::cat(&views, 0)
}
