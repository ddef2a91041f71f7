//! Resizing of feature maps.

use candle_core::{Result, Tensor};

use super::cpu::{self, simd::Level};
use super::host::{self, Host};

/// Returns `x` `[N, H, W, C]` resized to `height` × `width` bilinearly, corners on corners
/// (PyTorch's `align_corners=True`).
pub fn resize_bilinear(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    if x.device().is_cpu() {
        return resize_on_cpu(x, height, width);
    }
    #[cfg(feature = "cuda")]
    if let Some(out) = super::cuda::resize_bilinear(x, height, width)? {
        return Ok(out);
    }
    let nchw = x.permute((0, 3, 1, 2))?.contiguous()?;
    let resized = nchw.upsample_bilinear2d(height, width, true)?;
    resized.permute((0, 2, 3, 1))?.contiguous()
}

fn resize_on_cpu(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    let x = host::dense_f32(x)?;
    let (n, h, w, c) = x.dims4()?;
    let mut out = vec![0.0; n * height * width * c];
    let from = Host::new(&x);
    cpu::resize::resize(from.values()?, [h, w, c], &mut out, (height, width), Level::best());
    Tensor::from_vec(out, (n, height, width, c), x.device())
}
