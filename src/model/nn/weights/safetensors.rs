//! Tensors in safetensors files, one or several.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Result, Tensor};
use safetensors::tensor::TensorInfo;
use safetensors::{Dtype, SafeTensors};

use super::mapped::MappedFile;
use crate::error::Error;

/// Where a tensor lies.
#[derive(Debug)]
struct Place {
    file: usize,
    bytes: Range<usize>,
    dtype: DType,
    shape: Vec<usize>,
}

/// Mapped safetensors files and the index of their tensors.
#[derive(Debug)]
pub struct SafetensorsFiles {
    files: Vec<MappedFile>,
    places: BTreeMap<String, Place>,
}

impl SafetensorsFiles {
    /// Returns the tensors of all files at `paths`.
    ///
    /// # Errors
    /// Where a file cannot be read, is no safetensors file, or holds numbers of a type that no
    /// weight has.
    pub fn open(paths: &[PathBuf]) -> crate::error::Result<Self> {
        let (mut files, mut places) = (Vec::with_capacity(paths.len()), BTreeMap::new());
        for (number, path) in paths.iter().enumerate() {
            let file = MappedFile::open(path)?;
            index(&file, number, path, &mut places)?;
            files.push(file);
        }
        Ok(Self { files, places })
    }

    /// Returns the shape of every tensor.
    pub fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        self.places.iter().map(|(name, place)| (name.clone(), place.shape.clone())).collect()
    }

    /// Returns whether there is a tensor `name`.
    pub fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Returns a copy of the tensor `name` on `device`, in the type of the file. What has been
    /// copied leaves the memory of the map.
    pub fn tensor(&self, name: &str, device: &Device) -> Option<Result<Tensor>> {
        let place = self.places.get(name)?;
        let file = self.files.get(place.file)?;
        let bytes = file.bytes().get(place.bytes.clone())?;
        let tensor = Tensor::from_raw_buffer(bytes, place.dtype, &place.shape, device);
        file.release(place.bytes.clone());
        Some(tensor)
    }
}

fn index(
    file: &MappedFile,
    number: usize,
    path: &Path,
    places: &mut BTreeMap<String, Place>,
) -> crate::error::Result<()> {
    let (header, metadata) = SafeTensors::read_metadata(file.bytes()).map_err(|e| {
        let remedy = "fetch the file again, it may have come only in part";
        Error::input(path, format!("no valid safetensors file ({e})"), remedy)
    })?;
    for name in metadata.offset_keys() {
        let Some(info) = metadata.info(&name) else { continue };
        let place = place(info, number, header + size_of::<u64>()).ok_or_else(|| {
            let problem = format!("tensor '{name}' is of type {:?}", info.dtype);
            Error::input(path, problem, "use weights in f32, bf16 or f16")
        })?;
        places.insert(name, place);
    }
    Ok(())
}

fn place(info: &TensorInfo, file: usize, data_start: usize) -> Option<Place> {
    let dtype = match info.dtype {
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::F64 => DType::F64,
        _ => return None,
    };
    let (begin, end) = info.data_offsets;
    let bytes = data_start + begin..data_start + end;
    Some(Place { file, bytes, dtype, shape: info.shape.clone() })
}
