//! The layers as a model uses them, against plain tensor operations.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{D, DType, Device, Result, Tensor};
use recon_node::model::nn::{
    Conv3x3, LayerNorm, Linear, Then, TransposedConv, Weights, attention, gelu, resize_bilinear,
    silu_gate,
};

use super::reference::numbers;

fn tensor(shape: &[usize], seed: u64) -> Tensor {
    let n = shape.iter().product();
    Tensor::from_vec(numbers(n, seed), shape, &Device::Cpu).unwrap()
}

fn weights(tensors: &[(&str, &Tensor)], dtype: DType) -> Weights {
    let tensors: HashMap<_, _> =
        tensors.iter().map(|(name, t)| ((*name).to_owned(), (*t).clone())).collect();
    Weights::new(tensors, dtype)
}

fn assert_near(found: &Tensor, expected: &Tensor, limit: f32) {
    assert_eq!(found.dims(), expected.dims());
    assert_eq!(found.dtype(), DType::F32);
    let error = (found - expected).unwrap().abs().unwrap().flatten_all().unwrap();
    let error: f32 = error.max(0).unwrap().to_scalar().unwrap();
    assert!(error <= limit, "off by {error:e}");
}

#[test]
fn a_linear_layer_and_what_follows() -> Result<()> {
    let (weight, bias) = (tensor(&[21, 48], 1), tensor(&[21], 2));
    let (x, to, scale) = (tensor(&[2, 5, 48], 3), tensor(&[2, 5, 21], 4), tensor(&[21], 5));
    let plain = x.reshape((10, 48))?.matmul(&weight.t()?)?.reshape((2, 5, 21))?;
    let plain = plain.broadcast_add(&bias)?;
    let layer = Linear::load(&weights(&[("weight", &weight), ("bias", &bias)], DType::F32))?;
    assert_eq!(layer.out_features(), 21);
    assert_near(&layer.forward(&x)?, &plain, 1e-5);
    assert_near(&layer.forward_gelu(&x)?, &plain.gelu_erf()?, 1e-5);
    assert_near(&layer.forward_then(&x, Then::Relu)?, &plain.relu()?, 1e-5);
    assert_near(&layer.forward_then(&x, Then::Add(&to))?, &(&to + &plain)?, 1e-5);
    let scaled = (&to + plain.broadcast_mul(&scale)?)?;
    assert_near(&layer.forward_then(&x, Then::ScaleAdd { scale: &scale, to: &to })?, &scaled, 1e-5);
    Ok(())
}

#[test]
fn a_view_of_a_tensor_is_read_by_its_strides() -> Result<()> {
    let weight = tensor(&[7, 12], 1);
    let layer = Linear::new(weight.clone(), None)?;
    let wide = tensor(&[6, 30], 2);
    let x = wide.narrow(1, 9, 12)?;
    assert_near(&layer.forward(&x)?, &x.contiguous()?.matmul(&weight.t()?)?, 1e-5);
    assert_near(&gelu(&x.t()?)?, &x.t()?.contiguous()?.gelu_erf()?, 1e-6);
    Ok(())
}

#[test]
fn weights_of_half_precision_are_computed_with_in_single() -> Result<()> {
    let (weight, x) = (tensor(&[33, 64], 1), tensor(&[9, 64], 2));
    for dtype in [DType::BF16, DType::F16] {
        let layer = Linear::load(&weights(&[("weight", &weight)], dtype))?;
        let rounded = weight.to_dtype(dtype)?.to_dtype(DType::F32)?;
        assert_near(&layer.forward(&x)?, &x.matmul(&rounded.t()?)?, 1e-5);
    }
    Ok(())
}

#[test]
fn quantised_weights_stand_for_what_candle_says() -> Result<()> {
    let (weight, bias, x) = (tensor(&[40, 96], 1), tensor(&[40], 2), tensor(&[5, 96], 3));
    // With q8_0 the products may be of whole numbers, to which x is rounded with 16 bits: 1.5e-5 of the
    // largest of 32, at most, in each of 96 products.
    for (kind, limit) in [(GgmlDType::Q8_0, 4e-4), (GgmlDType::Q4_0, 1e-5)] {
        let quantized = Arc::new(QTensor::quantize(&weight, kind)?);
        let wide = quantized.dequantize(&Device::Cpu)?;
        let layer = Linear::quantized(&quantized, Some(bias.clone()))?;
        let expected = x.matmul(&wide.t()?)?.broadcast_add(&bias)?;
        assert_near(&layer.forward(&x)?, &expected, limit);
    }
    Ok(())
}

