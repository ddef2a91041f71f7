//! Tensors of the weights file.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use crate::error::{Error, Result};

/// What the weights are called in messages.
pub(super) const NAME: &str = "xfeat.safetensors";
const REMEDY: &str = "make it anew with scripts/convert_xfeat.py";

/// Returns the tensors of a file's content.
pub(super) fn parse(content: &[u8]) -> Result<SafeTensors<'_>> {
    SafeTensors::deserialize(content)
        .map_err(|error| Error::input(Path::new(NAME), format!("not safetensors: {error}"), REMEDY))
}

/// Returns shape and numbers of a tensor.
pub(super) fn tensor(file: &SafeTensors<'_>, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
    let wrong = |problem: String| Error::input(Path::new(NAME), problem, REMEDY);
    let view = file.tensor(name).map_err(|error| wrong(format!("{name}: {error}")))?;
    if view.dtype() != Dtype::F32 {
        return Err(wrong(format!("{name} is {:?}, not F32", view.dtype())));
    }
    let number = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    Ok((view.shape().to_vec(), view.data().chunks_exact(4).map(number).collect()))
}
