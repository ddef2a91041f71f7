//! Arrays as NumPy reads them: `.npy` files in a `.npz` archive.

use std::io::{Cursor, Write};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::write_atomically;
use crate::error::{Error, Result};

/// The values of an array, in row order.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Bytes.
    U8(Vec<u8>),
    /// Whole numbers.
    I64(Vec<i64>),
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
}

/// A named array.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Its key in the archive.
    pub name: &'static str,
    /// Its extents, the slowest first.
    pub shape: Vec<usize>,
    /// Its values.
    pub values: Values,
}

/// Returns once `path` holds `arrays` as `.npz`, not compressed.
///
/// # Errors
/// [`Error::ShapeMismatch`] where an array has not as many values as its shape says; else as
/// [`write_atomically`].
pub fn write_npz(path: &Path, arrays: &[Array]) -> Result<()> {
    arrays.iter().try_for_each(Array::check)?;
    let bytes = archive(arrays).map_err(|error| {
        let problem = format!("the arrays do not fit the archive ({error})");
        Error::input(path, problem, "export fewer points, with larger voxels")
    })?;
    write_atomically(path, |file| file.write_all(&bytes))
}

fn archive(arrays: &[Array]) -> zip::result::ZipResult<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    // A fixed time, so that two exports of one map are the same bytes.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .large_file(true);
    for array in arrays {
        zip.start_file(format!("{}.npy", array.name), options)?;
        zip.write_all(&array.header())?;
        zip.write_all(&array.values.bytes())?;
    }
    Ok(zip.finish()?.into_inner())
}

impl Array {
    fn check(&self) -> Result<()> {
        let (expected, found) = (self.shape.iter().product::<usize>(), self.values.len());
        if expected == found {
            return Ok(());
        }
        let (expected, found) = (expected.to_string(), found.to_string());
        Err(Error::ShapeMismatch { what: "values of an array", expected, found })
    }

    /// Version 1.0 of the format: magic, length of the text, text padded to 64 bytes.
    fn header(&self) -> Vec<u8> {
        let shape: Vec<String> = self.shape.iter().map(|extent| format!("{extent},")).collect();
        let (kind, shape) = (self.values.kind(), shape.join(" "));
        let text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
        let padded = (text.len() + 11).next_multiple_of(64) - 11;
        let mut header = b"\x93NUMPY\x01\x00".to_vec();
        header.extend((padded as u16 + 1).to_le_bytes());
        header.extend(format!("{text:padded$}\n").into_bytes());
        header
    }
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::U8(_) => "|u1",
            Self::I64(_) => "<i8",
            Self::F32(_) => "<f4",
            Self::F64(_) => "<f8",
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::U8(values) => values.clone(),
            Self::I64(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::F32(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::F64(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }
}
