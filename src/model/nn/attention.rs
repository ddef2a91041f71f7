//! Scaled dot-product attention.

use candle_core::{D, Result, Tensor};

/// Rows of the score matrix that exist at one time.
const QUERY_BLOCK: usize = 256;

/// Returns `softmax(scale · q kᵀ) v` as `[B, Tq, heads · head_dim]`.
///
/// `q` is `[B, Tq, heads, head_dim]`, `k` and `v` are `[B, Tk, heads, head_dim]`; all may be
/// narrowed views of one tensor. Memory grows linearly in tokens: scores exist for one block of
/// queries at a time.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64) -> Result<Tensor> {
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
