//! Layers that every feed-forward model is made of, on any device.
//!
//! Feature maps are `[N, H, W, C]` and tokens `[N, T, C]`: a token map is a feature map without a
//! copy, and a 1×1 convolution is a [`Linear`]. On the CPU weights may be of any type, and all is
//! computed in f32 by the kernels of [`cpu`]; on a GPU results of [`Linear`] and [`attention`] have
//! the type of the weights, as under PyTorch's autocast.

mod activation;
mod attention;
mod conv;
pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod device;
mod host;
mod linear;
mod norm;
mod product;
mod resize;
mod rope;
mod weights;

pub use activation::{gelu, silu_gate};
pub use attention::attention;
pub use conv::{Conv3x3, TransposedConv};
pub use device::{ChosenDevice, device, run_on, set_precision};
pub use host::held_bytes;
pub use linear::Linear;
pub use norm::LayerNorm;
pub use product::Then;
pub use resize::resize_bilinear;
pub use rope::RopeTable;
pub use weights::Weights;
