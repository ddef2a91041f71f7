//! Where the weights are that a user names.

use std::path::{Path, PathBuf};

use super::{Cache, KnownModel, is_weights_folder};
use crate::error::{Error, Result};

/// The branch that is used where none is named.
pub(super) const MAIN: &str = "main";

/// Returns a variable of the environment, unless it is empty.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns the folder of the weights that are named: by a folder, by the name of a known model that
/// is in `cache`, or by nothing, which names the default model.
///
/// # Errors
/// Where they are not there, with the command that brings them.
pub fn locate(named: &str, cache: &Cache) -> Result<PathBuf> {
    let folder = Path::new(named);
    if named.is_empty() {
        return in_cache(KnownModel::default_model(), cache);
    }
    if is_weights_folder(folder) || folder.is_file() {
        return Ok(folder.to_owned());
    }
    match KnownModel::named(named) {
        Some(model) => in_cache(model, cache),
        None if folder.is_dir() => Err(Error::input(
            folder,
            "no weights are in this folder",
            "it needs model.safetensors or model.gguf, and config.json beside it",
        )),
        None => Err(Error::input(
            folder,
            "there is no such folder, nor a model of this name",
            "give a folder with config.json and model.safetensors, or a name from 'recon weights list'",
        )),
    }
}

fn in_cache(model: &KnownModel, cache: &Cache) -> Result<PathBuf> {
    cache.snapshot(model.repository, MAIN, model.files).ok_or_else(|| {
        let problem = format!("the weights of {} are not here", model.repository);
        let folder = cache.repository(model.repository);
        let name = model.repository;
        // Remedies are fixed texts; the command is the part that changes.
        Error::input(
            &folder,
            format!("{problem} (fetch them with 'recon weights fetch {name}')"),
            "or give a folder that has them, as --weights DIR or model.weights",
        )
    })
}
