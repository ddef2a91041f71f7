//! What networks say of a view, with a meaning.

use candle_core::{Result, Tensor};
use nalgebra::Vector3;
use rayon::prelude::*;

use super::config::FamilyConfig;
use super::heads::{HeadOutput, POINT_CHANNELS};
use crate::raster::Raster;

/// Descriptors of length one, pixel by pixel, with their confidences.
#[derive(Debug, Clone, PartialEq)]
pub struct DescriptorGrid {
    /// Numbers of one descriptor.
    pub dim: usize,
    /// The descriptors by rows.
    pub values: Vec<f32>,
    /// One confidence for each pixel.
    pub confidence: Vec<f32>,
}

/// A point and a confidence for each pixel, in the frame of the view that the network was told
/// first or in the view's own.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewMaps {
    /// Points; units are metres only with models that were trained so.
    pub points: Raster<Vector3<f32>>,
    /// Confidences, at least one in all releases.
    pub confidence: Raster<f32>,
    /// Descriptors, from MASt3R.
    pub descriptors: Option<DescriptorGrid>,
}

impl ViewMaps {
    /// Returns the maps of all views that a head spoke of.
    pub(super) fn of(output: &HeadOutput, config: &FamilyConfig) -> Result<Vec<Self>> {
        let (n, height, width, _) = output.points.dims4()?;
        let mut views = Vec::with_capacity(n);
        for view in 0..n {
            let raw = numbers(&output.points, view)?;
            let pixels = raw.par_chunks_exact(POINT_CHANNELS);
            let points: Vec<_> = pixels.clone().map(point).collect();
            let confidence: Vec<f32> = pixels.map(|p| config.confidence.value(p[3])).collect();
            let descriptors = output.descriptors.as_ref();
            let descriptors =
                descriptors.map(|raw| grid(&numbers(raw, view)?, &confidence, config));
            views.push(Self {
                points: raster(width, height, points)?,
                confidence: raster(width, height, confidence)?,
                descriptors: descriptors.transpose()?,
            });
        }
        Ok(views)
    }
}

fn numbers(x: &Tensor, view: usize) -> Result<Vec<f32>> {
    x.narrow(0, view, 1)?.flatten_all()?.to_vec1()
}

fn raster<T: Copy>(width: usize, height: usize, values: Vec<T>) -> Result<Raster<T>> {
    Raster::new(width, height, values).map_err(candle_core::Error::wrap)
}

/// The point of a pixel: its distance is on a scale on which small numbers stay as they are.
fn point(raw: &[f32]) -> Vector3<f32> {
    let xyz = Vector3::new(raw[0], raw[1], raw[2]);
    let distance = xyz.norm();
    xyz / distance.max(1e-8) * distance.exp_m1()
}

fn grid(raw: &[f32], confidence: &[f32], config: &FamilyConfig) -> Result<DescriptorGrid> {
    let dim = config.descriptor_dim;
    let step = raw.len() / confidence.len().max(1);
    let has_own = config.two_confidences;
    if step != dim + usize::from(has_own) {
        candle_core::bail!("the head gives {step} numbers, which are no descriptors of {dim}");
    }
    let mut values = vec![0.0; confidence.len() * dim];
    values.par_chunks_exact_mut(dim).zip(raw.par_chunks_exact(step)).for_each(|(to, raw)| {
        let length = raw[..dim].iter().map(|x| x * x).sum::<f32>().sqrt();
        to.iter_mut().zip(raw).for_each(|(to, x)| *to = x / length);
    });
    let own = |raw: &[f32]| config.descriptor_confidence.value(raw[dim]);
    let confidence =
        if has_own { raw.par_chunks_exact(step).map(own).collect() } else { confidence.to_vec() };
    Ok(DescriptorGrid { dim, values, confidence })
}
