//! From tokens to numbers for each pixel.

use candle_core::{D, DType, Device, Result, Tensor};

use super::block::Mlp;
use super::encoder::PATCH_PX;
use crate::model::mapanything::dense_head::DenseHead;
use crate::model::mapanything::taps::Taps;
use crate::model::nn::{Linear, Weights};

/// Numbers of a pixel: a point and a confidence.
pub(super) const POINT_CHANNELS: usize = 4;

/// What a head is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadKind {
    /// A dense prediction transformer.
    Dpt,
    /// One layer.
    Linear,
    /// A dense prediction transformer, and two layers for descriptors.
    DptWithDescriptors,
}

impl HeadKind {
    /// Returns the kind of the head under `weights`.
    pub(super) fn of(weights: &Weights) -> Option<Self> {
        if weights.has("head_local_features.fc1.weight") {
            Some(Self::DptWithDescriptors)
        } else if weights.has("dpt.head.0.weight") {
            Some(Self::Dpt)
        } else {
            weights.has("proj.weight").then_some(Self::Linear)
        }
    }
}

/// The tokens that heads listen to, of the encoder and of three depths of the decoder.
#[derive(Debug)]
pub(super) struct HeadTokens {
    levels: [Tensor; 4],
    pub(super) patches: (usize, usize),
}

impl HeadTokens {
    /// Tokens of the encoder, and nothing of the decoder yet.
    pub(super) fn new(encoded: Tensor, patches: (usize, usize)) -> Self {
        Self { levels: std::array::from_fn(|_| encoded.clone()), patches }
    }

    /// Takes the result of `layer` (from 1) of `depth`, if it is one of those listened to.
    pub(super) fn listen(&mut self, layer: usize, depth: usize, tokens: &Tensor) {
        for (level, hook) in [(1, depth / 2), (2, depth * 3 / 4)] {
            if layer == hook {
                self.levels[level] = tokens.clone();
            }
        }
    }

    /// Takes the normalised result of the last layer.
    pub(super) fn set_last(&mut self, tokens: Tensor) {
        self.levels[3] = tokens;
    }

    pub(super) fn len(&self) -> Result<usize> {
        self.levels[0].dim(0)
    }

    /// View `i` alone.
    pub(super) fn view(&self, i: usize) -> Result<Self> {
        let [a, b, c, d] = &self.levels;
        let view = |x: &Tensor| x.narrow(0, i, 1)?.contiguous();
        Ok(Self { levels: [view(a)?, view(b)?, view(c)?, view(d)?], patches: self.patches })
    }

    /// Tokens `start..start + count` of all.
    pub(super) fn span(
        &self,
        (start, count): (usize, usize),
        patches: (usize, usize),
    ) -> Result<Self> {
        let [a, b, c, d] = &self.levels;
        let part = |x: &Tensor| x.narrow(1, start, count)?.contiguous();
        Ok(Self { levels: [part(a)?, part(b)?, part(c)?, part(d)?], patches })
    }
}

/// What a head says of views, in f32.
#[derive(Debug)]
pub(super) struct HeadOutput {
    /// `[N, H, W, 4]`: raw point and confidence.
    pub(super) points: Tensor,
    /// `[N, H, W, D + 1]`: raw descriptor and its confidence.
    pub(super) descriptors: Option<Tensor>,
}

/// A head.
#[derive(Debug)]
pub(super) struct Head {
    points: Points,
    descriptors: Option<Mlp>,
}

#[derive(Debug)]
enum Points {
    /// The same head as MapAnything's, with other names and four channels.
    Dpt(Box<DenseHead>),
    Linear(Linear),
}

impl Head {
    pub(super) fn load(weights: &Weights, kind: HeadKind) -> Result<Self> {
        let weights = &weights.f32();
        let points = match kind {
            HeadKind::Linear => Points::Linear(Linear::load(&weights.scope("proj"))?),
            HeadKind::Dpt | HeadKind::DptWithDescriptors => {
                Points::Dpt(Box::new(DenseHead::load(&weights.scope("dense"))?))
            }
        };
        let has_descriptors = kind == HeadKind::DptWithDescriptors;
        let descriptors = || Mlp::load(&weights.scope("head_local_features"));
        Ok(Self { points, descriptors: has_descriptors.then(descriptors).transpose()? })
    }

