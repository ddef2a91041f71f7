//! What the maker says of a GPU.

use anyhow::Result;
use candle_core::Device;
use recon_node::model::nn::cuda;

/// A GPU.
pub struct Chip {
    /// The driver's name for it.
    pub name: String,
    /// Dense bf16 products with f32 sums, TFLOP/s, by the data sheet; `None` where it is not known.
    pub peak_tflops: Option<f64>,
}

/// Parts of names, the more special first, and dense bf16 TFLOP/s from NVIDIA's data sheets.
const PEAKS: [(&str, f64); 16] = [
    ("B200", 2250.0),
    ("H200", 989.0),
    ("H100 PCIe", 756.0),
    ("H100 NVL", 835.0),
    ("H100", 989.0),
    ("A100", 312.0),
    ("L40S", 362.0),
    ("L40", 181.0),
    ("L4", 121.0),
    ("A10", 125.0),
    ("RTX 5090", 209.5),
    ("RTX 4090", 165.2),
    ("RTX 4080", 97.5),
    ("RTX 3090", 71.0),
    ("RTX 3080", 59.5),
    ("A6000", 154.8),
];

impl Chip {
    /// Returns what is known of the GPU.
    pub fn of(device: &Device) -> Result<Self> {
        let name = cuda::name(device)?;
        let peak = PEAKS.iter().find(|(part, _)| name.contains(part));
        Ok(Self { peak_tflops: peak.map(|(_, peak)| *peak), name })
    }
}
