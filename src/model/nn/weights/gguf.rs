//! Tensors in a GGUF file, quantised or not.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use candle_core::quantized::gguf_file::Content;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Result, Tensor};

use super::mapped::MappedFile;
use crate::error::Error;

/// A mapped GGUF file and the index of its tensors.
#[derive(Debug)]
pub struct GgufFile {
    file: MappedFile,
    content: Content,
}

impl GgufFile {
    /// Returns the tensors of the file at `path`.
    ///
    /// # Errors
    /// Where the file cannot be read, or is no GGUF file.
    pub fn open(path: &Path) -> crate::error::Result<Self> {
        let file = MappedFile::open(path)?;
        let content = Content::read(&mut Cursor::new(file.bytes())).map_err(|e| {
            let remedy = "make it again with `recon weights quantize`";
            Error::input(path, format!("no valid GGUF file ({e})"), remedy)
        })?;
        Ok(Self { file, content })
    }

    /// Returns the shape of every tensor; of kernels in blocks of fewer bits, too, the checkpoint's.
    pub fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        let infos = self.content.tensor_infos.iter();
        let shape = |name: &str, dims: &[usize]| match *dims {
            [out, height, width, channels] if self.is_quantized(name) => {
                vec![out, channels, height, width]
            }
            _ => dims.to_vec(),
        };
        infos.map(|(name, info)| (name.clone(), shape(name, info.shape.dims()))).collect()
    }

    /// Returns whether there is a tensor `name`.
    pub fn has(&self, name: &str) -> bool {
        self.content.tensor_infos.contains_key(name)
    }

    /// Returns whether the tensor `name` is stored in blocks of fewer bits.
    pub fn is_quantized(&self, name: &str) -> bool {
        let plain = [GgmlDType::F32, GgmlDType::F16, GgmlDType::BF16];
        self.content.tensor_infos.get(name).is_some_and(|info| !plain.contains(&info.ggml_dtype))
    }

    /// Returns whether the tensor `name` is stored in half precision.
    pub fn is_half(&self, name: &str) -> bool {
        let info = self.content.tensor_infos.get(name);
        info.is_some_and(|info| info.ggml_dtype == GgmlDType::F16)
    }

    /// Returns a copy of the tensor `name` on `device`, as it is stored: kernels `[O, C, k, k]` in
    /// blocks of fewer bits as `[O, k, k, C]`, since blocks lie along the last dimension.
    pub fn stored(&self, name: &str, device: &Device) -> Option<Result<Arc<QTensor>>> {
        let info = self.content.tensor_infos.get(name)?;
        let mut reader = Cursor::new(self.file.bytes());
        let tensor = self.content.tensor(&mut reader, name, device);
        let begin = (self.content.tensor_data_offset + info.offset) as usize;
        self.file.release(begin..reader.position() as usize);
        Some(tensor.map(Arc::new))
    }

    /// Returns the tensor `name` in the shape of [`GgufFile::shapes`], in f32.
    pub fn widened(&self, name: &str, device: &Device) -> Option<Result<Tensor>> {
        let is_kernel = self.is_quantized(name);
        let widened = |stored: Arc<QTensor>| {
            let tensor = stored.dequantize(device)?;
            if is_kernel && tensor.rank() == 4 { tensor.permute((0, 3, 1, 2)) } else { Ok(tensor) }
        };
        Some(self.stored(name, device)?.and_then(widened))
    }
}
