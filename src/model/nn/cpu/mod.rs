//! Kernels for the CPU: written once, compiled for AVX-512, AVX2 and plain instructions, chosen at
//! run time.
//!
//! All of them work on slices of f32 and know nothing of tensors. Threads are rayon's; results do
//! not depend on how many there are.

pub mod attention;
pub mod conv;
pub mod gemm;
pub mod math;
pub mod resize;
pub mod rows;
mod scratch;
mod shared;
pub mod simd;
pub mod winograd;
