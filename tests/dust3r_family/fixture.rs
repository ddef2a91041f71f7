//! Reading recorded tensors.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor, safetensors};
use nalgebra::Vector3;
use recon_node::raster::Raster;

/// The tensors of a file.
pub struct Fixture(pub HashMap<String, Tensor>);

impl Fixture {
    pub fn open(path: &Path) -> Self {
        Self(safetensors::load(path, &Device::Cpu).unwrap())
    }

    pub fn numbers(&self, name: &str) -> Vec<f64> {
        let tensor = self.0.get(name).unwrap_or_else(|| panic!("{name} is not recorded"));
        tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    pub fn indices(&self, name: &str) -> Vec<usize> {
        self.numbers(name).into_iter().map(|v| v as usize).collect()
    }

    fn size(&self, name: &str, after: usize) -> (usize, usize) {
        let dims = self.0[name].dims();
        let end = dims.len() - after;
        (dims[end - 1], dims[end - 2])
    }

    /// The `index`-th map of all that a tensor holds.
    pub fn map(&self, name: &str, index: usize) -> Raster<f32> {
        let (width, height) = self.size(name, 0);
        let values = self.numbers(name);
        let values = values[index * width * height..][..width * height].iter();
        Raster::new(width, height, values.map(|v| *v as f32).collect()).unwrap()
    }

    /// The `index`-th map of points of all that a tensor holds.
    pub fn points(&self, name: &str, index: usize) -> Raster<Vector3<f32>> {
        let (width, height) = self.size(name, 1);
        let values = self.numbers(name);
        let values = values[3 * index * width * height..][..3 * width * height].chunks_exact(3);
        let points = values.map(|p| Vector3::new(p[0], p[1], p[2]).cast());
        Raster::new(width, height, points.collect()).unwrap()
    }
}

/// The largest difference relative to the largest number.
pub fn error(ours: &[f64], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let largest = theirs.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    ours.iter().zip(theirs).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs())) / largest
}
