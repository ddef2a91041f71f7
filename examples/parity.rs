//! Compares a model with a recorded run of the reference implementation: MapAnything, DUSt3R,
//! MASt3R or Fast3R, as the weights tell.
//!
//!     cargo run --release --example parity -- MODEL_DIR CASE.safetensors
//!
//! Prints the worst error of every recorded tensor beside its limit, and a summary in one line.
//! Exits with 1 where a limit is broken, with 2 where nothing could be compared.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a program")]

use std::path::PathBuf;
use std::process::ExitCode;

use candle_core::{DType, Device};
use clap::{Parser, ValueEnum};
use recon_node::model::dust3r::{Network, parity as family};
use recon_node::model::mapanything::parity::{Case, Comparison, Limits, compare};
use recon_node::model::mapanything::{Ignored, LoadOptions, MapAnything};

/// Compares a model with a recorded run of the reference implementation.
#[derive(Parser)]
struct Arguments {
    /// Folder with model.safetensors (or model.gguf) and config.json, or a .pth file.
    model: PathBuf,
    /// Recorded case: inputs, intermediate results and outputs of one call.
    case: PathBuf,
    /// Where to compute.
    #[arg(long, value_enum, default_value = "cpu")]
    device: DeviceName,
    /// Type of the transformers' matrices. With 16 bits only depth (2 %) and scale (1 %) are
    /// judged.
    #[arg(long, value_enum, default_value = "f32")]
    dtype: TypeName,
    /// Do not let limits grow with the magnitude of what is compared.
    #[arg(long)]
    strict: bool,
    /// Multiply all limits.
    #[arg(long, default_value_t = 1.0)]
    tolerance: f64,
    /// Views whose depth and pose are not metric, where no manifest says so.
    #[arg(long, value_name = "VIEW")]
    not_metric: Vec<usize>,
    /// Inputs that the reference ignored, where no manifest says so.
    #[arg(long, value_enum, value_name = "INPUT")]
    ignore: Vec<InputName>,
    /// Pass over tensors that the network does not have.
    #[arg(long)]
    allow_surplus: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum DeviceName {
    Cpu,
    Cuda,
}

#[derive(Clone, Copy, ValueEnum)]
enum TypeName {
    F32,
    Bf16,
    F16,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum InputName {
    Calibration,
    Depth,
    Pose,
    DepthScale,
    PoseScale,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let device = match arguments.device {
        DeviceName::Cpu => Device::Cpu,
        DeviceName::Cuda => Device::new_cuda(0)?,
    };
    let (dtype, limits) = match arguments.dtype {
        TypeName::Bf16 => (DType::BF16, Limits::Reduced),
        TypeName::F16 => (DType::F16, Limits::Reduced),
        TypeName::F32 if arguments.strict => (DType::F32, Limits::Absolute),
        TypeName::F32 => (DType::F32, Limits::Scaled),
    };
    if let Ok(network) = Network::open(&arguments.model, &device, dtype) {
        let limit = family::LIMIT * arguments.tolerance;
        let comparisons = family::compare(&network, &arguments.case, limit)?;
        print(&comparisons);
        return verdict(&comparisons);
    }
    let options = LoadOptions { device, dtype, allow_surplus: arguments.allow_surplus };
    let case = open_case(arguments)?;
    let model = MapAnything::open(&arguments.model, &options)?;
    let limits = if model.is_quantized() { Limits::Reduced } else { limits };
    let mut comparisons = compare(&model, &case, limits)?;
    for comparison in &mut comparisons {
        comparison.limit = comparison.limit.map(|limit| limit * arguments.tolerance);
    }
    print(&comparisons);
    name_the_rest(&case, &comparisons);
    verdict(&comparisons)
}

fn verdict(comparisons: &[Comparison]) -> anyhow::Result<bool> {
    let broken = comparisons.iter().filter(|c| !c.holds()).count();
    summarise(comparisons, broken);
    anyhow::ensure!(!comparisons.is_empty(), "the case holds no result to compare with");
    Ok(broken == 0)
}

fn open_case(arguments: &Arguments) -> anyhow::Result<Case> {
    let mut case = Case::open(&arguments.case)?;
    arguments.not_metric.iter().for_each(|&view| case.set_not_metric(view));
    let told = |input: InputName| arguments.ignore.contains(&input);
    case.also_ignore(Ignored {
        calibration: told(InputName::Calibration),
        depth: told(InputName::Depth),
        pose: told(InputName::Pose),
        depth_scale: told(InputName::DepthScale),
        pose_scale: told(InputName::PoseScale),
    });
    Ok(case)
}

fn print(comparisons: &[Comparison]) {
    let width = comparisons.iter().map(|c| c.name.len()).max().unwrap_or(0);
    println!("{:width$}  {:>10}  {:>10}", "tensor", "error", "limit");
    for c in comparisons {
        let limit = c.limit.map_or("-".to_owned(), |limit| format!("{limit:.2e}"));
        let verdict = if c.holds() { "" } else { "  BROKEN" };
        println!("{:width$}  {:>10.2e}  {limit:>10}{verdict}", c.name, c.error);
    }
}

/// Results without a counterpart: what the reference computes for inputs that are absent, and what
/// is not known here.
fn name_the_rest(case: &Case, comparisons: &[Comparison]) {
    let results = case.results();
    let is_rest = |name: &&str| !comparisons.iter().any(|c| c.name == *name);
    let rest: Vec<&str> = results.iter().map(|r| r.name.as_str()).filter(is_rest).collect();
    if !rest.is_empty() {
        println!("not compared: {}", rest.join(", "));
    }
}

fn summarise(comparisons: &[Comparison], broken: usize) {
    let share = |c: &Comparison| c.limit.map(|limit| c.error / limit);
    let worst = comparisons
        .iter()
        .filter_map(|c| Some((share(c)?, c)))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(share, c)| format!(", nearest to its limit: {} at {:.0} %", c.name, 100.0 * share))
        .unwrap_or_default();
    let verdict = if broken == 0 { "PASS" } else { "FAIL" };
    println!("{verdict}: {} tensors compared, {broken} limits broken{worst}", comparisons.len());
}
