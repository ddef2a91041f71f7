//! Scaled dot-product attention.

use candle_core::{D, DType, Result, Tensor};

use super::cpu::attention::{AttentionShape, Heads};
use super::cpu::{self, simd::Level};
use super::host::Host;

/// Rows of the score matrix that exist at one time.
const QUERY_BLOCK: usize = 256;

/// Returns `softmax(scale · q kᵀ) v` as `[B, Tq, heads · head_dim]`.
///
/// `q` is `[B, Tq, heads, head_dim]`, `k` and `v` are `[B, Tk, heads, head_dim]`; all may be
/// narrowed views of one tensor. Memory grows linearly in tokens: scores exist for one block of
/// queries at a time.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64) -> Result<Tensor> {
    if q.device().is_cpu() {
        return attention_on_cpu([q, k, v], scale);
    }
    #[cfg(feature = "cuda")]
    if let Some(out) = super::cuda::attention(q, k, v, scale)? {
        return Ok(out);
    }
    let (batch, tokens, heads, head_dim) = q.dims4()?;
    let q = (q.transpose(1, 2)?.contiguous()? * scale)?;
    let k = k.permute((0, 2, 3, 1))?.contiguous()?;
    let v = v.transpose(1, 2)?.contiguous()?;
    let blocks = (0..tokens)
        .step_by(QUERY_BLOCK)
        .map(|start| {
            let queries = q.narrow(2, start, QUERY_BLOCK.min(tokens - start))?;
            softmax(&queries.matmul(&k)?)?.matmul(&v)
        })
        .collect::<Result<Vec<_>>>()?;
    let out = Tensor::cat(&blocks, 2)?;
    out.transpose(1, 2)?.reshape((batch, tokens, heads * head_dim))
}

fn softmax(scores: &Tensor) -> Result<Tensor> {
    let exp = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
    exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)
}

fn attention_on_cpu(qkv: [&Tensor; 3], scale: f64) -> Result<Tensor> {
    let (batch, tokens, heads, head_dim) = qkv[0].dims4()?;
    let keys = qkv[1].dim(1)?;
    if qkv[1].dims() != [batch, keys, heads, head_dim] || qkv[1].dims() != qkv[2].dims() {
        let [q, k, v] = qkv.map(Tensor::dims);
        candle_core::bail!("attention: shapes {q:?}, {k:?}, {v:?} do not fit");
    }
    let [q, k, v] = qkv.map(rows_together);
    let qkv = [q?, k?, v?];
    let [q, k, v] = qkv.each_ref().map(Host::new);
    let shape = AttentionShape { batch, heads, head_dim, scale: scale as f32 };
    let views = [heads_of(&q, tokens)?, heads_of(&k, keys)?, heads_of(&v, keys)?];
    let out = cpu::attention::attention(views, shape, Level::best());
    Tensor::from_vec(out, (batch, tokens, heads * head_dim), qkv[0].device())
}

/// `x` as f32, with the numbers of each head side by side.
fn rows_together(x: &Tensor) -> Result<Tensor> {
    let x = x.to_dtype(DType::F32)?;
    let is_together = x.stride().last().is_none_or(|stride| *stride == 1);
    if is_together { Ok(x) } else { x.contiguous() }
}

fn heads_of<'a>(x: &'a Host<'_>, tokens: usize) -> Result<Heads<'a>> {
    let &[batch, token, head, _] = x.strides() else {
        candle_core::bail!("attention: {} dimensions", x.strides().len());
    };
    Ok(Heads { values: x.strided()?, strides: [batch, token, head], tokens })
}
