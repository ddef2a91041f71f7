//! How the numbers of weights are stored.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::PathBuf;

use candle_core::quantized::gguf_file::Content;

use crate::error::{Error, Result};

/// A longer header is none.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Returns the number of tensors of each type in the files.
pub(super) fn count_types(files: &[PathBuf]) -> Result<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    for path in files {
        let mut file = BufReader::new(File::open(path).map_err(Error::io(path, "open the file"))?);
        let types = match path.extension().is_some_and(|extension| extension == "gguf") {
            true => gguf_types(&mut file).map_err(std::io::Error::other),
            false => safetensors_types(&mut file),
        };
        for name in types.map_err(Error::io(path, "read the list of tensors"))? {
            *counts.entry(name).or_default() += 1;
        }
    }
    Ok(counts)
}

fn gguf_types(file: &mut BufReader<File>) -> candle_core::Result<Vec<String>> {
    let content = Content::read(file)?;
    Ok(content.tensor_infos.into_values().map(|info| format!("{:?}", info.ggml_dtype)).collect())
}

/// The file begins with the length of a JSON text that describes each tensor.
fn safetensors_types(file: &mut BufReader<File>) -> std::io::Result<Vec<String>> {
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let header = file.take(u64::from_le_bytes(length).min(MAX_HEADER_BYTES));
    let tensors: BTreeMap<String, serde_json::Value> = serde_json::from_reader(header)?;
    let types = tensors.values().filter_map(|tensor| tensor.get("dtype")?.as_str());
    Ok(types.map(str::to_owned).collect())
}
