//! The model as a whole: weights in, then views in and geometry out.

use std::path::Path;

use candle_core::{DType, Device, Tensor};

use super::architecture::Architecture;
use super::checkpoint::Checkpoint;
use super::encoder::EncodedViews;
use super::inputs::{Ignored, ViewInput, check_views, view_priors};
use super::network::{Network, RawOutput};
use super::outputs::{ViewOutput, confidence_by_agreement, view_outputs};
use super::postprocess::{AgreementThresholds, MaskOptions};
use super::taps::Taps;
use crate::error::{Error, Result};
use crate::model::nn::set_precision;

/// The name by which users choose the model.
pub const NAME: &str = "mapanything";

/// How a model is loaded.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Where it computes.
    pub device: Device,
    /// Type of the transformers' matrices; all else is f32.
    pub dtype: DType,
    /// Whether tensors that the network does not have are passed over instead of refused.
    pub allow_surplus: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { device: Device::Cpu, dtype: DType::F32, allow_surplus: false }
    }
}

/// How views are looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct InferOptions {
    /// Inputs that are left out.
    pub ignored: Ignored,
    /// Whether relative rotations get a quaternion with w ≥ 0: the one thing in which we may differ
    /// from the reference, which leaves the sign to chance.
    pub standardize_quaternion: bool,
    /// What is masked; `None` keeps all points.
    pub mask: Option<MaskOptions>,
    /// Confidence by the agreement of views instead of the network's own.
    pub multi_view_confidence: Option<AgreementThresholds>,
    /// Views that the dense head sees at once; more need more memory. `None` is one on the CPU and
    /// eight on a GPU.
    pub head_views: Option<usize>,
}

impl Default for InferOptions {
    fn default() -> Self {
        Self {
            ignored: Ignored::default(),
            standardize_quaternion: false,
            mask: Some(MaskOptions::default()),
            multi_view_confidence: None,
            head_views: None,
        }
    }
}

/// A loaded model.
#[derive(Debug)]
pub struct MapAnything {
    network: Network,
    architecture: Architecture,
    is_quantized: bool,
}

impl MapAnything {
    /// Returns the model in the folder or file `path`: see [`Checkpoint::open`].
    ///
    /// # Errors
    /// As [`Checkpoint::open`], and where the device has no room for the weights.
    pub fn open(path: &Path, options: &LoadOptions) -> Result<Self> {
        set_precision(options.dtype);
        let target = (&options.device, options.dtype);
        let checkpoint = Checkpoint::open(path, target, options.allow_surplus)?;
        let network = Network::load(&checkpoint.weights, &checkpoint.architecture);
        let network = network.map_err(|error| failed(&error))?;
        let Checkpoint { weights, architecture } = checkpoint;
        Ok(Self { network, architecture, is_quantized: weights.is_quantized() })
    }

    /// Returns the sizes of the network.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Returns whether weights are stored in blocks of fewer bits than 16.
    pub fn is_quantized(&self) -> bool {
        self.is_quantized
    }

    /// Returns the tokens of the views' images, which can be kept for [`MapAnything::infer_encoded`]
    /// as long as a view is of interest.
    ///
    /// # Errors
    /// Where the views are not of one size, or the device fails.
    pub fn encode(&self, views: &[ViewInput]) -> Result<EncodedViews> {
        self.encode_tapped(views, &Taps::off())
    }

    fn encode_tapped(&self, views: &[ViewInput], taps: &Taps) -> Result<EncodedViews> {
        check_views(views)?;
        let images = images(views).map_err(|error| failed(&error))?;
        self.network.encode(&images, taps).map_err(|error| failed(&error))
    }

    /// Returns the geometry of `views` in the frame of the first.
    ///
    /// # Errors
    /// Where the views do not fit together (see [`view_priors`]), or the device fails.
    pub fn infer(&self, views: &[ViewInput], options: &InferOptions) -> Result<Vec<ViewOutput>> {
        let encoded = self.encode(views)?;
        self.infer_encoded(&encoded, views, options)
    }

    /// Returns the geometry of `views`, whose tokens are known, in the frame of the first.
    ///
    /// # Errors
    /// As [`MapAnything::infer`].
    pub fn infer_encoded(
        &self,
        encoded: &EncodedViews,
        views: &[ViewInput],
        options: &InferOptions,
    ) -> Result<Vec<ViewOutput>> {
        let raw = self.heads(encoded, views, options, &Taps::off())?;
        let mut outputs = view_outputs(&raw).map_err(|error| failed(&error))?;
        drop(raw);
        if let Some(thresholds) = &options.multi_view_confidence {
            confidence_by_agreement(&mut outputs, thresholds);
        }
        if let Some(mask) = &options.mask {
            for view in &mut outputs {
                let mask = view.final_mask(mask)?;
                view.apply_mask(mask);
            }
        }
        Ok(outputs)
    }

    /// Returns what the heads say, for who gives it a meaning of their own or listens to `taps`.
    ///
    /// # Errors
    /// As [`MapAnything::infer`].
    pub fn infer_raw(
        &self,
        views: &[ViewInput],
        options: &InferOptions,
        taps: &Taps,
    ) -> Result<RawOutput> {
        let encoded = self.encode_tapped(views, taps)?;
        self.heads(&encoded, views, options, taps)
    }

    fn heads(
        &self,
        encoded: &EncodedViews,
        views: &[ViewInput],
        options: &InferOptions,
        taps: &Taps,
    ) -> Result<RawOutput> {
        let priors = view_priors(views, &options.ignored, options.standardize_quaternion)?;
        if encoded.len() != views.len() {
            return Err(Error::ShapeMismatch {
                what: "encoded views",
                expected: views.len().to_string(),
                found: encoded.len().to_string(),
            });
        }
        let head_views = options.head_views.unwrap_or(match self.network.device() {
            Device::Cpu => 1,
            _ => 8,
        });
        let raw = self.network.infer(encoded, &priors, head_views, taps);
        raw.map_err(|error| failed(&error))
    }
}

/// The colours of all views, `[N, H, W, 3]`.
fn images(views: &[ViewInput]) -> candle_core::Result<Tensor> {
    let planes = |view: &ViewInput| {
        let (width, height) = view.size;
        Tensor::from_slice(&view.colors, (1, 3, height, width), &Device::Cpu)
    };
    let images = views.iter().map(planes).collect::<candle_core::Result<Vec<_>>>()?;
    Tensor::cat(&images, 0)?.permute((0, 2, 3, 1))?.contiguous()
}

/// What a fault of the device is for the user.
pub(super) fn failed(error: &candle_core::Error) -> Error {
    Error::Inference {
        model: NAME,
        problem: error.to_string(),
        remedy: "use fewer or smaller views if memory is short, or another device",
    }
}
