//! Recorded runs of the reference beside the same on the GPU.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device};
use recon_node::model::dust3r::{Network, parity as family};
use recon_node::model::mapanything::parity::{Case, Comparison, Limits, compare};
use recon_node::model::mapanything::{LoadOptions, MapAnything};
use recon_node::model::nn;

use super::table::markdown;

/// By how much f32 limits are wider than on the CPU: a GPU adds in other orders.
const F32_ALLOWANCE: f64 = 4.0;

/// How far the family's results may be off in bf16, of their largest number. It rounds to 2^-9, a
/// dozen blocks and a head one after the other.
const FAMILY_BF16_LIMIT: f64 = 0.05;

/// How far one case is off.
pub struct Parity {
    case: String,
    f32: Nearest,
    bf16: Nearest,
}

/// The result that comes nearest to its limit, or is the furthest beyond it.
struct Nearest {
    name: String,
    error: f64,
    limit: f64,
}

impl Nearest {
    fn of(comparisons: Vec<Comparison>, allowance: f64) -> Result<Self> {
        let judged = comparisons.into_iter().filter_map(|c| {
            let limit = c.limit? * allowance;
            Some(Self { name: c.name, error: c.error, limit })
        });
        let nearest = judged.max_by(|a, b| a.share().total_cmp(&b.share()));
        nearest.context("the case holds nothing to compare with")
    }

    /// A NaN counts as infinitely far.
    fn share(&self) -> f64 {
        let share = self.error / self.limit;
        if share.is_nan() { f64::INFINITY } else { share }
    }

    fn cells(&self) -> [String; 2] {
        [format!("{:.1e} of {:.0e}", self.error, self.limit), self.name.clone()]
    }
}

impl Parity {
    /// Returns whether all errors are within their limits.
    pub fn passed(&self) -> bool {
        self.f32.share() <= 1.0 && self.bf16.share() <= 1.0
    }

    fn row(&self) -> Vec<String> {
        let verdict = if self.passed() { "yes" } else { "**NO**" };
        let ([f32, f32_name], [bf16, bf16_name]) = (self.f32.cells(), self.bf16.cells());
        vec![self.case.clone(), f32, f32_name, bf16, bf16_name, verdict.to_owned()]
    }
}

/// Returns the table of all cases.
pub fn table(cases: &[Parity]) -> String {
    let heads = ["case", "f32, nearest to its limit", "of", "bf16", "of", "within limits"];
    markdown(&heads, &cases.iter().map(Parity::row).collect::<Vec<_>>())
}

/// Returns how far every case in `folder` is off: a model and a safetensors file for each case.
pub fn check(device: &Device, folder: &Path) -> Result<Vec<Parity>> {
    let files = case_files(folder)?;
    ensure!(!files.is_empty(), "{}: there is no case", folder.display());
    let load = |dtype| Model::open(folder, device, dtype);
    let (exact, rounded) = (load(DType::F32)?, load(DType::BF16)?);
    let check = |file: &PathBuf| {
        nn::set_precision(DType::F32);
        let f32 = Nearest::of(exact.compare(file, Limits::Absolute)?, F32_ALLOWANCE)?;
        nn::set_precision(DType::BF16);
        let bf16 = Nearest::of(rounded.compare(file, Limits::Reduced)?, 1.0)?;
        let name = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        Ok(Parity { case: name.unwrap_or_default(), f32, bf16 })
    };
    files.iter().map(check).collect()
}

/// What a folder holds.
enum Model {
    MapAnything(Box<MapAnything>),
    Family(Box<Network>),
}

impl Model {
    fn open(folder: &Path, device: &Device, dtype: DType) -> Result<Self> {
        if let Ok(network) = Network::open(folder, device, dtype) {
            return Ok(Self::Family(Box::new(network)));
        }
        let options = LoadOptions { device: device.clone(), dtype, allow_surplus: false };
        Ok(Self::MapAnything(Box::new(MapAnything::open(folder, &options)?)))
    }

    fn compare(&self, file: &Path, limits: Limits) -> Result<Vec<Comparison>> {
        Ok(match (self, limits) {
            (Self::MapAnything(model), _) => compare(model, &Case::open(file)?, limits)?,
            (Self::Family(network), Limits::Reduced) => {
                family::compare(network, file, FAMILY_BF16_LIMIT)?
            }
            (Self::Family(network), _) => family::compare(network, file, family::LIMIT)?,
        })
    }
}

/// Returns the files of cases, sorted by name: all but the weights and the encoder's own vectors.
fn case_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("{}: the folder cannot be read", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let is_case = |path: &PathBuf| {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let stem = stem.unwrap_or_default();
        path.extension().is_some_and(|extension| extension == "safetensors")
            && stem != "model"
            && !stem.starts_with("encoder")
    };
    let mut cases: Vec<_> = paths.into_iter().filter(is_case).collect();
    cases.sort();
    Ok(cases)
}
