//! The dense head: from patch tokens of four depths to six numbers for each pixel.
//!
//! The fusion follows "Vision Transformers for Dense Prediction" (Ranftl et al., 2021).

use candle_core::{Result, Tensor};

use crate::model::nn::{Conv3x3, Linear, Then, TransposedConv, Weights, resize_bilinear};

/// Numbers for each pixel: ray (3), logarithm of depth along it, logarithm of confidence less one,
/// logit of the mask.
pub const CHANNELS: usize = 6;

/// `dense_head.0` and `dense_head.1` of the checkpoint; always in f32.
#[derive(Debug)]
pub struct DenseHead {
    input_process: [InputProcess; 4],
    /// From the finest, `refinenet1`, to the coarsest.
    scratch: [RefineNet; 4],
    regressor: Regressor,
}

/// What the dense head says.
#[derive(Debug)]
pub struct DenseOutput {
    /// `[N, 8h, 8w, F]`: fused features.
    pub features: Tensor,
    /// `[N, H, W, 6]`: see [`CHANNELS`].
    pub raw: Tensor,
}

impl DenseHead {
    /// Returns the head under `weights`.
    pub fn load(weights: &Weights) -> Result<Self> {
        let weights = &weights.f32();
        let (features, regressor) = (weights.scope(0), weights.scope(1));
        let level = |k| InputProcess::load(&features.scope("input_process").scope(k));
        let refine = |i| RefineNet::load(&features.scope("scratch").scope(format!("refinenet{i}")));
        Ok(Self {
            input_process: [level(0)?, level(1)?, level(2)?, level(3)?],
            scratch: [refine(1)?, refine(2)?, refine(3)?, refine(4)?],
            regressor: Regressor::load(&regressor)?,
        })
    }

    /// Returns the output, `height` × `width` pixels, for maps `levels` `[N, h, w, ·]` from the
    /// shallowest to the deepest.
    pub fn forward(
        &self,
        levels: [&Tensor; 4],
        height: usize,
        width: usize,
    ) -> Result<DenseOutput> {
        let features = self.fused(levels)?;
        let raw = self.regressor.forward(&features, height, width)?;
        Ok(DenseOutput { features, raw })
    }

    fn fused(&self, levels: [&Tensor; 4]) -> Result<Tensor> {
        let (_, h, w, _) = levels[3].dims4()?;
        let [process1, process2, process3, process4] = &self.input_process;
        let [refinenet1, refinenet2, refinenet3, refinenet4] = &self.scratch;
        let path = refinenet4.forward(&process4.forward(levels[3])?, None)?;
        // Halved with rounding up and doubled again, it may be one row and column too large.
        let path = path.narrow(1, 0, h)?.narrow(2, 0, w)?.contiguous()?;
        let path = refinenet3.forward(&path, Some(&process3.forward(levels[2])?))?;
        let path = refinenet2.forward(&path, Some(&process2.forward(levels[1])?))?;
        refinenet1.forward(&path, Some(&process1.forward(levels[0])?))
    }
}

/// Brings a level to its size and width.
#[derive(Debug)]
struct InputProcess {
    project: Linear,
    resize: Resize,
    layer_rn: Conv3x3,
}

#[derive(Debug)]
enum Resize {
    None,
    Up(TransposedConv),
    Down(Conv3x3),
}

impl InputProcess {
    fn load(weights: &Weights) -> Result<Self> {
        let resize = weights.scope("0.1");
        Ok(Self {
            project: Linear::load(&weights.scope("0.0"))?,
            resize: Resize::load(&resize)?,
            layer_rn: Conv3x3::load(&weights.scope(1), 1)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.project.forward(x)?;
        let x = match &self.resize {
            Resize::None => x,
            Resize::Up(conv) => conv.forward(&x)?,
            Resize::Down(conv) => conv.forward(&x)?,
        };
        self.layer_rn.forward(&x)
    }
}

impl Resize {
    /// The kernel tells which it is: 3×3 halves, others enlarge by their size.
    fn load(weights: &Weights) -> Result<Self> {
        let Some(kernel) = weights.optional("weight")? else { return Ok(Self::None) };
        Ok(match kernel.dims4()? {
            (_, _, 3, 3) => Self::Down(Conv3x3::load(weights, 2)?),
            _ => Self::Up(TransposedConv::load(weights)?),
        })
    }
}

/// Fuses a level into the coarser ones and doubles the size.
#[derive(Debug)]
struct RefineNet {
    res_conv_unit1: Option<ResidualConvUnit>,
    res_conv_unit2: ResidualConvUnit,
    out_conv: Linear,
}

impl RefineNet {
    fn load(weights: &Weights) -> Result<Self> {
        let unit1 = weights.scope("resConfUnit1");
        let has_unit1 = unit1.scope("conv1").has("weight");
        Ok(Self {
            res_conv_unit1: has_unit1.then(|| ResidualConvUnit::load(&unit1)).transpose()?,
            res_conv_unit2: ResidualConvUnit::load(&weights.scope("resConfUnit2"))?,
            out_conv: Linear::load(&weights.scope("out_conv"))?,
        })
    }

    fn forward(&self, x: &Tensor, lateral: Option<&Tensor>) -> Result<Tensor> {
        let x = match (&self.res_conv_unit1, lateral) {
            (Some(unit), Some(lateral)) => (x + unit.forward(lateral)?)?,
            _ => x.clone(),
        };
        // The reference enlarges first. Both steps are linear and the weights of the second add up
        // to one, so that they may change places: that is a quarter of the work.
        let x = self.out_conv.forward(&self.res_conv_unit2.forward(&x)?)?;
        let (_, h, w, _) = x.dims4()?;
        resize_bilinear(&x, 2 * h, 2 * w)
    }
}

#[derive(Debug)]
struct ResidualConvUnit {
    conv1: Conv3x3,
    conv2: Conv3x3,
}

impl ResidualConvUnit {
    fn load(weights: &Weights) -> Result<Self> {
        let conv = |name| Conv3x3::load(&weights.scope(name), 1);
        Ok(Self { conv1: conv("conv1")?, conv2: conv("conv2")? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let change = self.conv1.forward_rectified_then(x, Then::Relu)?;
        self.conv2.forward_then(&change, Then::Add(x))
    }
}

/// From features to numbers for each pixel.
#[derive(Debug)]
struct Regressor {
    conv1: Conv3x3,
    conv2: (Conv3x3, Linear),
}

impl Regressor {
    fn load(weights: &Weights) -> Result<Self> {
        Ok(Self {
            conv1: Conv3x3::load(&weights.scope("conv1"), 1)?,
            conv2: (
                Conv3x3::load(&weights.scope("conv2.0"), 1)?,
                Linear::load(&weights.scope("conv2.2"))?,
            ),
        })
    }

    fn forward(&self, features: &Tensor, height: usize, width: usize) -> Result<Tensor> {
        let x = resize_bilinear(&self.conv1.forward(features)?, height, width)?;
        let (conv, last) = &self.conv2;
        last.forward(&conv.forward_then(&x, Then::Relu)?)
    }
}
