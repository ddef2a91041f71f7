//! The retrieval model as it is released: a checkpoint of PyTorch beside a pickled codebook; or
//! both in one safetensors file.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, safetensors};

use super::arrays;
use super::unpickle::Pickle;
use super::{RetrievalModel, RetrievalOptions, matrix};
use crate::error::{Error, Result};
use crate::matching::retrieval::Codebook;
use crate::model::nn::Weights;

/// What names of released checkpoints have after the network's own.
const MARK: &str = "_retrieval_";
/// The same in one file.
const ONE_FILE: &str = "retrieval.safetensors";
const CODEBOOK: &str = "codebook.pkl";
const PARTS: [&str; 3] = ["prewhiten.m", "projector.0.weight", "postwhiten.m"];
const REMEDY: &str = "use MASt3R's retrieval files of one release, ..._retrieval_trainingfree.pth beside \
     ..._retrieval_codebook.pkl";

/// Returns the retrieval model that lies beside the network's `weights` (a folder, or a file in
/// it), by its released name or as `retrieval.safetensors`: the first by name, if any.
pub fn retrieval_beside(weights: &Path) -> Option<PathBuf> {
    let folder = if weights.is_dir() { weights } else { weights.parent()? };
    // The folder of a bare file name is the current one.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = fs::read_dir(folder).ok()?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| is_retrieval(path) || path.ends_with(ONE_FILE));
    files.into_iter().min()
}

/// Returns the files of the retrieval model at `path`.
pub fn retrieval_files(path: &Path) -> Vec<PathBuf> {
    let codebook =
        (path.extension().is_some_and(|ending| ending == "pth")).then(|| codebook_of(path));
    [path.to_owned()].into_iter().chain(codebook).collect()
}

/// Whether a file has the name of a released retrieval checkpoint.
pub(in super::super) fn is_retrieval(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.contains(MARK) && name.ends_with(".pth")
}

impl RetrievalModel {
    /// Returns the model in a released checkpoint (`…_retrieval_….pth`, with the codebook
    /// `…_retrieval_codebook.pkl` beside it), or in a safetensors file that has `centroids`, too.
    ///
    /// # Errors
    /// Where a file cannot be read, or is of another kind.
    pub fn open(path: &Path) -> Result<Self> {
        if path.extension().is_some_and(|ending| ending == "pth") {
            return open_released(path);
        }
        let problem = |text: String| Error::input(path, text, REMEDY);
        let tensors = safetensors::load(path, &Device::Cpu)
            .map_err(|error| problem(format!("no safetensors file ({error})")))?;
        let open = || {
            let missing = || Error::Usage("'centroids' is missing".into());
            let centroids = matrix(&tensors, "centroids")?.ok_or_else(missing)?;
            let values: Vec<f32> = centroids.transpose().iter().map(|v| *v as f32).collect();
            let codebook = Codebook::new(centroids.ncols(), values)?;
            Self::new(&tensors, codebook, &RetrievalOptions::default())
        };
        open().map_err(|error| problem(error.to_string()))
    }
}

fn open_released(path: &Path) -> Result<RetrievalModel> {
    let problem = |text: String| Error::input(path, text, REMEDY);
    let weights = Weights::open(&[path.to_owned()], &Device::Cpu, DType::F64)?;
    if !PARTS.into_iter().any(|part| weights.has(part)) {
        return Err(problem("it holds no retrieval model".into()));
    }
    let names: Vec<String> = weights.shapes().into_keys().collect();
    let tensors = names.into_iter().map(|name| weights.tensor(&name).map(|tensor| (name, tensor)));
    let tensors: HashMap<String, Tensor> =
        tensors.collect::<Result<_, _>>().map_err(|error| problem(error.to_string()))?;
    let options = options(&weights).map_err(problem)?;
    let codebook = open_codebook(&codebook_of(path))?;
    RetrievalModel::new(&tensors, codebook, &options).map_err(|error| problem(error.to_string()))
}

/// What the trainer's arguments say.
fn options(weights: &Weights) -> Result<RetrievalOptions, String> {
    let default = RetrievalOptions::default();
    if let Some(kind) = weights.argument("featweights").filter(|kind| *kind != "l2norm") {
        return Err(format!("its tokens are chosen by '{kind}', not by 'l2norm'"));
    }
    let tokens_per_image = match weights.argument("nfeat") {
        None => default.tokens_per_image,
        Some(text) => {
            text.parse().ok().filter(|count| *count > 0).ok_or(format!("its nfeat is '{text}'"))?
        }
    };
    let is_residual = weights.argument("residual").is_some_and(|text| matches!(text, "True" | "1"));
    Ok(RetrievalOptions { is_residual, tokens_per_image })
}

/// The codebook's file: its name differs in what comes after the last underscore.
fn codebook_of(checkpoint: &Path) -> PathBuf {
    let stem = checkpoint.file_stem().unwrap_or_default().to_string_lossy();
    let prefix = stem.rsplit_once('_').map_or(&*stem, |(prefix, _)| prefix);
    checkpoint.with_file_name(format!("{prefix}_{CODEBOOK}"))
}

/// Returns the words of a pickled codebook.
fn open_codebook(path: &Path) -> Result<Codebook> {
    let problem = |text: String| Error::input(path, text, REMEDY);
    let bytes =
        fs::read(path).map_err(Error::io(path, "read the codebook of the retrieval model"))?;
    let pickle = Pickle::parse(&bytes)
        .map_err(|text| problem(format!("no codebook that can be read ({text})")))?;
    let state = pickle.entry(pickle.root(), "state");
    let centroids = state.and_then(|state| pickle.entry(state, "centroids"));
    let centroids =
        centroids.ok_or_else(|| problem("it has no 'state' with 'centroids'".into()))?;
    let matrix = arrays::matrix(&pickle, centroids)
        .map_err(|text| problem(format!("its centroids {text}")))?;
    let book = Codebook::new(matrix.columns, matrix.values)?;
    let params = pickle.entry(pickle.root(), "params");
    let size = params.and_then(|params| pickle.int(pickle.entry(params, "size")?));
    match size.filter(|size| usize::try_from(*size) != Ok(book.len())) {
        None => Ok(book),
        Some(size) => Err(problem(format!("it says {size} words and has {}", book.len()))),
    }
}
