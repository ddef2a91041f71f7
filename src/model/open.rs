//! From the configuration to the back end that it names.

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device};

use super::dust3r::retrieval::{RetrievalModel, retrieval_beside};
use super::dust3r::{BackendOptions as FamilyOptions, FamilyBackend, Network, PairFeatures};
use super::mapanything::architecture::PATCH_PX;
use super::mapanything::preprocess::TargetSize;
use super::mapanything::{
    BackendOptions, InferOptions, LoadOptions, MapAnything, MapAnythingBackend,
};
use super::weights::{Cache, environment, locate};
use super::xfeat::XFeat;
use super::{SensorDepth, nn};
use crate::config::{Config, DtypeChoice, ModelConfig};
use crate::error::{Error, Result};
use crate::features::FeatureExtractor;
use crate::inference::{Models, ReconstructionModel};

/// Names of all back ends.
pub const BACK_ENDS: [&str; 5] = ["sensor-depth", "mapanything", "mast3r", "dust3r", "fast3r"];

/// The name that leaves the choice to what is there; see [`resolve`].
pub const AUTO: &str = "auto";

/// The longest side that the released models have learned with.
const TRAINED_PX: usize = 518;

/// Returns once the name of the back end is known to be one.
///
/// # Errors
/// [`Error::InvalidConfig`] with all that there are.
pub fn check_name(config: &ModelConfig) -> Result<()> {
    let name = config.name.as_str();
    if name == AUTO || BACK_ENDS.contains(&name) { Ok(()) } else { Err(unknown(name)) }
}

/// A configuration that names its back end, and what is to be said of how it came to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The configuration.
    pub config: Config,
    /// One sentence, where it is not the back end that is wanted most.
    pub warning: Option<String>,
}

/// Returns the configuration with `auto` made a name: MapAnything where its weights and the device
/// are there, else the camera's depth where frames come with it. Nothing is loaded. Other names
/// stay as they are.
///
/// # Errors
/// [`Error::InvalidConfig`] for `auto` without weights or device, and without depth, with the
/// remedy.
pub fn resolve(config: &Config, has_depth: bool) -> Result<Resolved> {
    resolve_with(config, has_depth, &Cache::from_vars(&environment))
}

fn resolve_with(config: &Config, has_depth: bool, cache: &Cache) -> Result<Resolved> {
    if config.model.name != AUTO {
        return Ok(Resolved { config: config.clone(), warning: None });
    }
    let named = |name: &str| {
        let model = ModelConfig { name: name.to_owned(), ..config.model.clone() };
        Config { model, ..config.clone() }
    };
    match is_there(&config.model, cache) {
        Ok(()) => Ok(Resolved { config: named("mapanything"), warning: None }),
        Err(reason) if has_depth => Ok(Resolved {
            config: named("sensor-depth"),
            warning: Some(format!(
                "model.name 'auto' goes by the camera's depth alone, without mapanything: {reason}"
            )),
        }),
        Err(reason) => Err(Error::config(
            "model.name",
            format!("'auto' has no model for a camera without depth: {reason}"),
        )),
    }
}

/// Returns once it is known that device and weights of MapAnything are there.
fn is_there(config: &ModelConfig, cache: &Cache) -> Result<()> {
    nn::device(&config.device)?;
    locate(&config.weights, cache).map(drop)
}

/// Returns the networks that the configuration names, ready for use.
///
/// # Errors
/// As [`open_geometry`].
pub fn open(config: &Config) -> Result<Models> {
    if config.model.name == "mast3r" {
        return open_mast3r(config);
    }
    Ok(Models { geometry: open_geometry(config)?, features: open_features(config)? })
}

/// MASt3R's network for geometry and, in the place of XFeat's, for features.
fn open_mast3r(config: &Config) -> Result<Models> {
    let network = Arc::new(open_family(&config.model)?);
    let options = family_options(&config.model)?;
    let features: Option<Box<dyn FeatureExtractor>> = match config.recognition.enabled {
        true => Some(Box::new(pair_features(config, &network, options.long_side_px)?)),
        false => None,
    };
    Ok(Models { geometry: Box::new(FamilyBackend::new(network, options)), features })
}

/// Places are found by the retrieval model where it lies beside the weights.
fn pair_features(
    config: &Config,
    network: &Arc<Network>,
    long_side_px: usize,
) -> Result<PairFeatures> {
    let features = PairFeatures::new(Arc::clone(network), long_side_px)?;
    match retrieval_beside(Path::new(&config.model.weights)) {
        Some(path) => features.with_retrieval(RetrievalModel::open(&path)?),
        None => Ok(features),
    }
}

fn family_options(config: &ModelConfig) -> Result<FamilyOptions> {
    let long_side_px = family_side_px(config.resolution_px)?;
    Ok(FamilyOptions { max_views: config.max_views, long_side_px })
}

/// Returns what finds local features, where the configuration wants it.
///
/// # Errors
/// Where the weights that come with this package are damaged.
pub fn open_features(config: &Config) -> Result<Option<Box<dyn FeatureExtractor>>> {
    match config.recognition.enabled {
        true => Ok(Some(Box::new(XFeat::bundled()?))),
        false => Ok(None),
    }
}

/// Returns the back end that the configuration names, ready for use.
///
/// # Errors
/// For an unknown name, for weights that are not there or do not fit, for a device that is not
/// there; each with the remedy.
pub fn open_geometry(config: &Config) -> Result<Box<dyn ReconstructionModel>> {
    match config.model.name.as_str() {
        "sensor-depth" => Ok(Box::new(SensorDepth::new(config.sensor.clone()))),
        "mapanything" => Ok(Box::new(map_anything(&config.model)?)),
        "mast3r" | "dust3r" | "fast3r" => {
            let options = family_options(&config.model)?;
            Ok(Box::new(FamilyBackend::new(open_family(&config.model)?, options)))
        }
        other => Err(unknown(other)),
    }
}

