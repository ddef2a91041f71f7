//! Random weights of any size, for trying speed and memory where the released ones are not at hand.
//! Made tensor by tensor on the way to the disk.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::{Dtype, View};

use super::registry::{CONFIG_FILE, SAFETENSORS_FILE};
use crate::error::{Error, Result};
use crate::model::mapanything::Architecture;
use crate::model::mapanything::architecture::{FeedForward, TransformerSizes};
use crate::model::mapanything::tensors::{ExpectedTensor, VIEW_TABLE, expected_tensors};

/// How numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Single precision.
    F32,
    /// Half precision with the range of single precision.
    Bf16,
    /// IEEE half precision.
    F16,
}

impl Precision {
    pub(super) fn safetensors(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::Bf16 => Dtype::BF16,
            Self::F16 => Dtype::F16,
        }
    }

    fn bytes_per_value(self) -> usize {
        if self == Self::F32 { 4 } else { 2 }
    }

    pub(super) fn bytes(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::Bf16 => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
            Self::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
        }
    }
}

/// An architecture that users can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedArchitecture {
    /// Of `map-anything-v1`.
    V1,
    /// Of `map-anything`.
    V1_1,
    /// As `V1`, with a thousandth of its parameters.
    TinyV1,
    /// As `V1_1`, with a thousandth of its parameters.
    TinyV1_1,
}

/// Names, as users write them.
const NAMES: [(&str, NamedArchitecture); 4] = [
    ("v1", NamedArchitecture::V1),
    ("v1.1", NamedArchitecture::V1_1),
    ("tiny-v1", NamedArchitecture::TinyV1),
    ("tiny-v1.1", NamedArchitecture::TinyV1_1),
];

impl NamedArchitecture {
    /// Returns the architecture of this name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, architecture)| *architecture)
    }

    /// Returns its sizes.
    pub fn sizes(self) -> Architecture {
        match self {
            Self::V1 => Architecture::v1(),
            Self::V1_1 => Architecture::v11(),
            Self::TinyV1 => tiny(Architecture::v1(), FeedForward::Gelu { hidden: 256 }, 32),
            Self::TinyV1_1 => tiny(Architecture::v11(), FeedForward::SwiGlu { hidden: 96 }, 64),
        }
    }

    /// Returns the name of an architecture, or its main sizes where it has none.
    pub fn describe(architecture: &Architecture) -> String {
        let known = NAMES.iter().find(|(_, named)| named.sizes() == *architecture);
        known.map_or_else(|| sizes_in_words(architecture), |(name, _)| (*name).to_owned())
    }
}

fn sizes_in_words(architecture: &Architecture) -> String {
    let words = |sizes: &TransformerSizes| {
        format!("{} blocks of width {} with {} heads", sizes.depth, sizes.width, sizes.heads)
    };
    let (encoder, shared) = (words(&architecture.encoder), words(&architecture.info_sharing));
    format!("unnamed: encoder of {encoder}, multi-view transformer of {shared}")
}

/// The same network with everything narrow and shallow; widths are multiples of 32 so that all of
/// it can be quantised.
fn tiny(full: Architecture, feed_forward: FeedForward, shared_width: usize) -> Architecture {
    let small = |sizes: TransformerSizes, width, depth| TransformerSizes {
        width,
        depth,
        heads: width / 16,
        feed_forward,
        ..sizes
    };
    Architecture {
        encoder: small(full.encoder, 64, 4),
        info_sharing: small(full.info_sharing, shared_width, 8),
        hooks: [3, 5],
        ray_dirs_encoder: [20, 24, 32],
        depth_encoder: [20, 24, 32],
        global_encoders: [[16, 24, 32]; 4],
        level_widths: [12, 16, 24, 32],
        fusion_width: 32,
        regressor_widths: [16, 16],
        pose_width: 64,
        ..full
    }
}

/// Returns once `folder` holds `config.json` and `model.safetensors` with random weights of
/// `architecture`: the same ones for the same seed. `progress` is told the number of bytes that
/// were written so far, and of all.
///
/// Matrices have the variance that keeps that of their input, normalisations do nothing, so that
/// activations stay finite and outputs vary; what they show makes no sense.
///
/// # Errors
/// Where the files cannot be written.
pub fn write_random(
    folder: &Path,
    architecture: NamedArchitecture,
    precision: Precision,
    seed: u64,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<()> {
    let sizes = architecture.sizes();
    let tensors = expected_tensors(&sizes);
    let total = tensors.iter().map(|t| (t.len() * precision.bytes_per_value()) as u64).sum();
    let written = std::sync::atomic::AtomicU64::new(0);
    let count = |bytes: usize| {
        let before = written.fetch_add(bytes as u64, std::sync::atomic::Ordering::Relaxed);
        progress(before + bytes as u64, total);
    };
    let random = tensors.iter().map(|tensor| {
        (tensor.name.as_str(), RandomTensor { tensor, precision, seed, count: &count })
    });
    super::cache::create_folder(folder)?;
    write_safetensors(&folder.join(SAFETENSORS_FILE), random)?;
    write_config(folder, &super::config_json::of(&sizes))
}

/// Writes `config.json`.
pub(super) fn write_config(folder: &Path, config: &serde_json::Value) -> Result<()> {
    let path = folder.join(CONFIG_FILE);
    fs::write(&path, format!("{config:#}\n")).map_err(Error::io(&path, "write the configuration"))
}

/// Writes tensors, each made when its turn comes; the file appears whole or not at all.
pub(super) fn write_safetensors<'a, V: View>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, V)>,
) -> Result<()> {
    let partial = path.with_extension("partial");
    let write = || {
        // The writer goes by way of a temporary file that nobody else may read.
        let permissions = fs::File::create(&partial)?.metadata()?.permissions();
        let note = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        safetensors::serialize_to_file(tensors, Some(note), &partial)
            .map_err(|error| std::io::Error::other(error.to_string()))?;
        fs::set_permissions(&partial, permissions)?;
        fs::rename(&partial, path)
    };
    write().map_err(|error| unwritten(path, &partial, error))
}

