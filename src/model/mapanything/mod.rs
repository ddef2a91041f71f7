//! MapAnything: images with any of rays, depths and poses in, metric geometry out.

pub mod postprocess;
pub mod preprocess;
pub mod priors;
