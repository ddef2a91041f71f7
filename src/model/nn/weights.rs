//! Tensors of a checkpoint, by name.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::{DType, Device, Error, Result, Tensor};

/// A view of a checkpoint's tensors under a prefix.
#[derive(Clone)]
pub struct Weights {
    tensors: Arc<HashMap<String, Tensor>>,
    prefix: String,
    dtype: DType,
}

impl Weights {
    /// Returns all of `tensors`; matrices are handed out as `dtype`.
    pub fn new(tensors: HashMap<String, Tensor>, dtype: DType) -> Self {
        Self { tensors: Arc::new(tensors), prefix: String::new(), dtype }
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

    /// Returns whether there is a tensor `name`.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(&format!("{}{name}", self.prefix))
    }

    /// Returns the tensor `name` in this view's type.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        self.raw(name)?.to_dtype(self.dtype)
    }

    /// Returns the tensor `name` as f32.
    pub fn tensor_f32(&self, name: &str) -> Result<Tensor> {
        self.raw(name)?.to_dtype(DType::F32)
    }

    /// Returns the tensor `name` if there is one.
    pub fn optional(&self, name: &str) -> Result<Option<Tensor>> {
        self.has(name).then(|| self.tensor(name)).transpose()
    }

    fn raw(&self, name: &str) -> Result<&Tensor> {
        let name = format!("{}{name}", self.prefix);
        self.tensors.get(&name).ok_or_else(|| Error::CannotFindTensor { path: name }.bt())
    }
}
