//! What stands between the matrix products of a transformer, in as few passes as possible.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::CudaDType;
use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp2, D, DType, Device, InplaceOp2, Layout, Result, Shape,
    Tensor, bail,
};
use half::bf16;

use super::launch::{Arg, Grid, Module, allocate, launch};
use crate::model::nn::Then;

const KERNELS: Module = Module { name: "recon_rows", ptx: include_str!("rows.ptx") };
/// Numbers that a thread takes at a time.
const GROUP: usize = 8;
/// Threads of a block where each takes one group.
const THREADS: u32 = 256;
/// Rows of a block where each warp takes one row.
const ROWS: usize = 4;

/// Returns a layer's product `x` with its bias and what follows. It may be the same memory: `x` must
/// be a result that nobody else holds.
pub fn finish(x: &Tensor, bias: &Tensor, then: Then<'_>) -> Result<Option<Tensor>> {
    let in_place = |name| add_bias(x, bias, name).map(|done| done.then(|| x.clone()));
    match then {
        Then::Nothing => in_place("bias"),
        Then::Relu => in_place("bias_relu"),
        Then::Gelu => in_place("bias_gelu"),
        Then::Add(to) => add_branch(to, x, bias, None),
        Then::ScaleAdd { scale, to } => add_branch(to, x, bias, Some(scale)),
    }
}

/// Runs `kernel` on `x` in place; returns whether it did.
fn add_bias(x: &Tensor, bias: &Tensor, kernel: &'static str) -> Result<bool> {
    let fits = fits(x, &[f32_or_bf16(x)], bias.elem_count()) && like(bias, x);
    if fits {
        x.inplace_op2(bias, &AddBias { kernel })?;
    }
    Ok(fits)
}

/// Returns `silu(a + bias) · (b + bias)` of the halves `(a, b)` of the rows of `x`.
pub fn silu_gate(x: &Tensor, bias: &Tensor) -> Result<Option<Tensor>> {
    let fits = fits(x, &[f32_or_bf16(x)], bias.elem_count())
        && bias.elem_count().is_multiple_of(2 * GROUP)
        && like(bias, x);
    fits.then(|| x.apply_op2_no_bwd(bias, &SiluGate)).transpose()
}

/// Returns `residual + gamma · (branch + bias)` in f32; without `gamma` it counts as one.
fn add_branch(
    residual: &Tensor,
    branch: &Tensor,
    bias: &Tensor,
    gamma: Option<&Tensor>,
) -> Result<Option<Tensor>> {
    let fits = fits(branch, &[f32_or_bf16(branch)], bias.elem_count())
        && like(bias, branch)
        && residual.dims() == branch.dims()
        && fits(residual, &[residual.dtype() == DType::F32], bias.elem_count())
        && gamma.is_none_or(|g| is_row(g, bias.elem_count()) && g.dtype() == DType::F32);
    let op = AddBranch { bias: bias.clone(), gamma: gamma.cloned() };
    fits.then(|| residual.apply_op2_no_bwd(branch, &op)).transpose()
}

/// Returns the rows of `x`, f32, normalised to mean 0 and variance 1, times `weight`, plus `bias`,
/// as `dtype`.
pub fn layer_norm(
    x: &Tensor,
    (weight, bias): (&Tensor, &Tensor),
    epsilon: f64,
    dtype: DType,
) -> Result<Option<Tensor>> {
    let known = matches!(dtype, DType::F32 | DType::BF16);
    let fits = fits(x, &[known, x.dtype() == DType::F32], weight.elem_count())
        && like(weight, x)
        && like(bias, x);
    let op = Norm { bias: bias.clone(), epsilon: epsilon as f32, dtype };
    fits.then(|| x.apply_op2_no_bwd(weight, &op)).transpose()
}

fn f32_or_bf16(x: &Tensor) -> bool {
    matches!(x.dtype(), DType::F32 | DType::BF16)
}

/// Whether `x` lies on a GPU without gaps, in rows of `width` numbers that groups of eight fill.
fn fits(x: &Tensor, conditions: &[bool], width: usize) -> bool {
    matches!(x.device(), Device::Cuda(_))
        && conditions.iter().all(|condition| *condition)
        && x.elem_count() > 0
        && x.dim(D::Minus1).is_ok_and(|last| last == width)
        && width.is_multiple_of(GROUP)
        && x.is_contiguous()
        && x.layout().start_offset().is_multiple_of(GROUP)
}

/// Whether `row` is one row for `x`, of its type.
fn like(row: &Tensor, x: &Tensor) -> bool {
    row.dtype() == x.dtype() && x.dim(D::Minus1).is_ok_and(|width| is_row(row, width))
}

fn is_row(row: &Tensor, width: usize) -> bool {
    matches!(row.device(), Device::Cuda(_))
        && row.elem_count() == width
        && row.is_contiguous()
        && row.layout().start_offset().is_multiple_of(GROUP)
}

/// The kernel of a type, and its arguments' addresses.
trait Number: CudaDType + DeviceRepr {
    const SUFFIX: &'static str;
}

impl Number for f32 {
    const SUFFIX: &'static str = "f32";
}

impl Number for bf16 {
    const SUFFIX: &'static str = "bf16";
}

/// Queues the kernel `name` of type `T` with one thread for each group of eight of `n` numbers in
/// rows of `width`.
fn launch_groups<T: Number>(
    like: &CudaStorage,
    name: &str,
    mut args: Vec<Arg>,
    (n, width): (usize, usize),
) -> Result<()> {
    let groups = n / GROUP;
    args.extend([Arg::long(groups)?, Arg::int(width)?]);
    let grid = Grid { blocks: (groups.div_ceil(THREADS as usize), 1, 1), threads: THREADS };
    launch(like.device(), (KERNELS, &format!("{name}_{}", T::SUFFIX)), grid, &args)
}

