//! Any network of the family.

use std::path::Path;

use candle_core::{DType, Device};

use super::checkpoint::{Checkpoint, Family};
use super::fast3r::Fast3rNetwork;
use super::pair::PairNetwork;
use crate::error::Result;
use crate::model::nn::set_precision;

/// A network of the family.
#[derive(Debug)]
pub enum Network {
    /// DUSt3R or MASt3R.
    Pair(PairNetwork),
    /// Fast3R.
    Fast3r(Fast3rNetwork),
}

impl Network {
    /// Returns the network at `path`: see [`Checkpoint::open`].
    ///
    /// # Errors
    /// As [`Checkpoint::open`], and where tensors are missing.
    pub fn open(path: &Path, device: &Device, dtype: DType) -> Result<Self> {
        set_precision(dtype);
        let checkpoint = Checkpoint::open(path, device, dtype)?;
        Ok(match checkpoint.family {
            Family::Fast3r => Self::Fast3r(Fast3rNetwork::load(&checkpoint)?),
            Family::Dust3r | Family::Mast3r => Self::Pair(PairNetwork::load(&checkpoint)?),
        })
    }

    /// Returns whose network it is.
    pub fn family(&self) -> Family {
        match self {
            Self::Pair(network) => network.family(),
            Self::Fast3r(_) => Family::Fast3r,
        }
    }
}
