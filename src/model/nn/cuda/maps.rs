//! Operations over f32 maps `[N, H, W, C]`.

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, bail,
};

use super::conv;
use super::launch::{Arg, Grid, Module, allocate, launch};
use crate::model::nn::Then;

const KERNELS: Module = Module { name: "recon_maps", ptx: include_str!("maps.ptx") };
/// Numbers of gathered neighbours that exist at one time: 1 GiB.
const GATHERED: usize = 1 << 28;

/// Returns the 3×3 convolution with padding 1 of `x` `[N, H, W, C]`, its bias, and what follows;
/// `weight` is `[O, 9 · C]`, rows by (dy, dx, c).
pub fn conv3x3(
    x: &Tensor,
    weights: (&Tensor, Option<&Tensor>),
    Window { stride, rectify }: Window,
    then: Then<'_>,
) -> Result<Option<Tensor>> {
    let (weight, bias) = weights;
    if !fits(x) || weight.dtype() != DType::F32 {
        return Ok(None);
    }
    if let Some(out) = conv::conv3x3(x, weights, Window { stride, rectify }, then)? {
        return Ok(Some(out));
    }
    let (images, height, width, channels) = x.dims4()?;
    let (h, w) = (height.div_ceil(stride), width.div_ceil(stride));
    let at_once = (GATHERED / (h * w * 9 * channels)).clamp(1, images);
    let convolved = |first: usize| {
        let n = at_once.min(images - first);
        let gathered = x.narrow(0, first, n)?.apply_op1_no_bwd(&Gather { stride, rectify })?;
        gathered.matmul(&weight.t()?)?.reshape((n, h, w, ()))
    };
    let parts = (0..images).step_by(at_once).map(convolved).collect::<Result<Vec<_>>>()?;
    let out = match parts.as_slice() {
        [whole] => whole.clone(),
        parts => Tensor::cat(parts, 0)?,
    };
    then.finish(out, bias).map(Some)
}

/// How a convolution reads its input.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Pixels from one output to the next.
    pub stride: usize,
    /// Whether it reads max(x, 0).
    pub rectify: bool,
}

/// Returns `x` `[N, H, W, C]` resized to `height` × `width` bilinearly, corners on corners.
pub fn resize_bilinear(x: &Tensor, height: usize, width: usize) -> Result<Option<Tensor>> {
    let fits = fits(x) && height > 0 && width > 0;
    fits.then(|| x.apply_op1_no_bwd(&Resize { height, width })).transpose()
}

fn fits(x: &Tensor) -> bool {
    matches!(x.device(), Device::Cuda(_))
        && x.dtype() == DType::F32
        && x.rank() == 4
        && x.elem_count() > 0
        && x.is_contiguous()
}

/// Threads of a block that has `n` numbers to move: whole warps, 256 at most.
fn threads(n: usize) -> u32 {
    n.next_multiple_of(32).clamp(32, 256) as u32
}

struct Gather {
    stride: usize,
    rectify: bool,
}

impl CustomOp1 for Gather {
    fn name(&self) -> &'static str {
        "gather3x3"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("this gathering is a GPU kernel")
    }

    /// Returns `[pixels of the result, 9 · C]`.
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (n, height, width, channels) = layout.shape().dims4()?;
        let (h, w) = (height.div_ceil(self.stride), width.div_ceil(self.stride));
        let shape = Shape::from((n * h * w, 9 * channels));
        let (out, to) = allocate::<f32>(x.device(), shape.elem_count())?;
        let mut args = vec![to, Arg::tensor::<f32>(x, layout)?];
        for extent in [height, width, channels, h, w, self.stride, usize::from(self.rectify)] {
            args.push(Arg::int(extent)?);
        }
        // Rows of four floats at a time want every one of them on a multiple of 16 bytes.
        let by_four = channels.is_multiple_of(4) && layout.start_offset().is_multiple_of(4);
        let (name, items) = match by_four {
            true => ("gather3x3_f32x4", 9 * channels / 4),
            false => ("gather3x3_f32", 9 * channels),
        };
        let grid = Grid { blocks: (n * h * w, 1, 1), threads: threads(items) };
        launch(x.device(), (KERNELS, name), grid, &args)?;
        Ok((out, shape))
    }
}

struct Resize {
    height: usize,
    width: usize,
}

impl CustomOp1 for Resize {
    fn name(&self) -> &'static str {
        "resize_bilinear"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("this resizing is a GPU kernel")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (n, height, width, channels) = layout.shape().dims4()?;
        let shape = Shape::from((n, self.height, self.width, channels));
        let (out, to) = allocate::<f32>(x.device(), shape.elem_count())?;
        let mut args = vec![to, Arg::tensor::<f32>(x, layout)?];
        for extent in [height, width, channels, self.height, self.width] {
            args.push(Arg::int(extent)?);
        }
        let pixels = n * self.height * self.width;
        let grid = Grid { blocks: (pixels, 1, 1), threads: threads(channels) };
        launch(x.device(), (KERNELS, "resize_bilinear_f32"), grid, &args)?;
        Ok((out, shape))
    }
}