    /// Returns what the head says; `name` is that of its taps.
    pub(super) fn forward(&self, t: &HeadTokens, name: &str, taps: &Taps) -> Result<HeadOutput> {
        let (h, w) = t.patches;
        let n = t.len()?;
        let points = match &self.points {
            Points::Linear(proj) => pixel_shuffle(&proj.forward(&t.levels[3])?, t.patches)?,
            Points::Dpt(dpt) => {
                let map = |x: &Tensor| x.reshape((n, h, w, ()));
                let [a, b, c, d] = &t.levels;
                let levels = [map(a)?, map(b)?, map(c)?, map(d)?];
                dpt.forward(levels.each_ref(), h * PATCH_PX, w * PATCH_PX)?.raw
            }
        };
        let nchw = |x: &Tensor| x.permute((0, 3, 1, 2))?.contiguous();
        taps.record(format_args!("{name}.dpt.raw"), || nchw(&points))?;
        let descriptors = self.descriptors.as_ref().map(|mlp| {
            let tokens = Tensor::cat(&[&t.levels[0], &t.levels[3]], D::Minus1)?;
            let features = mlp.plain(&tokens)?;
            taps.record(format_args!("{name}.local_features"), || Ok(features.clone()))?;
            pixel_shuffle(&features, t.patches)
        });
        let on_cpu = |x: Tensor| x.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.contiguous();
        Ok(HeadOutput {
            points: on_cpu(points)?,
            descriptors: descriptors.transpose()?.map(on_cpu).transpose()?,
        })
    }
}

/// Returns tokens `[N, h · w, C · 16 · 16]` as pixels `[N, H, W, C]`.
fn pixel_shuffle(tokens: &Tensor, (h, w): (usize, usize)) -> Result<Tensor> {
    let (n, _, features) = tokens.dims3()?;
    let channels = features / (PATCH_PX * PATCH_PX);
    let parts = tokens.reshape(&[n, h, w, channels, PATCH_PX, PATCH_PX])?;
    let parts = parts.permute(vec![0, 1, 4, 2, 5, 3])?;
    parts.reshape((n, h * PATCH_PX, w * PATCH_PX, channels))
}

/// Returns the name by which [`DenseHead`] knows the tensor `stored` of a DPT head, which the
/// family's checkpoints call otherwise, and some of them twice.
pub(super) fn dense_names(stored: &str) -> Option<String> {
    let (head, name) = stored.split_once(".dpt.")?;
    let parts: Vec<&str> = name.split('.').collect();
    let asked = match parts.as_slice() {
        ["act_postprocess", level, layer, leaf] => {
            format!("0.input_process.{level}.0.{layer}.{leaf}")
        }
        ["scratch", "layer_rn", level, leaf] => format!("0.input_process.{level}.1.{leaf}"),
        ["scratch", layer, leaf] => {
            let level: usize = layer.strip_prefix("layer")?.strip_suffix("_rn")?.parse().ok()?;
            format!("0.input_process.{}.1.{leaf}", level.checked_sub(1)?)
        }
        ["scratch", ..] => format!("0.{name}"),
        ["head", "0", leaf] => format!("1.conv1.{leaf}"),
        ["head", "2", leaf] => format!("1.conv2.0.{leaf}"),
        ["head", "4", leaf] => format!("1.conv2.2.{leaf}"),
        _ => return None,
    };
    Some(format!("{head}.dense.{asked}"))
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "what is compared for equality is promised exactly")]
mod tests {
    use super::*;

    #[test]
    fn both_names_of_a_shared_tensor_lead_to_one() {
        let asked = "downstream_head1.dense.0.input_process.2.1.weight";
        for stored in ["layer3_rn", "layer_rn.2"] {
            let stored = format!("downstream_head1.dpt.scratch.{stored}.weight");
            assert_eq!(dense_names(&stored).as_deref(), Some(asked));
        }
        assert_eq!(dense_names("dec_blocks.0.norm1.weight"), None);
    }

    #[test]
    fn pixels_of_a_token_come_channel_by_channel() {
        let channels = 2;
        let values: Vec<f32> = (0..2 * channels * 256).map(|i| i as f32).collect();
        let tokens = Tensor::from_vec(values, (1, 2, channels * 256), &Device::Cpu);
        let pixels = pixel_shuffle(&tokens.expect("fits"), (1, 2)).expect("fits");
        let at = |y: usize, x: usize, c: usize| -> f32 {
            let pixel = pixels.get(0).and_then(|p| p.get(y)?.get(x)?.get(c));
            pixel.and_then(|v| v.to_scalar()).expect("inside")
        };
        // Row 3, column 16 + 5 is in the second token.
        assert_eq!(at(3, 21, 1), (2 * 256 + 256 + 3 * 16 + 5) as f32);
    }
}
