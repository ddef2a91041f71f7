//! Tensors of the shared folder.

use std::path::PathBuf;

use safetensors::{Dtype, SafeTensors};

/// A file of tensors.
pub struct Fixture(Vec<u8>);

impl Fixture {
    /// The file under `fixtures/dust3r-family`, or `None` with a note where there is no such folder.
    pub fn shared(name: &str) -> Option<Self> {
        let shared = std::env::var_os("RECON_SHARED").map_or_else(
            || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"),
            PathBuf::from,
        );
        let path = shared.join("fixtures/dust3r-family").join(name);
        if !path.is_file() {
            eprintln!("skipped: no {}", path.display());
            return None;
        }
        Some(Self(std::fs::read(path).unwrap()))
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors().tensor(name).is_ok()
    }

    /// Shape of a tensor.
    pub fn shape(&self, name: &str) -> Vec<usize> {
        self.tensors().tensor(name).unwrap().shape().to_vec()
    }

    /// Numbers of a tensor.
    pub fn numbers(&self, name: &str) -> Vec<f64> {
        let tensors = self.tensors();
        let tensor = tensors.tensor(name).unwrap();
        let data = tensor.data();
        match tensor.dtype() {
            Dtype::F32 => read(data, |b| f64::from(f32::from_le_bytes(b))),
            Dtype::F64 => read(data, f64::from_le_bytes),
            Dtype::I32 => read(data, |b| f64::from(i32::from_le_bytes(b))),
            Dtype::I64 => read(data, |b| i64::from_le_bytes(b) as f64),
            other => panic!("{name}: {other:?}"),
        }
    }

    /// Numbers of a tensor as f32.
    pub fn floats(&self, name: &str) -> Vec<f32> {
        self.numbers(name).into_iter().map(|v| v as f32).collect()
    }

    /// Rows of `N` numbers.
    pub fn rows<const N: usize>(&self, name: &str) -> Vec<[f64; N]> {
        self.numbers(name).chunks_exact(N).map(|row| row.try_into().unwrap()).collect()
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.0).unwrap()
    }
}

fn read<const N: usize>(data: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    data.chunks_exact(N).map(|bytes| number(bytes.try_into().unwrap())).collect()
}
