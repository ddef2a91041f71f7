//! Tensors as slices, for the kernels of [`super::cpu`].

use std::ops::Deref;

use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor, bail};

/// The numbers of an f32 tensor on the CPU, held for reading.
pub struct Host<'a> {
    /// A guard whose type candle does not name.
    storage: Box<dyn Deref<Target = Storage> + 'a>,
    layout: &'a Layout,
}

impl<'a> Host<'a> {
    /// Returns the numbers of `x`, which is f32 and on the CPU.
    pub fn new(x: &'a Tensor) -> Self {
        let (storage, layout) = x.storage_and_layout();
        Self { storage: Box::new(storage), layout }
    }

    /// Returns all numbers from the tensor's first on, by its strides.
    pub fn strided(&self) -> Result<&[f32]> {
        match &**self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => Ok(&values[self.layout.start_offset()..]),
            _ => bail!("a kernel of the CPU was given a tensor that is not f32 on the CPU"),
        }
    }

    /// Returns the tensor's numbers in order; it must be contiguous.
    pub fn values(&self) -> Result<&[f32]> {
        if !self.layout.is_contiguous() {
            bail!("a kernel of the CPU was given a tensor with strides {:?}", self.layout.stride());
        }
        Ok(&self.strided()?[..self.layout.shape().elem_count()])
    }

    /// Returns how far apart the numbers lie along each dimension.
    pub fn strides(&self) -> &[usize] {
        self.layout.stride()
    }
}

/// Returns how many bytes of its device's memory a tensor keeps from being freed: on the CPU those
/// of its whole storage, of which it may show a part only.
pub fn held_bytes(x: &Tensor) -> usize {
    let size = x.dtype().size_in_bytes();
    match &*x.storage_and_layout().0 {
        Storage::Cpu(CpuStorage::F32(values)) => size * values.len(),
        _ => size * x.elem_count(),
    }
}

/// Returns `x` as f32 without gaps.
pub fn dense_f32(x: &Tensor) -> Result<Tensor> {
    x.to_dtype(DType::F32)?.contiguous()
}

/// Returns the tensor of `x`'s shape that `fill` writes from its numbers.
pub fn map(x: &Tensor, fill: impl FnOnce(&[f32], &mut [f32])) -> Result<Tensor> {
    let x = dense_f32(x)?;
    let host = Host::new(&x);
    let from = host.values()?;
    let mut to = vec![0.0; from.len()];
    fill(from, &mut to);
    Tensor::from_vec(to, x.shape(), x.device())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn a_part_of_a_tensor_holds_all_of_it_and_a_copy_does_not() {
        let whole = Tensor::zeros((4, 25), DType::F32, &Device::Cpu).unwrap();
        let part = whole.narrow(0, 1, 1).unwrap();
        assert_eq!((held_bytes(&whole), held_bytes(&part)), (400, 400));
        assert_eq!(held_bytes(&part.force_contiguous().unwrap()), 100);
    }
}
