//! Fused attention.

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp3, DType, Device, Layout, Result, Shape, Tensor, bail,
};
use half::bf16;

use super::launch::{Arg, Grid, Module, allocate, launch};

const KERNELS: Module = Module { name: "recon_attention", ptx: include_str!("attention.ptx") };
/// What the kernel is made for: numbers of a head, queries of a block, threads of a block.
const HEAD_DIM: usize = 64;
const QUERIES: usize = 128;
const THREADS: u32 = 128;

/// Returns `softmax(scale · q kᵀ) v` as `[B, Tq, heads · 64]`, bf16, for `q` `[B, Tq, heads, 64]`
/// and `k`, `v` `[B, Tk, heads, 64]`, which may be narrowed views of one tensor; `None` for other
/// types, widths and layouts. No score is written to memory.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64) -> Result<Option<Tensor>> {
    let fits = matches!(q.device(), Device::Cuda(_))
        && [q, k, v].iter().all(|x| x.dtype() == DType::BF16 && strides(x.layout()).is_some())
        && q.elem_count() > 0
        && k.elem_count() > 0;
    if !fits {
        return Ok(None);
    }
    q.apply_op3_no_bwd(k, v, &Attention { scale }).map(Some)
}

/// Strides over batch and tokens, in numbers, where the kernel can read the layout: heads side by
/// side, and every row on a multiple of 16 bytes.
fn strides(layout: &Layout) -> Option<[usize; 2]> {
    let ([_, _, heads, HEAD_DIM], &[batch, token, head, 1]) = (layout.dims(), layout.stride())
    else {
        return None;
    };
    let aligned = [layout.start_offset(), batch, token].iter().all(|n| n.is_multiple_of(8));
    (aligned && (head == HEAD_DIM || *heads == 1)).then_some([batch, token])
}

struct Attention {
    scale: f64,
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("this attention is a GPU kernel")
    }

    fn cuda_fwd(
        &self,
        q: &CudaStorage,
        q_layout: &Layout,
        k: &CudaStorage,
        k_layout: &Layout,
        v: &CudaStorage,
        v_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (batch, queries, heads, _) = q_layout.shape().dims4()?;
        let keys = k_layout.dim(1)?;
        if k_layout.dims() != [batch, keys, heads, HEAD_DIM] || k_layout.dims() != v_layout.dims() {
            bail!("attention: shapes {q_layout:?}, {k_layout:?}, {v_layout:?} do not fit");
        }
        let shape = Shape::from((batch, queries, heads * HEAD_DIM));
        let (out, to) = allocate::<bf16>(q.device(), shape.elem_count())?;
        let mut args = vec![
            Arg::tensor::<bf16>(q, q_layout)?,
            Arg::tensor::<bf16>(k, k_layout)?,
            Arg::tensor::<bf16>(v, v_layout)?,
            to,
        ];
        for layout in [q_layout, k_layout, v_layout] {
            let Some(strides) = strides(layout) else { bail!("attention: layout {layout:?}") };
            args.extend([Arg::long(strides[0])?, Arg::long(strides[1])?]);
        }
        let scale = self.scale * std::f64::consts::LOG2_E;
        args.extend([Arg::int(queries)?, Arg::int(keys)?, Arg::Float(scale as f32)]);
        let grid = Grid { blocks: (queries.div_ceil(QUERIES), heads, batch), threads: THREADS };
        launch(q.device(), (KERNELS, "attention_bf16"), grid, &args)?;
        Ok((out, shape))
    }
}
