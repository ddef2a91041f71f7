//! Checking weights: are they all there, of the right shape, whole and finite?

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device};

use super::partial::{file_sha256, sha256_of};
use super::random::NamedArchitecture;
use super::registry::CONFIG_FILE;
use super::types::count_types;
use crate::error::{Error, Result};
use crate::model::mapanything::Architecture;
use crate::model::mapanything::checkpoint::weight_files;
use crate::model::mapanything::config::ModelConfig;
use crate::model::mapanything::tensors::{Differences, stored_names};
use crate::model::nn::Weights;

/// What a folder of weights is, and all that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// The files with tensors.
    pub files: Vec<PathBuf>,
    /// Their size, bytes.
    pub bytes: u64,
    /// The architecture in words.
    pub architecture: String,
    /// Number of tensors in the files.
    pub tensors: usize,
    /// Number of values in them.
    pub values: u64,
    /// Tensors of each type.
    pub types: BTreeMap<String, usize>,
    /// Files whose SHA-256 is known and was compared.
    pub checksums: usize,
    /// What is wrong, one sentence each; empty for good weights.
    pub problems: Vec<String>,
}

/// Returns whether a folder holds weights.
pub fn is_weights_folder(folder: &Path) -> bool {
    folder.is_dir() && weight_files(folder).is_ok()
}

/// Returns what is in a folder, or a file, of weights. Every tensor is read; `progress` is told what share of
/// them has been.
///
/// # Errors
/// Where there is nothing to check: no file of tensors, or one that cannot be read as such.
pub fn verify(folder: &Path, progress: &mut dyn FnMut(f64)) -> Result<Verification> {
    let files = weight_files(folder)?;
    let weights = Weights::open(&files, &Device::Cpu, DType::F32)?;
    let shapes = weights.shapes();
    let mut problems = Vec::new();
    let config = config(folder).unwrap_or_else(|problem| {
        problems.push(problem);
        ModelConfig::default()
    });
    let architecture = match Architecture::derive(&shapes, &config) {
        Ok(architecture) => {
            problems.extend(listed(&stored_names(&architecture, &shapes).1));
            NamedArchitecture::describe(&architecture)
        }
        Err(problem) => {
            problems.push(problem);
            "unknown".to_owned()
        }
    };
    let checksums = check_sums(&files, &mut problems)?;
    for (number, name) in shapes.keys().enumerate() {
        problems.extend(unusable(&weights, name));
        progress((number + 1) as f64 / shapes.len() as f64);
    }
    Ok(Verification {
        types: count_types(&files)?,
        bytes: files.iter().filter_map(|file| Some(fs::metadata(file).ok()?.len())).sum(),
        files,
        architecture,
        tensors: shapes.len(),
        values: shapes.values().map(|shape| shape.iter().product::<usize>() as u64).sum(),
        checksums,
        problems,
    })
}

/// The configuration in the folder, or beside the file.
fn config(weights: &Path) -> std::result::Result<ModelConfig, String> {
    let folder = if weights.is_file() { weights.parent().unwrap_or(weights) } else { weights };
    let path = folder.join(CONFIG_FILE);
    let text = fs::read_to_string(&path).map_err(|e| format!("{CONFIG_FILE}: {e}"))?;
    ModelConfig::parse(&text).map_err(|e| format!("{CONFIG_FILE}: not valid JSON ({e})"))
}

/// The differences, one sentence each.
fn listed(differences: &Differences) -> Vec<String> {
    let missing = differences.missing.iter().map(|name| format!("tensor '{name}' is missing"));
    let surplus = differences.surplus.iter().map(|name| format!("tensor '{name}' is not known"));
    let shapes = differences.misshapen.iter().map(|(name, needed, found)| {
        format!("tensor '{name}' has the shape {found:?}, {needed:?} is needed")
    });
    missing.chain(surplus).chain(shapes).collect()
}

/// Why a tensor cannot be used, if it cannot.
fn unusable(weights: &Weights, name: &str) -> Option<String> {
    let values = weights.tensor_f32(name).and_then(|tensor| tensor.flatten_all()?.to_vec1::<f32>());
    match values {
        Ok(values) => {
            let count = values.iter().filter(|value| !value.is_finite()).count();
            (count > 0).then(|| format!("tensor '{name}' has {count} values that are not finite"))
        }
        Err(error) => Some(format!("tensor '{name}' cannot be read: {error}")),
    }
}

/// Compares files whose name in the hub cache is their SHA-256; returns how many those are.
fn check_sums(files: &[PathBuf], problems: &mut Vec<String>) -> Result<usize> {
    let mut count = 0;
    for file in files {
        let content = fs::canonicalize(file).map_err(Error::io(file, "find the file"))?;
        let name = content.file_name().unwrap_or_default().to_string_lossy();
        let Some(expected) = sha256_of(&name) else { continue };
        let found = file_sha256(&content)?;
        if found != expected {
            let file = file.display();
            problems.push(format!("{file} has the SHA-256 {found}, {expected} is expected"));
        }
        count += 1;
    }
    Ok(count)
}
