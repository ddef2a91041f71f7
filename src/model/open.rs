//! From the configuration to the back end that it names.

use std::path::PathBuf;

use candle_core::{DType, Device};

use super::SensorDepth;
use super::mapanything::{LoadOptions, MapAnythingBackEnd};
use super::weights::{Cache, environment, locate};
use crate::config::{Config, DtypeChoice, ModelConfig};
use crate::error::{Error, Result};
use crate::inference::ReconstructionModel;

/// Names of all back ends.
pub const BACK_ENDS: [&str; 2] = ["sensor-depth", "mapanything"];

/// Returns once the name of the back end is known to be one.
///
/// # Errors
/// [`Error::InvalidConfig`] with all that there are.
pub fn check_name(config: &ModelConfig) -> Result<()> {
    if BACK_ENDS.contains(&config.name.as_str()) { Ok(()) } else { Err(unknown(&config.name)) }
}

/// Returns the back end that the configuration names, ready for use.
///
/// # Errors
/// For an unknown name, for weights that are not there or do not fit, for a device that is not
/// there; each with the remedy.
pub fn open(config: &Config) -> Result<Box<dyn ReconstructionModel>> {
    match config.model.name.as_str() {
        "sensor-depth" => Ok(Box::new(SensorDepth::new(config.sensor.clone()))),
        "mapanything" => Ok(Box::new(map_anything(&config.model)?)),
        other => Err(unknown(other)),
    }
}

fn map_anything(config: &ModelConfig) -> Result<MapAnythingBackEnd> {
    let (weights, load) = map_anything_files(config)?;
    MapAnythingBackEnd::open(&weights, &load, config)
}

/// Returns the weights of MapAnything that the configuration names, and how to load them.
///
/// # Errors
/// For weights or a device that are not there, with the remedy.
pub fn map_anything_files(config: &ModelConfig) -> Result<(PathBuf, LoadOptions)> {
    let device = device(&config.device)?;
    let weights = locate(&config.weights, &Cache::from_vars(&environment))?;
    let dtype = dtype(config.dtype, &device);
    Ok((weights, LoadOptions { device, dtype, ..LoadOptions::default() }))
}

fn device(name: &str) -> Result<Device> {
    match name {
        "cpu" => Ok(Device::Cpu),
        other => {
            let reason = format!("there is no device '{other}'; accepted: cpu");
            Err(Error::config("model.device", reason))
        }
    }
}

fn dtype(choice: DtypeChoice, device: &Device) -> DType {
    match choice {
        DtypeChoice::Auto if device.is_cuda() => DType::BF16,
        DtypeChoice::Auto | DtypeChoice::F32 => DType::F32,
        DtypeChoice::Bf16 => DType::BF16,
        DtypeChoice::F16 => DType::F16,
    }
}

fn unknown(name: &str) -> Error {
    let available = BACK_ENDS.join(", ");
    Error::config("model.name", format!("there is no model '{name}'; available: {available}"))
}
