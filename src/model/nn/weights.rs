//! Tensors of a checkpoint, by name.

mod gguf;
mod mapped;
mod pickle;
mod safetensors;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::{DType, Device, Error, Result, Tensor};

use self::gguf::GgufFile;
use self::pickle::PickleFile;
use self::safetensors::SafetensorsFiles;

/// Where the tensors come from.
enum Source {
    Memory(HashMap<String, Tensor>),
    Safetensors(SafetensorsFiles),
    Gguf(GgufFile),
    Pickle(Box<PickleFile>),
}

/// A view of a checkpoint's tensors under a prefix.
///
/// Files are mapped into memory, and each tensor is copied out when it is asked for: once a model
/// is loaded, its weights are in memory once.
#[derive(Clone)]
pub struct Weights {
    source: Arc<Source>,
    /// Names under which tensors are stored, where they are known by another.
    stored_names: Arc<BTreeMap<String, String>>,
    prefix: String,
    dtype: DType,
    device: Device,
}

impl Weights {
    /// Returns all of `tensors`; matrices are handed out as `dtype`.
    pub fn new(tensors: HashMap<String, Tensor>, dtype: DType) -> Self {
        let device = tensors.values().next().map_or(Device::Cpu, |t| t.device().clone());
        Self::from_source(Source::Memory(tensors), &device, dtype)
    }

    /// Returns the tensors of the safetensors files at `paths`, or of a single GGUF file or
    /// checkpoint of PyTorch (`.pth`), to be handed out on `device`, matrices as `dtype`.
    ///
    /// # Errors
    /// Where a file cannot be read or is of no such kind.
    pub fn open(paths: &[PathBuf], device: &Device, dtype: DType) -> crate::error::Result<Self> {
        let is_one = |path: &Path, endings: &[&str]| {
            path.extension().is_some_and(|e| endings.iter().any(|ending| e == *ending))
        };
        let source = match paths {
            [path] if is_one(path, &["gguf"]) => Source::Gguf(GgufFile::open(path)?),
            [path] if is_one(path, &["pth", "pt", "ckpt"]) => {
                Source::Pickle(Box::new(PickleFile::open(path)?))
            }
            _ => Source::Safetensors(SafetensorsFiles::open(paths)?),
        };
        Ok(Self::from_source(source, device, dtype))
    }

    fn from_source(source: Source, device: &Device, dtype: DType) -> Self {
        let (source, stored_names) = (Arc::new(source), Arc::default());
        Self { source, stored_names, prefix: String::new(), dtype, device: device.clone() }
    }

    /// Returns the same tensors, of which some are known by other names than they are stored
    /// under: `stored_names` leads from the one to the other.
    pub fn renamed(&self, stored_names: BTreeMap<String, String>) -> Self {
        Self { stored_names: Arc::new(stored_names), ..self.clone() }
    }

    /// Returns the shape of every tensor as it is stored, whatever the prefix.
    pub fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        match &*self.source {
            Source::Memory(tensors) => {
                tensors.iter().map(|(name, t)| (name.clone(), t.dims().to_vec())).collect()
            }
            Source::Safetensors(files) => files.shapes(),
            Source::Gguf(file) => file.shapes(),
            Source::Pickle(file) => file.shapes(),
        }
    }

    /// Returns the expression that made the model, from checkpoints of PyTorch that have it.
    pub fn description(&self) -> Option<&str> {
        self.argument("model")
    }

    /// Returns an argument that the trainer was given, as Python writes it, from checkpoints of
    /// PyTorch that have it.
    pub fn argument(&self, name: &str) -> Option<&str> {
        match &*self.source {
            Source::Pickle(file) => file.argument(name),
            _ => None,
        }
    }

    /// Returns the view of what begins with `name` and a dot.
    pub fn scope(&self, name: impl std::fmt::Display) -> Self {
        let prefix = format!("{}{name}.", self.prefix);
        Self { prefix, ..self.clone() }
    }

    /// Returns the same view, handing out f32: heads and geometry are never computed in less.
    pub fn f32(&self) -> Self {
        Self { dtype: DType::F32, ..self.clone() }
    }

    /// Returns where the tensors are handed out.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Returns whether there is a tensor `name`.
    pub fn has(&self, name: &str) -> bool {
        let name = self.stored_name(name);
        match &*self.source {
            Source::Memory(tensors) => tensors.contains_key(&name),
            Source::Safetensors(files) => files.has(&name),
            Source::Gguf(file) => file.has(&name),
            Source::Pickle(file) => file.has(&name),
        }
    }

    /// Returns the tensor `name` in this view's type.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        self.raw(name)?.to_dtype(self.dtype)
    }

    /// Returns the tensor `name` as f32.
    pub fn tensor_f32(&self, name: &str) -> Result<Tensor> {
        self.raw(name)?.to_dtype(DType::F32)
    }

    /// Returns the matrix or kernel `name` for a layer that computes in f32 whatever its weights are
    /// stored in: as it is stored where that is half precision in a reduced file and the layer is on
    /// the CPU, else as [`Weights::tensor`].
    pub fn kernel(&self, name: &str) -> Result<Tensor> {
        let stored_name = self.stored_name(name);
        match &*self.source {
            Source::Gguf(file) if self.device.is_cpu() && file.is_half(&stored_name) => {
                let tensor = file.stored(&stored_name, &self.device).transpose()?;
                tensor.map_or_else(|| self.tensor(name), |t| t.dequantize_f16(&self.device))
            }
            _ => self.tensor(name),
        }
    }

    /// Returns the tensor `name` if there is one.
    pub fn optional(&self, name: &str) -> Result<Option<Tensor>> {
        self.has(name).then(|| self.tensor(name)).transpose()
    }

    /// Returns the tensor `name` as it is stored, if that is in quantised blocks; kernels are
    /// `[O, k, k, C]` then.
    pub fn quantized(&self, name: &str) -> Result<Option<Arc<QTensor>>> {
        let name = self.stored_name(name);
        match &*self.source {
            Source::Gguf(file) if file.is_quantized(&name) => {
                file.stored(&name, &self.device).transpose()
            }
            _ => Ok(None),
        }
    }

    /// Returns whether any tensor is stored in quantised blocks.
    pub fn is_quantized(&self) -> bool {
        match &*self.source {
            Source::Gguf(file) => file.shapes().keys().any(|name| file.is_quantized(name)),
            Source::Memory(_) | Source::Safetensors(_) | Source::Pickle(_) => false,
        }
    }

    fn stored_name(&self, name: &str) -> String {
        let name = format!("{}{name}", self.prefix);
        self.stored_names.get(&name).cloned().unwrap_or(name)
    }

    fn raw(&self, name: &str) -> Result<Tensor> {
        let name = self.stored_name(name);
        let tensor = match &*self.source {
            Source::Memory(tensors) => tensors.get(&name).cloned().map(Ok),
            Source::Safetensors(files) => files.tensor(&name, &self.device),
            Source::Pickle(file) => file.tensor(&name, &self.device),
            Source::Gguf(file) => file.widened(&name, &self.device),
        };
        tensor.unwrap_or_else(|| Err(Error::CannotFindTensor { path: name }.bt()))
    }
}
