//! Smaller weights: the matrices of the transformer blocks in fewer bits. In q8_0 files those of the
//! encoders of priors, too, and the kernels of heads in half precision; all else is as it is.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use safetensors::{Dtype, View};

use super::random::{Precision, unwritten, write_config, write_safetensors};
use super::registry::GGUF_FILE;
use super::{CONFIG_FILE, SAFETENSORS_FILE};
use crate::error::{Error, Result};
use crate::model::mapanything::Checkpoint;
use crate::model::mapanything::tensors::{ExpectedTensor, expected_tensors};
use crate::model::nn::Weights;

/// What matrices become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantization {
    /// Blocks of 32 integers of 8 bits with a common factor, as GGUF has them.
    Q8_0,
    /// Floating point numbers of 16 bits.
    Half(Precision),
}

/// What has become of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantized {
    /// Size of the file of tensors, bytes.
    pub bytes: u64,
    /// Matrices in fewer bits.
    pub reduced: usize,
    /// Tensors as they were.
    pub kept: usize,
}

/// Returns once `out` holds the weights of `folder`, the matrices of their transformer blocks
/// reduced, all else in single precision (in q8_0 files other matrices and kernels, too, those of
/// heads and the few that make no whole blocks in half precision), under the names of the
/// checkpoint. `progress` is told what share is done.
///
/// # Errors
/// Where the weights are not those of a known network, or `out` cannot be written.
pub fn quantize(
    folder: &Path,
    quantization: Quantization,
    out: &Path,
    progress: &mut dyn FnMut(f64),
) -> Result<Quantized> {
    let [from, to] = [folder, out].map(|folder| fs::canonicalize(folder).ok());
    if from.is_some() && from == to {
        let remedy = "choose a folder other than the one of the weights";
        return Err(Error::input(out, "this is what is being read", remedy));
    }
    let checkpoint = Checkpoint::open(folder, (&Device::Cpu, DType::F32), true)?;
    // A constant that the file may leave out is told from its shape.
    let mut tensors = expected_tensors(&checkpoint.architecture);
    tensors.retain(|tensor| checkpoint.weights.has(&tensor.name));
    super::cache::create_folder(out)?;
    let name = if quantization == Quantization::Q8_0 { GGUF_FILE } else { SAFETENSORS_FILE };
    let path = out.join(name);
    match quantization {
        Quantization::Q8_0 => write_gguf(&path, &checkpoint.weights, &tensors, progress)?,
        Quantization::Half(precision) => {
            write_half(&path, &checkpoint.weights, (&tensors, precision), progress)?;
        }
    }
    copy_config(folder, out, &checkpoint)?;
    let reduced = tensors.iter().filter(|tensor| is_reduced(tensor, quantization)).count();
    let bytes = fs::metadata(&path).map_err(Error::io(&path, "read the size"))?.len();
    Ok(Quantized { bytes, reduced, kept: tensors.len() - reduced })
}

/// Whether a tensor is kept in fewer bits than in single precision's.
fn is_reduced(tensor: &ExpectedTensor, quantization: Quantization) -> bool {
    match quantization {
        Quantization::Q8_0 => type_in_gguf(tensor) == GgmlDType::Q8_0,
        Quantization::Half(_) => is_in_block(tensor) && tensor.shape.len() == 2,
    }
}

fn is_in_block(tensor: &ExpectedTensor) -> bool {
    let blocks = ["encoder.model.blocks.", "info_sharing.self_attention_blocks."];
    blocks.iter().any(|prefix| tensor.name.starts_with(prefix))
}

fn is_in_head(tensor: &ExpectedTensor) -> bool {
    let heads = ["dense_head.", "pose_head.", "scale_head."];
    heads.iter().any(|prefix| tensor.name.starts_with(prefix))
}

