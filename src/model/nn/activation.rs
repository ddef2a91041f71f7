//! Activations.

use candle_core::{D, Result, Tensor};

use super::cpu::rows;
use super::cpu::simd::Level;
use super::host::{self, Host};

/// Returns the exact (erf) GELU of `x`.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() {
        return host::map(x, |from, to| rows::gelu(from, to, Level::best()));
    }
    x.gelu_erf()
}

/// Returns `silu(a)·b` of the halves `(a, b)` of the last dimension: the gate of SwiGLU.
pub fn silu_gate(x: &Tensor) -> Result<Tensor> {
    let half = x.dim(D::Minus1)? / 2;
    if x.device().is_cpu() {
        return silu_gate_on_cpu(x, half);
    }
    let (a, b) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
    a.silu()? * b
}

fn silu_gate_on_cpu(x: &Tensor, half: usize) -> Result<Tensor> {
    let x = host::dense_f32(x)?;
    let values = Host::new(&x);
    let mut out = vec![0.0; x.elem_count() / 2];
    rows::silu_gate(values.values()?, &mut out, half, Level::best());
    let mut shape = x.dims().to_vec();
    shape.pop();
    shape.push(half);
    Tensor::from_vec(out, shape, x.device())
}
