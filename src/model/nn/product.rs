//! Products with weights that were laid out for the CPU's kernels.

use std::sync::Arc;

use candle_core::{CpuStorage, Result, Storage, Tensor, bail};

use super::cpu::gemm::{self, Finish, IntegerPanels, Matrix, Panels, Rows};
use super::cpu::simd::Level;
use super::host::Host;

/// What follows a layer, computed with it where that saves a pass over memory.
#[derive(Debug, Clone, Copy)]
pub enum Then<'a> {
    /// Nothing.
    Nothing,
    /// max(x, 0).
    Relu,
    /// The exact GELU.
    Gelu,
    /// The sum with a tensor of the same shape, in f32: a residual branch.
    Add(&'a Tensor),
    /// The same, where each channel of the branch is scaled before: LayerScale.
    ScaleAdd {
        /// `[C]`, f32.
        scale: &'a Tensor,
        /// What is added to.
        to: &'a Tensor,
    },
}

impl Then<'_> {
    /// Returns what follows a layer's product `out`, which nobody else holds, and its bias.
    pub fn finish(self, out: Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let Some(bias) = bias else { return self.apply(out) };
        #[cfg(feature = "cuda")]
        if let Some(done) = super::cuda::finish(&out, bias, self)? {
            return Ok(done);
        }
        self.apply(out.broadcast_add(bias)?)
    }

    /// Returns what follows `x`, by plain tensor operations.
    pub fn apply(self, x: Tensor) -> Result<Tensor> {
        match self {
            Self::Nothing => Ok(x),
            Self::Relu => x.relu(),
            Self::Gelu => super::gelu(&x),
            Self::Add(to) => to + x.to_dtype(to.dtype())?,
            Self::ScaleAdd { scale, to } => to + x.to_dtype(to.dtype())?.broadcast_mul(scale)?,
        }
    }
}

/// Weights of a layer on the CPU, kept in the type of their file and computed with in f32.
#[derive(Debug, Clone)]
pub struct Packed {
    weights: LaidOut,
    bias: Option<Tensor>,
}

#[derive(Debug, Clone)]
enum LaidOut {
    /// For products in f32.
    Panels(Arc<Panels>),
    /// For products of whole numbers.
    Integers(Arc<IntegerPanels>),
}

impl LaidOut {
    fn new(matrix: Matrix<'_>, outputs: usize, depth: usize) -> Self {
        match matrix {
            Matrix::Q8 { numbers, scales } if IntegerPanels::are_fast() => {
                Self::Integers(Arc::new(IntegerPanels::new(numbers, scales, outputs, depth)))
            }
            _ => Self::Panels(Arc::new(Panels::new(matrix, outputs, depth, Level::best()))),
        }
    }

    fn outputs(&self) -> usize {
        match self {
            Self::Panels(panels) => panels.outputs(),
            Self::Integers(panels) => panels.outputs(),
        }
    }

    fn depth(&self) -> usize {
        match self {
            Self::Panels(panels) => panels.depth(),
            Self::Integers(panels) => panels.depth(),
        }
    }
}

impl Packed {
    /// Returns `weight` `[O, K]` and `bias` `[O]` ready for products, or `None` for types that are
    /// not computed with on the CPU and tensors that are elsewhere.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>) -> Result<Option<Self>> {
        let weight = weight.contiguous()?;
        let (outputs, depth) = weight.dims2()?;
        let (storage, layout) = weight.storage_and_layout();
        let Storage::Cpu(storage) = &*storage else { return Ok(None) };
        let range = layout.start_offset()..layout.start_offset() + outputs * depth;
        let matrix = match storage {
            CpuStorage::F32(x) => Matrix::F32(&x[range]),
            CpuStorage::BF16(x) => Matrix::Bf16(&x[range]),
            CpuStorage::F16(x) => Matrix::F16(&x[range]),
            _ => return Ok(None),
        };
        Self::from_matrix(matrix, (outputs, depth), bias).map(Some)
    }

    /// Returns `matrix` `[O, K]` and `bias` `[O]` ready for products.
    pub fn from_matrix(
        matrix: Matrix<'_>,
        (outputs, depth): (usize, usize),
        bias: Option<&Tensor>,
    ) -> Result<Self> {
        let bias = bias.map(|bias| fitting(bias, outputs)).transpose()?;
        Ok(Self { weights: LaidOut::new(matrix, outputs, depth), bias })
    }

    /// Returns how many numbers a row of the result has.
    pub fn outputs(&self) -> usize {
        self.weights.outputs()
    }

    /// Returns the product of the rows of `left` with the weights, the bias and `then`, as a tensor
    /// of `shape`.
    pub fn forward(&self, left: &impl Rows, shape: Vec<usize>, then: Then<'_>) -> Result<Tensor> {
        let rows: usize = shape.iter().rev().skip(1).product();
        if left.depth() != self.weights.depth() || shape.last() != Some(&self.outputs()) {
            bail!("rows of {} numbers do not fit weights of {:?}", left.depth(), self.weights);
        }
        finished(self.bias.as_ref(), then, shape, |finish| match &self.weights {
            LaidOut::Panels(panels) => gemm::multiply(left, rows, panels, finish),
            LaidOut::Integers(panels) => gemm::multiply_integers(left, rows, panels, finish),
        })
    }
}

/// Returns as a tensor of `shape` what `product` makes, which is given the bias and what follows.
pub(super) fn finished(
    bias: Option<&Tensor>,
    then: Then<'_>,
    shape: Vec<usize>,
    product: impl FnOnce(Finish<'_>) -> Vec<f32>,
) -> Result<Tensor> {
    let bias = bias.map(Host::new);
    let bias = bias.as_ref().map(Host::values).transpose()?;
    let product = |then| product(Finish { bias, then });
    let out = match then {
        Then::Nothing => product(gemm::Then::Nothing),
        Then::Relu => product(gemm::Then::Relu),
        Then::Gelu => product(gemm::Then::Gelu),
        Then::Add(to) => {
            let to = branch(to, &shape)?;
            let to = Host::new(&to);
            product(gemm::Then::Add(to.values()?))
        }
        Then::ScaleAdd { scale, to } => {
            let outputs = shape.last().copied().unwrap_or_default();
            let (scale, to) = (branch(scale, &[outputs])?, branch(to, &shape)?);
            let (scale, to) = (Host::new(&scale), Host::new(&to));
            product(gemm::Then::ScaleAdd { scale: scale.values()?, to: to.values()? })
        }
    };
    Tensor::from_vec(out, shape, &candle_core::Device::Cpu)
}

/// Returns a bias as the kernels take it.
pub(super) fn fitting(bias: &Tensor, outputs: usize) -> Result<Tensor> {
    if bias.dims() != [outputs] {
        bail!("a bias does not fit {outputs} outputs");
    }
    super::host::dense_f32(bias)
}

fn branch(x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    if x.dims() != shape {
        bail!("a branch of shape {shape:?} cannot be added to {:?}", x.dims());
    }
    super::host::dense_f32(x)
}