#[test]
fn attention_reads_a_fused_projection_without_a_copy() -> Result<()> {
    let (batch, tokens, heads, dim) = (2, 19, 3, 10);
    let qkv = tensor(&[batch, tokens, 3, heads, dim], 1);
    let part = |i| qkv.narrow(2, i, 1)?.squeeze(2);
    let found = attention(&part(0)?, &part(1)?, &part(2)?, 0.3)?;
    let by_head = |i| part(i)?.transpose(1, 2)?.contiguous();
    let scores = (by_head(0)?.matmul(&by_head(1)?.t()?.contiguous()?)? * 0.3)?;
    let exp = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
    let weights = exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)?;
    let mixed = weights.matmul(&by_head(2)?)?.transpose(1, 2)?;
    assert_near(&found, &mixed.reshape((batch, tokens, heads * dim))?, 1e-6);
    assert!(attention(&part(0)?, &part(1)?.narrow(3, 0, 5)?, &part(2)?, 0.3).is_err());
    Ok(())
}

#[test]
fn convolutions_agree_with_the_definition_in_planes() -> Result<()> {
    let planes = |x: &Tensor| x.permute((0, 3, 1, 2))?.contiguous();
    let pixels = |x: &Tensor| x.permute((0, 2, 3, 1))?.contiguous();
    let x = tensor(&[2, 7, 6, 5], 1);
    let (weight, bias) = (tensor(&[9, 5, 3, 3], 2), tensor(&[9], 3));
    let with_bias = |x: Tensor| x.broadcast_add(&bias);
    for stride in [1, 2] {
        let conv =
            Conv3x3::load(&weights(&[("weight", &weight), ("bias", &bias)], DType::F32), stride)?;
        let expected = with_bias(pixels(&planes(&x)?.conv2d(&weight, 1, stride, 1, 1)?)?)?;
        assert_near(&conv.forward(&x)?, &expected, 1e-5);
        let rectified = pixels(&planes(&x.relu()?)?.conv2d(&weight, 1, stride, 1, 1)?)?;
        let rectified = with_bias(rectified)?.relu()?;
        assert_near(&conv.forward_rectified_then(&x, Then::Relu)?, &rectified, 1e-5);
    }
    let up = tensor(&[5, 4, 2, 2], 4);
    let up_bias = tensor(&[4], 5);
    let layer = TransposedConv::load(&weights(&[("weight", &up), ("bias", &up_bias)], DType::F32))?;
    let expected = pixels(&planes(&x)?.conv_transpose2d(&up, 0, 0, 2, 1)?)?;
    assert_near(&layer.forward(&x)?, &expected.broadcast_add(&up_bias)?, 1e-5);
    Ok(())
}

#[test]
fn norm_gate_and_resizing_of_tensors() -> Result<()> {
    let x = tensor(&[2, 3, 4, 24], 1);
    let (weight, bias) = (tensor(&[24], 2), tensor(&[24], 3));
    let norm =
        LayerNorm::load(&weights(&[("weight", &weight), ("bias", &bias)], DType::F32), 1e-6)?;
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = (centred.sqr()?.mean_keepdim(D::Minus1)? + 1e-6)?;
    let expected = centred.broadcast_div(&variance.sqrt()?)?;
    let expected = expected.broadcast_mul(&weight)?.broadcast_add(&bias)?;
    assert_near(&norm.forward(&x)?, &expected, 1e-5);
    assert!(norm.forward(&x.narrow(3, 0, 23)?).is_err());
    let (a, b) = (x.narrow(3, 0, 12)?, x.narrow(3, 12, 12)?);
    assert_near(&silu_gate(&x)?, &(a.contiguous()?.silu()? * b)?, 1e-6);
    let planes = x.permute((0, 3, 1, 2))?.contiguous()?.upsample_bilinear2d(7, 9, true)?;
    assert_near(&resize_bilinear(&x, 7, 9)?, &planes.permute((0, 2, 3, 1))?, 1e-6);
    Ok(())
}

#[test]
fn shapes_that_do_not_fit_are_refused() -> Result<()> {
    let layer = Linear::new(tensor(&[4, 8], 1), Some(tensor(&[4], 2)))?;
    assert!(layer.forward(&tensor(&[3, 7], 3)).is_err());
    let x = tensor(&[3, 8], 4);
    assert!(layer.forward_then(&x, Then::Add(&tensor(&[3, 5], 5))).is_err());
    assert!(Linear::new(tensor(&[4, 8], 1), Some(tensor(&[5], 2))).is_err());
    Ok(())
}