struct AddBias {
    kernel: &'static str,
}

impl AddBias {
    fn run<T: Number>(
        &self,
        (x, x_layout): (&CudaStorage, &Layout),
        (bias, bias_layout): (&CudaStorage, &Layout),
    ) -> Result<()> {
        let args = vec![Arg::tensor::<T>(x, x_layout)?, Arg::tensor::<T>(bias, bias_layout)?];
        let extents = (x_layout.shape().elem_count(), bias_layout.shape().elem_count());
        launch_groups::<T>(x, self.kernel, args, extents)
    }
}

impl InplaceOp2 for AddBias {
    fn name(&self) -> &'static str {
        "add_bias"
    }

    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<()> {
        bail!("this bias is a GPU kernel")
    }

    fn cuda_fwd(
        &self,
        x: &mut CudaStorage,
        x_layout: &Layout,
        bias: &CudaStorage,
        bias_layout: &Layout,
    ) -> Result<()> {
        match x.dtype() {
            DType::BF16 => self.run::<bf16>((x, x_layout), (bias, bias_layout)),
            _ => self.run::<f32>((x, x_layout), (bias, bias_layout)),
        }
    }
}

struct SiluGate;

impl SiluGate {
    fn run<T: Number>(
        (x, x_layout): (&CudaStorage, &Layout),
        (bias, bias_layout): (&CudaStorage, &Layout),
    ) -> Result<(CudaStorage, Shape)> {
        let width = bias_layout.shape().elem_count() / 2;
        let mut dims = x_layout.dims().to_vec();
        dims.pop();
        dims.push(width);
        let shape = Shape::from(dims);
        let (out, to) = allocate::<T>(x.device(), shape.elem_count())?;
        let args = vec![to, Arg::tensor::<T>(x, x_layout)?, Arg::tensor::<T>(bias, bias_layout)?];
        launch_groups::<T>(x, "silu_gate", args, (shape.elem_count(), width))?;
        Ok((out, shape))
    }
}

impl CustomOp2 for SiluGate {
    fn name(&self) -> &'static str {
        "silu_gate"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("this gate is a GPU kernel")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        bias: &CudaStorage,
        bias_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        match x.dtype() {
            DType::BF16 => Self::run::<bf16>((x, x_layout), (bias, bias_layout)),
            _ => Self::run::<f32>((x, x_layout), (bias, bias_layout)),
        }
    }
}

struct AddBranch {
    bias: Tensor,
    gamma: Option<Tensor>,
}

impl AddBranch {
    fn run<T: Number>(
        &self,
        (residual, layout): (&CudaStorage, &Layout),
        (branch, branch_layout): (&CudaStorage, &Layout),
    ) -> Result<(CudaStorage, Shape)> {
        let shape = layout.shape().clone();
        let (out, to) = allocate::<f32>(residual.device(), shape.elem_count())?;
        let args = vec![
            to,
            Arg::tensor::<f32>(residual, layout)?,
            Arg::tensor::<T>(branch, branch_layout)?,
            Arg::held::<T>(&self.bias)?,
            self.gamma.as_ref().map_or(Ok(Arg::Address(0)), Arg::held::<f32>)?,
        ];
        let extents = (shape.elem_count(), self.bias.elem_count());
        launch_groups::<T>(residual, "add_branch", args, extents)?;
        Ok((out, shape))
    }
}

impl CustomOp2 for AddBranch {
    fn name(&self) -> &'static str {
        "add_branch"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("this sum is a GPU kernel")
    }

    fn cuda_fwd(
        &self,
        residual: &CudaStorage,
        layout: &Layout,
        branch: &CudaStorage,
        branch_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        match branch.dtype() {
            DType::BF16 => self.run::<bf16>((residual, layout), (branch, branch_layout)),
            _ => self.run::<f32>((residual, layout), (branch, branch_layout)),
        }
    }
}

struct Norm {
    bias: Tensor,
    epsilon: f32,
    dtype: DType,
}

impl Norm {
    fn run<T: Number>(
        &self,
        (x, layout): (&CudaStorage, &Layout),
        (weight, weight_layout): (&CudaStorage, &Layout),
    ) -> Result<(CudaStorage, Shape)> {
        let shape = layout.shape().clone();
        let width = weight_layout.shape().elem_count();
        let rows = shape.elem_count() / width;
        let (out, to) = allocate::<T>(x.device(), shape.elem_count())?;
        let args = [
            to,
            Arg::tensor::<f32>(x, layout)?,
            Arg::tensor::<f32>(weight, weight_layout)?,
            Arg::held::<f32>(&self.bias)?,
            Arg::int(rows)?,
            Arg::int(width)?,
            Arg::Float(self.epsilon),
        ];
        let grid = Grid { blocks: (rows.div_ceil(ROWS), 1, 1), threads: 32 * ROWS as u32 };
        let name = format!("layer_norm_{}", T::SUFFIX);
        launch(x.device(), (KERNELS, &name), grid, &args)?;
        Ok((out, shape))
    }
}

impl CustomOp2 for Norm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("this norm is a GPU kernel")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        match self.dtype {
            DType::BF16 => self.run::<bf16>((x, layout), (weight, weight_layout)),
            _ => self.run::<f32>((x, layout), (weight, weight_layout)),
        }
    }
}
