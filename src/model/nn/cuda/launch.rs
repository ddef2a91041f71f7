//! The one place that hands memory to kernels.
#![allow(unsafe_code)]

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{
    DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg, result, sys,
};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::{CudaDevice, CudaStorage, Device, Layout, Result, Storage, Tensor, bail};

/// A compiled file of kernels.
#[derive(Clone, Copy)]
pub(super) struct Module {
    /// What candle keeps it under.
    pub name: &'static str,
    /// Its text.
    pub ptx: &'static str,
}

/// Blocks, and threads in each.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    /// Blocks along x, y and z.
    pub blocks: (usize, usize, usize),
    /// Threads of a block.
    pub threads: u32,
}

/// An argument of a kernel.
#[derive(Clone, Copy)]
pub(super) enum Arg {
    /// An address on the device, of an allocation that lives until the launch has been queued.
    Address(u64),
    /// A `long long`.
    Long(i64),
    /// An `int`.
    Int(i32),
    /// A `float`.
    Float(f32),
}

impl Arg {
    /// Returns a length as an `int`; fails where it is none.
    pub fn int(n: usize) -> Result<Self> {
        i32::try_from(n).map(Self::Int).map_err(candle_core::Error::wrap)
    }

    /// Returns a length as a `long long`; fails where it is none.
    pub fn long(n: usize) -> Result<Self> {
        i64::try_from(n).map(Self::Long).map_err(candle_core::Error::wrap)
    }

    /// Returns where the first number of a tensor lies; fails where it is not of type `T`.
    pub fn tensor<T: CudaDType + DeviceRepr>(
        storage: &CudaStorage,
        layout: &Layout,
    ) -> Result<Self> {
        let stream = storage.device().cuda_stream();
        let view = storage.as_cuda_slice::<T>()?.slice(layout.start_offset()..);
        let (address, _uses) = view.device_ptr(&stream);
        Ok(Self::Address(address))
    }

    /// Returns where the first number of a tensor lies that an operation holds beside its operands.
    pub fn held<T: CudaDType + DeviceRepr>(x: &Tensor) -> Result<Self> {
        let (storage, layout) = x.storage_and_layout();
        match &*storage {
            Storage::Cuda(storage) => Self::tensor::<T>(storage, layout),
            _ => bail!("a tensor on the CPU was handed to a GPU kernel"),
        }
    }
}

/// Queues kernel `name` of `module` on the device's stream.
///
/// The callers, all in this folder, uphold what the compiler cannot see: `args` are of the number,
/// types and order of the kernel's parameters, and the extents in them are within the tensors.
pub(super) fn launch(
    device: &CudaDevice,
    (module, name): (Module, &str),
    grid: Grid,
    args: &[Arg],
) -> Result<()> {
    let extent = |n: usize| u32::try_from(n).map_err(candle_core::Error::wrap);
    let (x, y, z) = grid.blocks;
    let config = LaunchConfig {
        grid_dim: (extent(x)?, extent(y)?, extent(z)?),
        block_dim: (grid.threads, 1, 1),
        shared_mem_bytes: 0,
    };
    let function = device.get_or_load_custom_func(name, module.name, module.ptx)?;
    let mut builder = function.builder();
    for arg in args {
        match arg {
            Arg::Address(value) => builder.arg(value),
            Arg::Long(value) => builder.arg(value),
            Arg::Int(value) => builder.arg(value),
            Arg::Float(value) => builder.arg(value),
        };
    }
    // SAFETY: the arguments fit the kernel (see above). The tensors outlive the call, and what they
    // free is freed in the order of the same stream, after the kernel.
    unsafe { builder.launch(config) }.w()?;
    Ok(())
}

/// Returns room for `n` numbers, and its address; the kernel that is launched next fills it.
pub(super) fn allocate<T: CudaDType + DeviceRepr>(
    device: &CudaDevice,
    n: usize,
) -> Result<(CudaStorage, Arg)> {
    // SAFETY: every caller hands the room to a kernel that writes all of it, and nothing reads it
    // before, since all work is in the order of one stream.
    let slice = unsafe { device.alloc::<T>(n) }?;
    let stream = device.cuda_stream();
    let address = {
        let (address, _uses) = slice.device_ptr(&stream);
        address
    };
    Ok((CudaStorage::wrap_cuda_slice(slice, device.clone()), Arg::Address(address)))
}

/// Returns the GPU of this number with one stream of its own, whatever thread uses it.
pub fn new_device(ordinal: usize) -> Result<Device> {
    let device = Device::new_cuda_with_stream(ordinal)?;
    let Device::Cuda(cuda) = &device else { bail!("GPU {ordinal} is no CUDA device") };
    // SAFETY: all tensors of the device are made, used and freed on its one stream.
    unsafe { cuda.disable_event_tracking() };
    keep_freed_memory(cuda)?;
    Ok(device)
}

/// Returns the driver's name of a GPU.
pub fn name(device: &Device) -> Result<String> {
    device.as_cuda_device()?.cuda_stream().context().name().w()
}

/// Returns the most bytes that tensors took at one time since this was last called; 0 where the
/// driver does not count. The libraries' own memory is not in it.
pub fn take_peak_memory(device: &Device) -> Result<u64> {
    let stream = device.as_cuda_device()?.cuda_stream();
    if !stream.context().has_async_alloc() {
        return Ok(0);
    }
    let (mut peak, mut reset) = (0u64, 0u64);
    let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH;
    // SAFETY: as in `keep_freed_memory`; this attribute is 64 bits wide as well, and is reset by
    // writing 0.
    unsafe {
        let pool = result::device::get_default_mem_pool(stream.context().cu_device()).w()?;
        result::mem_pool::get_attribute(pool, attribute, (&raw mut peak).cast()).w()?;
        result::mem_pool::set_attribute(pool, attribute, (&raw mut reset).cast()).w()?;
    }
    Ok(peak)
}

/// Has the driver keep what is freed for the next allocation: else every wait for a result would
/// return the memory, and the next run would fetch it anew.
fn keep_freed_memory(device: &CudaDevice) -> Result<()> {
    let stream = device.cuda_stream();
    if !stream.context().has_async_alloc() {
        return Ok(());
    }
    let mut threshold = u64::MAX;
    let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the pool is the default one of a device that exists, and the driver documents this
    // attribute as a 64-bit unsigned number, which it copies.
    unsafe {
        let pool = result::device::get_default_mem_pool(stream.context().cu_device()).w()?;
        result::mem_pool::set_attribute(pool, attribute, (&raw mut threshold).cast()).w()
    }
}
