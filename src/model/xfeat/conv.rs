//! Convolutions with everything folded in, and the maps that they work on.

use rayon::prelude::*;
use safetensors::SafeTensors;

use super::kernel::{LANES, Lanes, Row, convolve};
use super::weights::tensor;
use crate::error::Result;

/// A map of `channels` numbers for each pixel in row order, with a border of zeros one pixel wide,
/// so that a 3×3 convolution needs no special case.
#[derive(Debug, Clone)]
pub(super) struct FeatureMap {
    pub width: usize,
    pub height: usize,
    pub channels: usize,
    values: Vec<f32>,
}

impl FeatureMap {
    /// Returns a map of zeros.
    pub fn zeros(width: usize, height: usize, channels: usize) -> Self {
        let values = vec![0.0; (width + 2) * (height + 2) * channels];
        Self { width, height, channels, values }
    }

    /// Returns all rows without their borders, from above.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        let (stride, channels) = (self.stride(), self.channels);
        let inner = &self.values[stride..self.values.len() - stride];
        inner.chunks_exact(stride).map(move |row| &row[channels..stride - channels])
    }

    /// Returns the row `y` without its border.
    pub fn row(&self, y: usize) -> &[f32] {
        let start = (y + 1) * self.stride() + self.channels;
        &self.values[start..start + self.width * self.channels]
    }

    /// Returns all rows without their borders, to be written on many threads.
    pub fn par_rows_mut(&mut self) -> impl IndexedParallelIterator<Item = &mut [f32]> {
        let (stride, channels, len) = (self.stride(), self.channels, self.values.len());
        let inner = &mut self.values[stride..len - stride];
        inner.par_chunks_exact_mut(stride).map(move |row| &mut row[channels..stride - channels])
    }

    /// Returns all rows without their borders, from above, to be written.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let (stride, channels, len) = (self.stride(), self.channels, self.values.len());
        let inner = &mut self.values[stride..len - stride];
        inner.chunks_exact_mut(stride).map(move |row| &mut row[channels..stride - channels])
    }

    /// Returns the numbers of all pixels in row order, without the border.
    pub fn to_values(&self) -> Vec<f32> {
        self.rows().flatten().copied().collect()
    }

    /// Numbers from one row to the next.
    fn stride(&self) -> usize {
        (self.width + 2) * self.channels
    }
}

/// A convolution with square kernel, its batch normalisation folded in.
#[derive(Debug)]
pub(super) struct Conv {
    weights: Vec<Lanes>,
    bias: Vec<Lanes>,
    inputs: usize,
    outputs: usize,
    side: usize,
    stride: usize,
    relu: bool,
}

impl Conv {
    /// Returns the layer `name`: tensors `weight` `[O, C, k, k]` with k of 1 or 3, or `[O, C]`,
    /// and `bias` `[O]`; zero padding keeps the size. A rectifier follows where `relu`.
    pub fn load(file: &SafeTensors<'_>, name: &str, stride: usize, relu: bool) -> Result<Self> {
        let (shape, values) = tensor(file, &format!("{name}.weight"))?;
        let (_, bias) = tensor(file, &format!("{name}.bias"))?;
        let (outputs, inputs) = (shape[0], shape[1]);
        let side = shape.get(2).copied().unwrap_or(1);
        let channel = |panel: usize, l: usize| Some(panel * LANES + l).filter(|&o| o < outputs);
        let panels = outputs.div_ceil(LANES);
        let taps = side * side;
        let weights = (0..panels * taps * inputs).map(|i| {
            let (panel, tap, c) = (i / (taps * inputs), i / inputs % taps, i % inputs);
            let at = |o: usize| values[(o * inputs + c) * taps + tap];
            Lanes(std::array::from_fn(|l| channel(panel, l).map_or(0.0, at)))
        });
        let bias = (0..panels).map(|panel| {
            Lanes(std::array::from_fn(|l| channel(panel, l).map_or(0.0, |o| bias[o])))
        });
        let (weights, bias) = (weights.collect(), bias.collect());
        Ok(Self { weights, bias, inputs, outputs, side, stride, relu })
    }

    /// Returns the convolution of `map`, `ceil(size / stride)` pixels wide and high.
    pub fn forward(&self, map: &FeatureMap) -> FeatureMap {
        let (width, height) = (map.width.div_ceil(self.stride), map.height.div_ceil(self.stride));
        let mut out = FeatureMap::zeros(width, height, self.outputs);
        // A 1×1 kernel begins one pixel further in than a 3×3 one.
        let first = if self.side == 1 { map.stride() + self.inputs } else { 0 };
        out.par_rows_mut().enumerate().for_each(|(y, output)| {
            let row = Row {
                input: &map.values[first + y * self.stride * map.stride()..],
                input_stride: map.stride(),
                step: self.stride * self.inputs,
                taps: self.side * self.inputs,
                tap_rows: self.side,
                weights: &self.weights,
                bias: &self.bias,
                channels: self.outputs,
                relu: self.relu,
            };
            convolve(&row, output);
        });
        out
    }
}

/// Layers one after the other.
#[derive(Debug)]
pub(super) struct Chain(Vec<Conv>);

impl Chain {
    /// Returns the layers `name.0`, `name.1`, … with these strides, all with a rectifier but the
    /// last where it is `linear_end`.
    pub fn load(
        file: &SafeTensors<'_>,
        name: &str,
        strides: &[usize],
        linear_end: bool,
    ) -> Result<Self> {
        let relu = |i: usize| !(linear_end && i + 1 == strides.len());
        let layer = |(i, &stride)| Conv::load(file, &format!("{name}.{i}"), stride, relu(i));
        Ok(Self(strides.iter().enumerate().map(layer).collect::<Result<_>>()?))
    }

    /// Returns the result of the last layer.
    pub fn forward(&self, map: &FeatureMap) -> FeatureMap {
        let mut layers = self.0.iter();
        let first = layers.next().map_or_else(|| map.clone(), |layer| layer.forward(map));
        layers.fold(first, |map, layer| layer.forward(&map))
    }
}
