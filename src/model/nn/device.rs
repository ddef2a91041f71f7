//! Where a network runs.

use candle_core::{DType, Device};

use crate::error::{Error, Result};

/// A device, and what the user should know of the choice.
#[derive(Debug, Clone)]
pub struct ChosenDevice {
    /// Where tensors go.
    pub device: Device,
    /// Why it is not the device that one would hope for.
    pub note: Option<String>,
}

/// Returns what `work` for this device returns. On the CPU it runs on one of the threads that share the
/// kernels' work: from elsewhere each kernel would first have to wake one of them, and wait for it.
pub fn run_on<R: Send>(device: &Device, work: impl FnOnce() -> R + Send) -> R {
    if device.is_cpu() { rayon::scope(|_| work()) } else { work() }
}

/// Returns the device of this name: `cpu`; `cuda` or `cuda:N`, an NVIDIA GPU by its number, the
/// first by default; `auto`, the first GPU if it can be used, else the CPU with the reason.
///
/// # Errors
///
/// [`Error::Usage`] for another name, and for a GPU that cannot be used: it says which driver or
/// library is missing.
pub fn device(name: &str) -> Result<ChosenDevice> {
    let chosen = |device| ChosenDevice { device, note: None };
    match name {
        "cpu" => Ok(chosen(Device::Cpu)),
        "auto" => Ok(gpu(0).map_or_else(
            |reason| ChosenDevice {
                device: Device::Cpu,
                note: Some(format!("running on the CPU: {reason}")),
            },
            chosen,
        )),
        _ => {
            let number = if name == "cuda" { Some("0") } else { name.strip_prefix("cuda:") };
            let number = number.and_then(|number| number.parse().ok()).ok_or_else(|| {
                Error::Usage(format!("device '{name}': expected cpu, cuda, cuda:NUMBER or auto"))
            })?;
            let device = gpu(number).map_err(|reason| {
                Error::Usage(format!("device '{name}': {reason}, or choose --device cpu"))
            })?;
            Ok(chosen(device))
        }
    }
}

/// Lets products of f32 on a GPU round their factors to TF32 (10 bits of mantissa), as PyTorch's
/// convolutions do by default, where a network's weights are in less than f32; with f32 weights
/// forbids it. It holds for the whole program, since candle keeps it so.
pub fn set_precision(weights: DType) {
    candle_core::cuda::set_gemm_reduced_precision_f32(weights != DType::F32);
}

#[cfg(not(feature = "cuda"))]
fn gpu(_number: usize) -> Result<Device, String> {
    Err("this program was built without GPU support: build it with ./scripts/cuda_build".to_owned())
}

#[cfg(feature = "cuda")]
fn gpu(number: usize) -> Result<Device, String> {
    super::cuda::new_device(number).map_err(|error| reason(&error))
}

/// Says what an error at start-up means. The status codes of libraries that cannot be loaded are
/// those of `scripts/cuda_toolkit`.
#[cfg(feature = "cuda")]
fn reason(error: &candle_core::Error) -> String {
    use candle_core::cuda::CudaError;
    use candle_core::cuda::cudarc::driver::sys::CUresult;

    let cause = match error {
        candle_core::Error::WithBacktrace { inner, .. } => inner,
        other => other,
    };
    let candle_core::Error::Cuda(cause) = cause else { return cause.to_string() };
    match cause.downcast_ref::<CudaError>() {
        Some(CudaError::Cuda(driver)) => match driver.0 {
            CUresult::CUDA_ERROR_STUB_LIBRARY => {
                "the NVIDIA driver (libcuda.so.1) is not installed: install it".to_owned()
            }
            CUresult::CUDA_ERROR_NO_DEVICE => "the NVIDIA driver finds no GPU".to_owned(),
            CUresult::CUDA_ERROR_INVALID_DEVICE => "there is no GPU of this number".to_owned(),
            _ => format!("the NVIDIA driver says {driver}"),
        },
        Some(CudaError::Cublas(_)) => missing("libcublas.so and libcublasLt.so", "nvidia-cublas"),
        Some(CudaError::Curand(_)) => missing("libcurand.so", "nvidia-curand"),
        _ => cause.to_string(),
    }
}

#[cfg(feature = "cuda")]
fn missing(library: &str, package: &str) -> String {
    format!(
        "{library} of CUDA 13 or 12 cannot be used: install CUDA or `pip install {package}`, and \
         put the folder that holds it into LD_LIBRARY_PATH"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_there() {
        assert!(device("cpu").is_ok_and(|chosen| chosen.device.is_cpu() && chosen.note.is_none()));
    }

    #[test]
    fn auto_says_why_it_is_not_a_gpu() {
        let chosen = device("auto").expect("auto never fails");
        assert_eq!(chosen.device.is_cpu(), chosen.note.is_some());
    }

    #[test]
    fn other_names_are_refused_with_those_that_there_are() {
        for name in ["gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", ""] {
            let error = device(name).expect_err(name).to_string();
            assert!(error.contains("cuda:NUMBER") && error.contains(name), "{error}");
        }
    }

    #[test]
    fn a_gpu_that_cannot_be_used_is_named_with_a_way_out() {
        // No machine has this one.
        let error = device("cuda:4096").expect_err("there is no such GPU").to_string();
        assert!(error.starts_with("device 'cuda:4096'"), "{error}");
        assert!(error.ends_with("--device cpu"), "{error}");
    }
}
