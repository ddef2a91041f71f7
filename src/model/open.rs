//! From the configuration to the back end that it names.

use super::SensorDepth;
use crate::config::{Config, ModelConfig};
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
        other => Err(unknown(other)),
    }
}

fn unknown(name: &str) -> Error {
    let available = BACK_ENDS.join(", ");
    Error::config("model.name", format!("there is no model '{name}'; available: {available}"))
}
