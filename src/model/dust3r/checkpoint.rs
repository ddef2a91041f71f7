//! A folder or file with weights, opened and checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device};

use super::config::FamilyConfig;
use super::heads::{HeadKind, dense_names};
use super::retrieval::is_retrieval;
use crate::error::{Error, Result};
use crate::model::nn::Weights;

/// Which network a checkpoint is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// DUSt3R: pointmaps of two views.
    Dust3r,
    /// MASt3R: the same with descriptors.
    Mast3r,
    /// Fast3R: pointmaps of many views.
    Fast3r,
}

impl Family {
    /// Returns the name by which users choose it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dust3r => "dust3r",
            Self::Mast3r => "mast3r",
            Self::Fast3r => "fast3r",
        }
    }
}

/// Weights of a network of the family.
pub struct Checkpoint {
    /// The tensors; names that releases write in two ways are known by one.
    pub weights: Weights,
    /// Which network they make.
    pub family: Family,
    /// What the shapes leave open.
    pub config: FamilyConfig,
    /// The heads.
    pub head: HeadKind,
}

const REMEDY: &str = "use the files of one release of DUSt3R, MASt3R or Fast3R, config.json beside model.safetensors";

impl Checkpoint {
    /// Returns the checkpoint at `path`: a folder with `model.safetensors` and `config.json` or
    /// with one `.pth` file, or such a file. Matrices are handed out on `device` as `dtype`.
    /// Tensors that the network does not have are passed over, as the reference does.
    ///
    /// # Errors
    /// Where files cannot be read, or the tensors are of no network of the family.
    pub fn open(path: &Path, device: &Device, dtype: DType) -> Result<Self> {
        let file = weight_file(path)?;
        let weights = Weights::open(std::slice::from_ref(&file), device, dtype)?;
        let problem = |problem: String| Error::input(path, problem, REMEDY);
        let config = match (weights.description(), config_text(&file)?) {
            (Some(call), _) => FamilyConfig::parse(call).map_err(problem)?,
            (None, Some(json)) => FamilyConfig::parse(&json).map_err(problem)?,
            (None, None) => FamilyConfig::default(),
        };
        Self::new(weights, config).map_err(problem)
    }

    /// Returns the checkpoint of these tensors, or what is wrong with them.
    ///
    /// # Errors
    /// Where they are of no network of the family.
    pub fn new(weights: Weights, config: FamilyConfig) -> Result<Self, String> {
        let weights = outermost(weights);
        let (family, first_head) = match () {
            () if weights.has("encoder.patch_embed.proj.weight") => {
                (Family::Fast3r, "downstream_head")
            }
            () if weights.has("downstream_head1.head_local_features.fc1.weight") => {
                (Family::Mast3r, "downstream_head1")
            }
            () if weights.has("dec_blocks.0.norm_y.weight") => (Family::Dust3r, "downstream_head1"),
            () => return Err("its tensors are of no network of this family".into()),
        };
        let head = HeadKind::of(&weights.scope(first_head))
            .ok_or_else(|| format!("'{first_head}' is neither a DPT nor a linear head"))?;
        let weights = weights.renamed(names(&weights, family));
        Ok(Self { weights, family, config, head })
    }
}

/// Trainers wrap the network in another, whose name comes first in all names.
fn outermost(weights: Weights) -> Weights {
    let wrapped = weights.shapes().keys().all(|name| name.starts_with("net."));
    if wrapped { weights.scope("net") } else { weights }
}

/// From the names that the network asks for to those that are stored.
fn names(weights: &Weights, family: Family) -> BTreeMap<String, String> {
    let shapes = weights.shapes();
    let mut names = BTreeMap::new();
    for stored in shapes.keys() {
        if let Some(asked) = dense_names(stored) {
            names.insert(asked, stored.clone());
        }
        // Checkpoints from before training have one decoder for both views.
        if family != Family::Fast3r
            && let Some(rest) = stored.strip_prefix("dec_blocks.")
        {
            let second = format!("dec_blocks2.{rest}");
            if !shapes.contains_key(&second) {
                names.insert(second, stored.clone());
            }
        }
    }
    names
}

fn weight_file(path: &Path) -> Result<PathBuf> {
    if path.is_file() {
        return Ok(path.to_owned());
    }
    if !path.exists() {
        return Err(Error::input(path, "there is no such file or folder of weights", REMEDY));
    }
    let safetensors = path.join("model.safetensors");
    if safetensors.is_file() {
        return Ok(safetensors);
    }
    let entries = std::fs::read_dir(path).map_err(Error::io(path, "look for weights"))?;
    let ends = |path: &PathBuf| path.extension().is_some_and(|e| e == "pth" || e == "ckpt");
    // MASt3R's retrieval model lies beside it.
    let is_network = |path: &PathBuf| ends(path) && !is_retrieval(path);
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(is_network).collect();
    files.sort();
    match files.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Error::input(path, "neither model.safetensors nor a .pth file is there", REMEDY)),
        _ => {
            let problem = format!("{} .pth files are there", files.len());
            Err(Error::input(path, problem, "name the file that is meant"))
        }
    }
}

/// The text of the `config.json` beside the weights; there need be none.
fn config_text(weights: &Path) -> Result<Option<String>> {
    let file = weights.with_file_name("config.json");
    if !file.is_file() {
        return Ok(None);
    }
    std::fs::read_to_string(&file).map(Some).map_err(Error::io(&file, "read the configuration"))
}
