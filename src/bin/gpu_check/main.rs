//! Checks and times inference on an NVIDIA GPU; `scripts/gpu_check` runs it.
//!
//!     gpu_check [--device cuda:N] [--fixtures FOLDER]... [--skip-timing] [--json FILE]
//!
//! Prints Markdown: every kernel of ours beside the plain path, the fixtures' cases beside the
//! reference, then the times of both released architectures with random weights. Ends with status 1
//! where a limit is broken.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a program")]

mod chip;
mod kernels;
mod pairs;
mod parity;
mod table;
mod timing;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use candle_core::DType;
use clap::Parser;
use recon_node::model::nn;

/// Checks and times inference on an NVIDIA GPU.
#[derive(Parser)]
struct Arguments {
    /// The GPU: cuda or cuda:NUMBER.
    #[arg(long, default_value = "cuda")]
    device: String,
    /// Folders with a small model and the reference's results for it.
    #[arg(long)]
    fixtures: Vec<PathBuf>,
    /// Leave out the timing tables.
    #[arg(long)]
    skip_timing: bool,
    /// Write the times to this file as well.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    let device = nn::device(&arguments.device)?.device;
    anyhow::ensure!(device.is_cuda(), "device '{}' is no GPU", arguments.device);
    let chip = chip::Chip::of(&device)?;
    println!("GPU: {}\n", chip.name);

    nn::set_precision(DType::F32);
    let checks = kernels::check(&device)?;
    println!("### Kernels beside the plain path\n\n{}", kernels::table(&checks));
    let mut passed = checks.iter().all(kernels::Check::passed);

    for folder in &arguments.fixtures {
        let cases = parity::check(&device, folder)?;
        println!("### {} beside the reference\n\n{}", folder.display(), parity::table(&cases));
        passed &= cases.iter().all(parity::Parity::passed);
    }
    if arguments.fixtures.is_empty() {
        println!("No fixtures were given: nothing was compared with the reference.\n");
    }
    println!("{}\n", if passed { "All limits are kept." } else { "A LIMIT IS BROKEN." });

    if !arguments.skip_timing {
        let times = timing::measure(&device)?;
        println!("### Inference, random weights, 518x392, bf16, images only\n");
        println!("{}", timing::table(&times, &chip));
        let pairs = pairs::measure(&device)?;
        println!("### DUSt3R, MASt3R and Fast3R, random weights, 512x384, bf16\n");
        println!("{}", pairs::table(&pairs));
        if let Some(path) = &arguments.json {
            std::fs::write(path, timing::json(&times, &pairs)?)
                .with_context(|| format!("{}: cannot be written", path.display()))?;
        }
    }
    Ok(passed)
}