/// The error of a file that could not be written, with nothing left of it.
pub(super) fn unwritten(path: &Path, partial: &Path, error: std::io::Error) -> Error {
    // What cannot be removed was never created; the first error is the one to report.
    let _ = fs::remove_file(partial);
    Error::io(path, "write the tensors")(error)
}

/// A tensor whose values are made when they are asked for.
struct RandomTensor<'a, F> {
    tensor: &'a ExpectedTensor,
    precision: Precision,
    seed: u64,
    count: &'a F,
}

impl<F: Fn(usize)> View for RandomTensor<'_, F> {
    fn dtype(&self) -> Dtype {
        self.precision.safetensors()
    }

    fn shape(&self) -> &[usize] {
        &self.tensor.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let bytes = self.precision.bytes(&values(self.tensor, self.seed));
        (self.count)(bytes.len());
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        self.tensor.len() * self.precision.bytes_per_value()
    }
}

/// Standard deviation of biases, tokens and positions.
const SMALL: f32 = 0.02;
/// The last layer of the dense head.
const OUTPUT_BIAS: &str = "dense_head.1.conv2.2.bias";
const OUTPUT_WEIGHT: &str = "dense_head.1.conv2.2.weight";
/// What the dense head says on average: a ray ahead, a depth of two (its logarithm), confidence,
/// and that most pixels are not ambiguous; so that there are points to work with.
const OUTPUTS: [f32; 6] = [0.0, 0.0, 2.0, 0.7, 0.0, 2.0];
/// How far it goes from there.
const OUTPUT_SPREAD: f32 = 0.3;

fn values(tensor: &ExpectedTensor, seed: u64) -> Vec<f32> {
    let name = tensor.name.as_str();
    let numbers = Numbers::new(name, seed);
    let is_norm = tensor.shape.len() == 1 && name.contains("norm");
    let value = |i: usize| match name {
        // The sinusoid at position zero.
        VIEW_TABLE => (i % 2) as f32,
        _ if is_norm => f32::from(name.ends_with(".weight")),
        OUTPUT_BIAS => OUTPUTS[i.min(5)],
        // LayerScale: from a hundredth to one.
        _ if name.ends_with(".gamma") => 10f32.powf(-2.0 * numbers.uniform(i)),
        _ if tensor.shape.len() == 1 || name.starts_with("encoder.model.cls") => {
            SMALL * numbers.bell(i)
        }
        _ if name.ends_with(".pos_embed") => SMALL * numbers.bell(i),
        OUTPUT_WEIGHT => OUTPUT_SPREAD * numbers.bell(i) / (inputs(tensor) as f32).sqrt(),
        _ => numbers.bell(i) / (inputs(tensor) as f32).sqrt(),
    };
    (0..tensor.len()).into_par_iter().map(value).collect()
}

/// How many values add up to one of the result.
fn inputs(tensor: &ExpectedTensor) -> usize {
    // The two transposed convolutions: each pixel of the result comes from one of the input.
    let enlarging = ["input_process.0.0.1.weight", "input_process.1.0.1.weight"];
    if enlarging.iter().any(|end| tensor.name.ends_with(end)) {
        return tensor.shape[0];
    }
    tensor.shape[1..].iter().product()
}

/// Random numbers by position, so that it does not matter who makes which when.
struct Numbers(u64);

impl Numbers {
    fn new(name: &str, seed: u64) -> Self {
        Self(name.bytes().fold(mix(seed), |state, byte| mix(state ^ u64::from(byte))))
    }

    fn bits(&self, position: usize) -> u64 {
        mix(self.0.wrapping_add(position as u64))
    }

    /// 0 to 1.
    fn uniform(&self, position: usize) -> f32 {
        (self.bits(position) >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Mean 0, variance 1: the sum of four uniform numbers is nearly normal, and never far out.
    fn bell(&self, position: usize) -> f32 {
        let bits = self.bits(position);
        let sum: u64 = (0..4).map(|part| (bits >> (16 * part)) & 0xFFFF).sum();
        (sum as f32 / 65536.0 - 2.0) * 3f32.sqrt()
    }
}

/// The step of the generator SplitMix64 (Steele, Lea and Flood, 2014).
fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
