//! 3×3 convolutions on the tensor cores, where TF32 is allowed.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::gemm_reduced_precision_f32;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp2, DType, Device, Layout, Result, Shape, Tensor, bail,
};

use super::launch::{Arg, Grid, Module, allocate, launch};
use super::maps::Window;
use crate::model::nn::Then;

const KERNELS: Module = Module { name: "recon_conv", ptx: include_str!("conv.ptx") };
/// What the kernel is made for: pixels and channels of a block, its threads, channels of a step.
const PIXELS: usize = 128;
const OUTPUTS: usize = 128;
const THREADS: u32 = 256;
const DEPTH: usize = 16;

/// Returns [`super::conv3x3`] of an `x` that lies on a GPU without gaps, with factors rounded to
/// TF32; `None` where that is not allowed (see [`crate::model::nn::set_precision`]) or the widths do
/// not fit.
pub(super) fn conv3x3(
    x: &Tensor,
    (weight, bias): (&Tensor, Option<&Tensor>),
    window: Window,
    then: Then<'_>,
) -> Result<Option<Tensor>> {
    let (n, height, width, channels) = x.dims4()?;
    let outputs = weight.dim(0)?;
    let out = [n, height.div_ceil(window.stride), width.div_ceil(window.stride), outputs];
    let fits = gemm_reduced_precision_f32()
        && channels.is_multiple_of(DEPTH)
        && outputs.is_multiple_of(2)
        && x.layout().start_offset().is_multiple_of(4)
        && is_dense(weight, &[outputs, 9 * channels])
        && bias.is_none_or(|bias| is_dense(bias, &[outputs]));
    if !fits {
        return Ok(None);
    }
    // The kernel does what the dense head needs; all else follows it.
    let (residual, result_floor, rest) = match then {
        Then::Add(to) if is_dense(to, &out) => (Some(to), f32::NEG_INFINITY, Then::Nothing),
        Then::Relu => (None, 0.0, Then::Nothing),
        then => (None, f32::NEG_INFINITY, then),
    };
    let op = Conv { bias: bias.cloned(), residual: residual.cloned(), window, result_floor, out };
    rest.apply(x.apply_op2_no_bwd(weight, &op)?).map(Some)
}

/// Whether `x` is f32 on a GPU, of this shape, without gaps, and begins on a multiple of 16 bytes.
fn is_dense(x: &Tensor, shape: &[usize]) -> bool {
    matches!(x.device(), Device::Cuda(_))
        && x.dtype() == DType::F32
        && x.dims() == shape
        && x.is_contiguous()
        && x.layout().start_offset().is_multiple_of(4)
}

struct Conv {
    bias: Option<Tensor>,
    residual: Option<Tensor>,
    window: Window,
    /// What results are held to before the residual is added.
    result_floor: f32,
    out: [usize; 4],
}

impl CustomOp2 for Conv {
    fn name(&self) -> &'static str {
        "conv3x3"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("this convolution is a GPU kernel")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (_, height, width, channels) = x_layout.shape().dims4()?;
        let [n, h, w, outputs] = self.out;
        let pixels = n * h * w;
        let shape = Shape::from((n, h, w, outputs));
        let (out, to) = allocate::<f32>(x.device(), shape.elem_count())?;
        let optional =
            |x: &Option<Tensor>| x.as_ref().map_or(Ok(Arg::Address(0)), Arg::held::<f32>);
        let mut args = vec![
            to,
            Arg::tensor::<f32>(x, x_layout)?,
            Arg::tensor::<f32>(weight, weight_layout)?,
            optional(&self.bias)?,
            optional(&self.residual)?,
        ];
        for extent in [height, width, channels, h, w, outputs, self.window.stride, pixels] {
            args.push(Arg::int(extent)?);
        }
        let floor = if self.window.rectify { 0.0 } else { f32::NEG_INFINITY };
        args.extend([Arg::Float(floor), Arg::Float(self.result_floor)]);
        let blocks = pixels.div_ceil(PIXELS) * outputs.div_ceil(OUTPUTS);
        let grid = Grid { blocks: (blocks, 1, 1), threads: THREADS };
        launch(x.device(), (KERNELS, "conv3x3_tf32"), grid, &args)?;
        Ok((out, shape))
    }
}
