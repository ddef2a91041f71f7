//! Tensors in PyTorch's own files: a zip archive with a pickle. candle reads it without running any
//! of it; classes that it does not know are kept as names.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use candle_core::pickle::{Object, PthTensors, Stack};
use candle_core::{Device, Result, Tensor};
use zip::ZipArchive;

use crate::error::Error;

/// Where trainers put the tensors.
const KEYS: [&str; 2] = ["model", "state_dict"];

/// A checkpoint and the index of its tensors.
pub struct PickleFile {
    tensors: PthTensors,
    arguments: BTreeMap<String, String>,
}

impl PickleFile {
    /// Returns the tensors of the file at `path`; two names may stand for one tensor.
    ///
    /// # Errors
    /// Where the file cannot be read, or is no checkpoint of PyTorch.
    pub fn open(path: &Path) -> crate::error::Result<Self> {
        let problem = |error: candle_core::Error| {
            let remedy = "fetch the file again, or convert it to safetensors";
            Error::input(path, format!("no checkpoint that can be read ({error})"), remedy)
        };
        let root = root(path).map_err(problem)?;
        let key = KEYS.into_iter().find(|key| matches!(entry(&root, key), Some(Object::Dict(_))));
        let tensors = PthTensors::new(path, key).map_err(problem)?;
        if tensors.tensor_infos().is_empty() {
            let remedy = "give a checkpoint of PyTorch 1.6 or later, or safetensors";
            return Err(Error::input(path, "it holds no tensors", remedy));
        }
        let arguments = entry(&root, "args").map(attributes).unwrap_or_default();
        Ok(Self { tensors, arguments })
    }

    /// Returns an argument that the trainer was given, as Python writes it, if the file has it.
    pub fn argument(&self, name: &str) -> Option<&str> {
        self.arguments.get(name).map(String::as_str)
    }

    /// Returns the shape of every tensor.
    pub fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        let infos = self.tensors.tensor_infos().iter();
        infos.map(|(name, info)| (name.clone(), info.layout.dims().to_vec())).collect()
    }

    /// Returns whether there is a tensor `name`.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.tensor_infos().contains_key(name)
    }

    /// Returns a copy of the tensor `name` on `device`.
    pub fn tensor(&self, name: &str, device: &Device) -> Option<Result<Tensor>> {
        let tensor = self.tensors.get(name).transpose()?;
        Some(tensor.and_then(|tensor| tensor.to_device(device)))
    }
}

/// What was pickled, whatever the archive's root folder is called.
fn root(path: &Path) -> Result<Object> {
    let mut archive = ZipArchive::new(BufReader::new(File::open(path)?))?;
    let names = archive.file_names().map(|name| Ok(name?.into_owned()));
    let names = names.collect::<Result<Vec<String>>>()?;
    let Some(name) = names.iter().find(|name| name.ends_with("data.pkl")) else {
        candle_core::bail!("there is no data.pkl in the archive");
    };
    let mut stack = Stack::empty();
    stack.read_loop(&mut BufReader::new(archive.by_name(name)?))?;
    stack.finalize()
}

fn entry<'a>(object: &'a Object, key: &str) -> Option<&'a Object> {
    let Object::Dict(entries) = object else { return None };
    let is_key = |name: &Object| matches!(name, Object::Unicode(name) if name == key);
    entries.iter().find(|(name, _)| is_key(name)).map(|(_, value)| value)
}

/// What is plain in an object such as argparse's `Namespace`, or in a dictionary.
fn attributes(object: &Object) -> BTreeMap<String, String> {
    let fields = if let Object::Build { args, .. } = object { args } else { object };
    let Object::Dict(entries) = fields else { return BTreeMap::new() };
    let attribute = |(name, value): &(Object, Object)| match name {
        Object::Unicode(name) => Some((name.clone(), plain(value)?)),
        _ => None,
    };
    entries.iter().filter_map(attribute).collect()
}

fn plain(value: &Object) -> Option<String> {
    match value {
        Object::Unicode(text) => Some(text.clone()),
        Object::Int(value) => Some(value.to_string()),
        Object::Long(value) => Some(value.to_string()),
        Object::Float(value) => Some(value.to_string()),
        Object::Bool(true) => Some("True".to_owned()),
        Object::Bool(false) => Some("False".to_owned()),
        Object::None => Some("None".to_owned()),
        _ => None,
    }
}
