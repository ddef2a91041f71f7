//! Our own kernels for NVIDIA GPUs, behind the layers of [`super`].
//!
//! Each function returns `None` where its kernel does not fit (another device, type, or width), and
//! the layer then takes its plain path. All run on the stream of their tensors and return at once.
//! The kernels are in the `.cu` files; `scripts/cuda_kernels` compiles them to the PTX files, which
//! the driver compiles for its GPU when a kernel is first called.

mod attention;
mod conv;
mod launch;
mod maps;
mod rows;

pub use attention::attention;
pub use launch::{name, new_device, take_peak_memory};
pub use maps::{Window, conv3x3, resize_bilinear};
pub use rows::{finish, layer_norm, silu_gate};
