//! One vector for a whole view, by which views of one place find each other.

use candle_core::{DType, Device, Result, Tensor};

use super::block::NORM_EPSILON;
use super::encoder::EncodedViews;

/// Values below this count as this: the power mean needs positive ones.
const FLOOR: f64 = 1e-6;

/// Returns a vector of length one for each view, one number for each channel of the encoder: the
/// mean of the third powers of its patches' normalised tokens, third root drawn (GeM pooling,
/// Radenović et al., 2018). The scalar product of two tells how alike the views are.
pub fn descriptors(views: &EncodedViews) -> Result<Vec<Vec<f32>>> {
    let (n, h, w, width) = views.features.dims4()?;
    let tokens = views.features.to_dtype(DType::F32)?.reshape((n, h * w, width))?;
    let tokens = normalized(&tokens)?.maximum(FLOOR)?;
    let mean = (tokens.sqr()? * &tokens)?.mean(1)?;
    let pooled = mean.powf(1.0 / 3.0)?;
    let length = pooled.sqr()?.sum_keepdim(1)?.sqrt()?;
    pooled.broadcast_div(&length)?.to_device(&Device::Cpu)?.to_vec2()
}

/// Tokens of mean 0 and variance 1: V1.1 hands out its residual stream, in which a few channels
/// would drown all others.
fn normalized(tokens: &Tensor) -> Result<Tensor> {
    let centred = tokens.broadcast_sub(&tokens.mean_keepdim(2)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(2)? + NORM_EPSILON)?.sqrt()?;
    centred.broadcast_div(&deviation)
}
