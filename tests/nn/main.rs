//! The layers of feed-forward models and their kernels, against plain sums in f64.

mod kernels;
mod layers;
mod reference;