fn map_anything(config: &ModelConfig) -> Result<MapAnythingBackend> {
    let target = target_size(config.resolution_px)?;
    let model = open_map_anything(config)?;
    let infer = InferOptions {
        standardize_quaternion: config.standardize_rotations,
        ..InferOptions::default()
    };
    let options = BackendOptions { max_views: config.max_views, target, infer };
    Ok(MapAnythingBackend::new(model, options))
}

/// Returns the network of MapAnything on the device and with the weights that the configuration
/// names.
///
/// # Errors
/// As [`open`].
pub fn open_map_anything(config: &ModelConfig) -> Result<MapAnything> {
    let device = nn::device(&config.device)?.device;
    let weights = locate(&config.weights, &Cache::from_vars(&environment))?;
    let dtype = dtype(config.dtype, &device);
    MapAnything::open(&weights, &LoadOptions { device, dtype, ..LoadOptions::default() })
}

/// Returns the network of DUSt3R, MASt3R or Fast3R on the device and with the weights that the
/// configuration names.
///
/// # Errors
/// As [`open_geometry`], also for weights that are another model's.
pub fn open_family(config: &ModelConfig) -> Result<Network> {
    if config.weights.is_empty() {
        let reason = format!(
            "{} needs weights: a folder with model.safetensors and config.json, or a .pth file; the \
             released ones are for non-commercial use",
            config.name
        );
        return Err(Error::config("model.weights", reason));
    }
    let device = nn::device(&config.device)?.device;
    let dtype = dtype(config.dtype, &device);
    let path = Path::new(&config.weights);
    let network = Network::open(path, &device, dtype)?;
    let found = network.family().name();
    if found == config.name {
        return Ok(network);
    }
    let problem = format!("the weights are those of {found}, not of {}", config.name);
    Err(Error::input(path, problem, "choose that model, or other weights"))
}

/// Returns the longer side of images for DUSt3R, MASt3R and Fast3R; the default of the
/// configuration stands for the 512 that they have learned with.
///
/// # Errors
/// For sides that are no multiple of 16.
pub fn family_side_px(resolution_px: u32) -> Result<usize> {
    let side = resolution_px as usize;
    match side {
        TRAINED_PX => Ok(512),
        _ if side.is_multiple_of(16) => Ok(side),
        _ => {
            let below = side / 16 * 16;
            let reason = format!("{side} is no multiple of 16: take {below} or {}", below + 16);
            Err(Error::config("model.resolution_px", reason))
        }
    }
}

/// The size of images: one of the table that the released models have learned with, or any other.
fn target_size(resolution_px: u32) -> Result<TargetSize> {
    let (side, patch) = (resolution_px as usize, PATCH_PX);
    if side == TRAINED_PX {
        return Ok(TargetSize::Mapping518);
    }
    if side.is_multiple_of(patch) {
        return Ok(TargetSize::LongestSide(side));
    }
    let below = side / patch * patch;
    let reason = format!("{side} is no multiple of {patch}: take {below} or {}", below + patch);
    Err(Error::config("model.resolution_px", reason))
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
    let reason = format!("there is no model '{name}'; available: {available}, {AUTO}");
    Error::config("model.name", reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(name: &str, weights: &str, device: &str, has_depth: bool) -> Result<Resolved> {
        let mut config = Config::default();
        config.model.name = name.to_owned();
        config.model.weights = weights.to_owned();
        config.model.device = device.to_owned();
        // No weights are in this cache.
        let nowhere = |_: &str| Some("/nonexistent".to_owned());
        resolve_with(&config, has_depth, &Cache::from_vars(&nowhere))
    }

    fn tiny() -> String {
        format!("{}/tests/data/mapanything/v11", env!("CARGO_MANIFEST_DIR"))
    }

    #[test]
    fn auto_takes_mapanything_where_its_weights_are() {
        for has_depth in [true, false] {
            let found = resolved(AUTO, &tiny(), "cpu", has_depth).unwrap();
            assert_eq!((found.config.model.name.as_str(), found.warning), ("mapanything", None));
        }
    }

    #[test]
    fn auto_falls_back_to_depth_and_says_what_to_do() {
        let found = resolved(AUTO, "", "cpu", true).unwrap();
        let warning = found.warning.unwrap();
        assert_eq!(found.config.model.name, "sensor-depth");
        assert!(warning.contains("recon weights fetch"), "{warning}");
        if cfg!(not(feature = "cuda")) {
            let warning = resolved(AUTO, &tiny(), "cuda", true).unwrap().warning.unwrap();
            assert!(warning.contains("without GPU support"), "{warning}");
        }
    }

    #[test]
    fn auto_without_weights_and_without_depth_is_an_error_with_the_remedy() {
        let error = resolved(AUTO, "", "cpu", false).unwrap_err().to_string();
        for words in ["model.name", "without depth", "recon weights fetch", "model.weights"] {
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn other_names_stay_as_they_are() {
        let found = resolved("sensor-depth", "", "cpu", false).unwrap();
        assert_eq!((found.config.model.name.as_str(), found.warning), ("sensor-depth", None));
        assert!(check_name(&ModelConfig { name: AUTO.to_owned(), ..Default::default() }).is_ok());
        let wrong = ModelConfig { name: "best".to_owned(), ..Default::default() };
        assert!(check_name(&wrong).unwrap_err().to_string().contains("fast3r, auto"));
    }
}
