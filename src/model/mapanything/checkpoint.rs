//! A folder or file with weights, opened and checked.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device};

use super::architecture::Architecture;
use super::config::ModelConfig;
use super::tensors::stored_names;
use crate::error::{Error, Result};
use crate::model::nn::Weights;

/// Weights that fit an architecture.
#[derive(Clone)]
pub struct Checkpoint {
    /// The tensors, by their names in [`super::tensors::expected_tensors`].
    pub weights: Weights,
    /// The sizes that they have.
    pub architecture: Architecture,
}

impl Checkpoint {
    /// Returns the checkpoint at `path`: a folder with `model.safetensors`, with the parts that a
    /// `model.safetensors.index.json` lists, or with `model.gguf`; or one such file. Matrices are
    /// handed out on `device` as `dtype`. Tensors that the network does not have are an error
    /// unless `allow_surplus`.
    ///
    /// # Errors
    /// Where files cannot be read, or where tensors are missing, unknown or of another shape.
    pub fn open(
        path: &Path,
        (device, dtype): (&Device, DType),
        allow_surplus: bool,
    ) -> Result<Self> {
        let files = weight_files(path)?;
        let weights = Weights::open(&files, device, dtype)?;
        let config = read_config(path)?;
        let shapes = weights.shapes();
        let remedy = "use the files of one release of MapAnything, config.json beside the weights";
        let architecture = Architecture::derive(&shapes, &config)
            .map_err(|problem| Error::input(path, problem, remedy))?;
        let (names, differences) = stored_names(&architecture, &shapes);
        if let Some(problem) = differences.problem(allow_surplus) {
            return Err(Error::input(path, problem, remedy));
        }
        Ok(Self { weights: weights.renamed(names), architecture })
    }
}

/// Returns the files that hold the weights at `path`.
///
/// # Errors
/// Where there are none.
pub fn weight_files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    for name in ["model.safetensors", "model.gguf"] {
        let file = path.join(name);
        if file.is_file() {
            return Ok(vec![file]);
        }
    }
    let index = path.join("model.safetensors.index.json");
    if index.is_file() {
        return parts(path, &index);
    }
    let problem = "neither model.safetensors nor model.gguf is there";
    let remedy = "give the folder of a model, or put the weights there with `recon weights fetch`";
    Err(Error::input(path, problem, remedy))
}

/// The files that an index names.
fn parts(folder: &Path, index: &Path) -> Result<Vec<PathBuf>> {
    let text =
        std::fs::read_to_string(index).map_err(Error::io(index, "read the list of parts"))?;
    let remedy = "fetch the file again";
    let json: serde_json::Value = serde_json::from_str(&text)
        .map_err(|e| Error::input(index, format!("no valid JSON ({e})"), remedy))?;
    let files = json.pointer("/weight_map").and_then(|map| map.as_object());
    let files = files.ok_or_else(|| Error::input(index, "no 'weight_map' in it", remedy))?;
    let mut names: Vec<&str> = files.values().filter_map(|file| file.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// The `config.json` beside the weights; there need be none.
fn read_config(path: &Path) -> Result<ModelConfig> {
    let folder = if path.is_file() { path.parent().unwrap_or(path) } else { path };
    let file = folder.join("config.json");
    if !file.is_file() {
        return Ok(ModelConfig::default());
    }
    let text =
        std::fs::read_to_string(&file).map_err(Error::io(&file, "read the configuration"))?;
    ModelConfig::parse(&text).map_err(|e| {
        let remedy = "fetch it again, or remove it if the model is a released one";
        Error::input(&file, format!("no valid JSON ({e})"), remedy)
    })
}
