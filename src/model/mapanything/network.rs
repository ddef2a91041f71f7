//! The whole network: images and numbers in, numbers out.

use candle_core::{DType, Device, Result, Tensor};

use super::architecture::{Architecture, PATCH_PX};
use super::block::channels_first;
use super::dense_head::DenseHead;
use super::encoder::{EncodedViews, Encoder};
use super::fusion::{Fusion, ViewPriors};
use super::info_sharing::{InfoSharing, SharedViews, ViewTokens};
use super::pose_head::PoseHead;
use super::scale_head::ScaleHead;
use super::taps::Taps;
use crate::model::nn::{Weights, run_on};

/// Views that the encoder sees at once: enough to fill the machine, few enough that a long window
/// needs no more memory than a short one.
const ENCODER_VIEWS: usize = 8;

/// What the heads say before it is given a meaning; f32.
#[derive(Debug)]
pub struct RawOutput {
    /// `[N, H, W, 6]`: see [`super::dense_head::CHANNELS`].
    pub dense: Tensor,
    /// `[N, 7]`: translation, quaternion.
    pub pose: Tensor,
    /// `[1, 1]`: logarithm of the scale.
    pub scale: Tensor,
}

/// The network of one checkpoint. Results are the same whatever the number of threads.
#[derive(Debug)]
pub struct Network {
    encoder: Encoder,
    fusion: Fusion,
    scale_token: Tensor,
    info_sharing: InfoSharing,
    uses_class_token: bool,
    dense_head: DenseHead,
    pose_head: PoseHead,
    scale_head: ScaleHead,
    device: Device,
}

impl Network {
    /// Returns the network of this architecture under `weights`, the root of the checkpoint.
    pub fn load(weights: &Weights, architecture: &Architecture) -> Result<Self> {
        Ok(Self {
            encoder: Encoder::load(&weights.scope("encoder.model"), architecture)?,
            fusion: Fusion::load(weights)?,
            scale_token: weights.tensor_f32("scale_token")?,
            info_sharing: InfoSharing::load(&weights.scope("info_sharing"), architecture)?,
            uses_class_token: architecture.uses_class_token,
            dense_head: DenseHead::load(&weights.scope("dense_head"))?,
            pose_head: PoseHead::load(&weights.scope("pose_head"))?,
            scale_head: ScaleHead::load(&weights.scope("scale_head"))?,
            device: weights.device().clone(),
        })
    }

    /// Returns where the network computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Returns the tokens of `images` `[N, H, W, 3]`, normalised colours, sides multiples of 14.
    /// What is known of a view has no part in them: they can be kept and used again.
    pub fn encode(&self, images: &Tensor, taps: &Taps) -> Result<EncodedViews> {
        run_on(&self.device, || self.encoded(images, taps))
    }

    fn encoded(&self, images: &Tensor, taps: &Taps) -> Result<EncodedViews> {
        let views = images.dim(0)?;
        // Who listens wants all views in one tensor.
        let at_once = if taps.are_on() { views.max(1) } else { ENCODER_VIEWS };
        let chunks = (0..views)
            .step_by(at_once)
            .map(|start| {
                let images = images.narrow(0, start, at_once.min(views - start))?;
                self.encoder.forward(&images.to_device(&self.device)?, taps)
            })
            .collect::<Result<Vec<_>>>()?;
        match chunks.as_slice() {
            [only] => Ok(only.clone()),
            all => EncodedViews::cat(&all.iter().collect::<Vec<_>>()),
        }
    }

    /// Returns the output for encoded views, the first of which sets the frame of all poses;
    /// `priors` has an entry for each view. The dense head sees `head_views` views at once.
    pub fn infer(
        &self,
        views: &EncodedViews,
        priors: &[ViewPriors],
        head_views: usize,
        taps: &Taps,
    ) -> Result<RawOutput> {
        run_on(&self.device, || self.output(views, priors, head_views, taps))
    }

    fn output(
        &self,
        views: &EncodedViews,
        priors: &[ViewPriors],
        head_views: usize,
        taps: &Taps,
    ) -> Result<RawOutput> {
        let (_, h, w, _) = views.features.dims4()?;
        let size = (h * PATCH_PX, w * PATCH_PX);
        let fused = self.fusion.forward(views, priors, size, taps)?;
        let tokens = ViewTokens {
            patches: &fused,
            class_token: self.uses_class_token.then_some(&views.class_token),
            scale_token: &self.scale_token,
        };
        let shared = self.info_sharing.forward(&tokens, taps)?;
        let scale = self.scale_head.forward(&shared.scale_token)?;
        taps.record("scale_head_raw", || scale.unsqueeze(2))?;
        let pose = self.pose_head.forward(&shared.levels[2])?;
        taps.record("pose_head_raw", || Ok(pose.clone()))?;
        let dense = self.dense(&fused, &shared, head_views.max(1), taps)?;
        taps.record("dense_head_raw_nchw", || channels_first(&dense))?;
        Ok(RawOutput { dense, pose, scale: scale.to_dtype(DType::F32)? })
    }

    /// The dense head over all views, a few at a time: its maps are large.
    fn dense(
        &self,
        fused: &Tensor,
        shared: &SharedViews,
        head_views: usize,
        taps: &Taps,
    ) -> Result<Tensor> {
        let (n, h, w, _) = fused.dims4()?;
        let [first, second, last] = &shared.levels;
        let parts = (0..n)
            .step_by(head_views)
            .map(|start| {
                let part = |x: &Tensor| x.narrow(0, start, head_views.min(n - start));
                let levels = [part(fused)?, part(first)?, part(second)?, part(last)?];
                let output =
                    self.dense_head.forward(levels.each_ref(), h * PATCH_PX, w * PATCH_PX)?;
                if start == 0 {
                    taps.record("dpt_features_8x_view0", || {
                        channels_first(&output.features.narrow(0, 0, 1)?)
                    })?;
                }
                Ok(output.raw)
            })
            .collect::<Result<Vec<_>>>()?;
        Tensor::cat(&parts, 0)
    }
}
