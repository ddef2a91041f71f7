//! Resizing of feature maps.

use candle_core::{Result, Tensor};

/// Returns `x` `[N, H, W, C]` resized to `height` × `width` bilinearly, corners on corners
/// (PyTorch's `align_corners=True`).
pub fn resize_bilinear(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let Some(out) = super::cuda::resize_bilinear(x, height, width)? {
        return Ok(out);
    }
    let nchw = x.permute((0, 3, 1, 2))?.contiguous()?;
    let resized = nchw.upsample_bilinear2d(height, width, true)?;
    resized.permute((0, 2, 3, 1))?.contiguous()
}