/// Blocks of integers where matrices and kernels make whole ones; half precision for other kernels,
/// which are few, and for those of heads, whose rounding would show in the result.
fn type_in_gguf(tensor: &ExpectedTensor) -> GgmlDType {
    let is_kernel = tensor.name.ends_with(".weight") && tensor.shape.len() > 1;
    let depth = match tensor.shape[..] {
        // Larger kernels are those of patches, and of convolutions that enlarge.
        [_, channels, 1, 1] | [_, channels, 3, 3] => channels,
        [_, depth] => depth,
        _ => 1,
    };
    let fits = depth % GgmlDType::Q8_0.block_size() == 0 && !is_in_head(tensor);
    match (is_kernel, fits) {
        (true, true) => GgmlDType::Q8_0,
        (true, false) => GgmlDType::F16,
        (false, _) => GgmlDType::F32,
    }
}

/// Blocks lie along the last dimension: kernels `[O, C, k, k]` become `[O, k, k, C]`.
fn in_gguf(values: Tensor, dtype: GgmlDType) -> candle_core::Result<QTensor> {
    let values = if dtype == GgmlDType::Q8_0 && values.rank() == 4 {
        values.permute((0, 2, 3, 1))?.contiguous()?
    } else {
        values
    };
    QTensor::quantize(&values, dtype)
}

fn write_gguf(
    path: &Path,
    weights: &Weights,
    tensors: &[ExpectedTensor],
    progress: &mut dyn FnMut(f64),
) -> Result<()> {
    let failed = |error: candle_core::Error| std::io::Error::other(error.to_string());
    let mut reduced = Vec::with_capacity(tensors.len());
    for (number, tensor) in tensors.iter().enumerate() {
        let dtype = type_in_gguf(tensor);
        let values = weights.tensor_f32(&tensor.name);
        let values = values.and_then(|values| in_gguf(values, dtype));
        reduced.push(values.map_err(failed).map_err(Error::io(path, "reduce a tensor"))?);
        progress((number + 1) as f64 / tensors.len() as f64);
    }
    let named: Vec<(&str, &QTensor)> =
        tensors.iter().map(|tensor| tensor.name.as_str()).zip(&reduced).collect();
    let architecture = Value::String("mapanything".to_owned());
    let notes = [("general.architecture", &architecture)];
    let partial = path.with_extension("partial");
    let write = || {
        let mut file = BufWriter::new(File::create(&partial)?);
        gguf_file::write(&mut file, &notes, &named).map_err(failed)?;
        file.flush()?;
        fs::rename(&partial, path)
    };
    write().map_err(|error| unwritten(path, &partial, error))
}

fn write_half(
    path: &Path,
    weights: &Weights,
    (tensors, precision): (&[ExpectedTensor], Precision),
    progress: &mut dyn FnMut(f64),
) -> Result<()> {
    let mut converted = Vec::with_capacity(tensors.len());
    for (number, tensor) in tensors.iter().enumerate() {
        let is_reduced = is_reduced(tensor, Quantization::Half(precision));
        let precision = if is_reduced { precision } else { Precision::F32 };
        let values = weights.tensor_f32(&tensor.name).and_then(|t| t.flatten_all()?.to_vec1());
        let values: Vec<f32> = values
            .map_err(|error| std::io::Error::other(error.to_string()))
            .map_err(Error::io(path, "read a tensor"))?;
        let bytes = precision.bytes(&values);
        converted.push((tensor.name.as_str(), Converted { tensor, precision, bytes }));
        progress((number + 1) as f64 / tensors.len() as f64);
    }
    write_safetensors(path, converted)
}

/// A tensor ready to be written.
struct Converted<'a> {
    tensor: &'a ExpectedTensor,
    precision: Precision,
    bytes: Vec<u8>,
}

impl View for Converted<'_> {
    fn dtype(&self) -> Dtype {
        self.precision.safetensors()
    }

    fn shape(&self) -> &[usize] {
        &self.tensor.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// The configuration as it is; one with the sizes where there is none.
fn copy_config(folder: &Path, out: &Path, checkpoint: &Checkpoint) -> Result<()> {
    let (from, to) = (folder.join(CONFIG_FILE), out.join(CONFIG_FILE));
    if !from.is_file() {
        return write_config(out, &super::config_json::of(&checkpoint.architecture));
    }
    let text = fs::read(&from).map_err(Error::io(&from, "read the configuration"))?;
    fs::write(&to, text).map_err(Error::io(&to, "write the configuration"))
}
