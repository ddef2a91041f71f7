//! Activations.

use candle_core::{D, Result, Tensor};

/// Returns the exact (erf) GELU of `x`.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    x.gelu_erf()
}

/// Returns `silu(a)·b` of the halves `(a, b)` of the last dimension: the gate of SwiGLU.
pub fn silu_gate(x: &Tensor) -> Result<Tensor> {
    let half = x.dim(D::Minus1)? / 2;
    let (a, b) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
    a.silu()? * b
}
