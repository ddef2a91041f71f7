//! Times the network of MapAnything on random weights; `benches/compare_pytorch.py` drives it.

#![allow(clippy::print_stdout)]

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use candle_core::{DType, Device, Tensor};
use clap::Parser;
use recon_node::model::mapanything::Checkpoint;
use recon_node::model::mapanything::encoder::EncodedViews;
use recon_node::model::mapanything::fusion::ViewPriors;
use recon_node::model::mapanything::network::{Network, RawOutput};
use recon_node::model::mapanything::taps::Taps;
use recon_node::model::nn::cpu::simd::Level;
use recon_node::model::weights::{NamedArchitecture, Precision, write_random};

/// Time the network of MapAnything, images only.
///
/// With --serve it waits for commands on standard input: `run` answers with the seconds of encoder
/// and rest, `save FILE` with the outputs of one more run in a safetensors file.
#[derive(Parser)]
struct Args {
    /// Folder with weights; random ones of --arch are written there if it does not exist
    #[arg(long)]
    weights: PathBuf,
    /// Architecture of random weights: v1, v1.1, tiny-v1 or tiny-v1.1
    #[arg(long, default_value = "v1")]
    arch: String,
    /// Type that matrices are held in: f32, bf16 or f16; GGUF files decide for themselves
    #[arg(long, default_value = "f32")]
    dtype: String,
    #[arg(long, default_value_t = 224)]
    width: usize,
    #[arg(long, default_value_t = 168)]
    height: usize,
    #[arg(long, default_value_t = 2)]
    views: usize,
    /// Runs, of which the fastest is reported
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only write the weights
    #[arg(long)]
    only_weights: bool,
    /// Time a window of which all views but one were encoded before
    #[arg(long)]
    cached: bool,
    /// Compare depth and scale with those of these weights, held as f32
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Take commands from standard input
    #[arg(long)]
    serve: bool,
    /// Use no better instructions than these, where the processor has better ones
    #[arg(long, value_enum)]
    simd: Option<Simd>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Simd {
    Portable,
    Avx2,
    Avx512,
}

impl Simd {
    fn level(self) -> Level {
        match self {
            Self::Portable => Level::Portable,
            Self::Avx2 => Level::Avx2,
            Self::Avx512 => Level::Avx512,
        }
    }
}

struct Bench {
    network: Network,
    images: Tensor,
}

/// Seconds of the encoder and of all that follows.
type Seconds = [f64; 2];

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(simd) = args.simd {
        simd.level().limit();
    }
    if !args.weights.exists() {
        let arch = NamedArchitecture::named(&args.arch).context("no such architecture")?;
        write_random(&args.weights, arch, Precision::F32, 1, &|_, _| {})?;
    }
    if args.only_weights {
        return Ok(());
    }
    let started = Instant::now();
    let dtype = match args.dtype.as_str() {
        "bf16" => DType::BF16,
        "f16" => DType::F16,
        _ => DType::F32,
    };
    let bench = Bench::new(&args, &args.weights, dtype)?;
    if args.serve {
        return serve(&bench);
    }
    println!("loaded in {:.2} s", started.elapsed().as_secs_f64());
    match &args.against {
        Some(folder) => compare(&bench, &Bench::new(&args, folder, DType::F32)?),
        None if args.cached => cached(&bench, args.rounds),
        None => report(&bench, args.rounds),
    }
}

impl Bench {
    fn new(args: &Args, weights: &std::path::Path, dtype: DType) -> anyhow::Result<Self> {
        let checkpoint = Checkpoint::open(weights, (&Device::Cpu, dtype), false)?;
        let network = Network::load(&checkpoint.weights, &checkpoint.architecture)?;
        Ok(Self { network, images: images(args)? })
    }

    fn rest(&self, encoded: &EncodedViews) -> anyhow::Result<RawOutput> {
        let priors = vec![ViewPriors::default(); encoded.len()];
        Ok(self.network.infer(encoded, &priors, 1, &Taps::off())?)
    }

    fn run(&self) -> anyhow::Result<(RawOutput, Seconds)> {
        let start = Instant::now();
        let encoded = self.network.encode(&self.images, &Taps::off())?;
        let middle = Instant::now();
        let output = self.rest(&encoded)?;
        Ok((output, [(middle - start).as_secs_f64(), middle.elapsed().as_secs_f64()]))
    }
}

/// Images that `compare_pytorch.py` makes by the same formula.
fn images(args: &Args) -> anyhow::Result<Tensor> {
    let mut values = Vec::with_capacity(args.views * args.height * args.width * 3);
    for view in 0..args.views {
        for y in 0..args.height {
            for x in 0..args.width {
                let value = |c: usize| (7 * x + 13 * y + 31 * c + 57 * view + x * y % 97) % 256;
                values.extend([0, 1, 2].map(|c| value(c) as f32 / 127.5 - 1.0));
            }
        }
    }
    Ok(Tensor::from_vec(values, (args.views, args.height, args.width, 3), &Device::Cpu)?)
}

fn serve(bench: &Bench) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "ready")?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_once(' ') {
            None if line == "run" => {
                let (_, [encoder, rest]) = bench.run()?;
                writeln!(out, "{encoder} {rest} {}", peak_bytes())?;
            }
            Some(("save", file)) => {
                let (output, _) = bench.run()?;
                let tensors =
                    [("dense", output.dense), ("pose", output.pose), ("scale", output.scale)];
                let tensors: HashMap<_, _> = tensors.into_iter().collect();
                candle_core::safetensors::save(&tensors, file)?;
                writeln!(out, "saved")?;
            }
            _ => anyhow::bail!("no such command: {line}"),
        }
    }
    Ok(())
}

fn report(bench: &Bench, rounds: usize) -> anyhow::Result<()> {
    let mut best: Seconds = [f64::INFINITY; 2];
    for _ in 0..rounds {
        let (_, seconds) = bench.run()?;
        best = std::array::from_fn(|i| best[i].min(seconds[i]));
    }
    println!(
        "encoder {:.3} s, rest {:.3} s, together {:.3} s",
        best[0],
        best[1],
        best[0] + best[1]
    );
    println!("peak memory {:.2} GB", peak_bytes() as f64 / 1e9);
    Ok(())
}

/// A window moves on by one view: with its tokens kept, only that view is encoded.
fn cached(bench: &Bench, rounds: usize) -> anyhow::Result<()> {
    let all = bench.network.encode(&bench.images, &Taps::off())?;
    let views = all.len();
    let kept = (0..views - 1).map(|i| all.view(i)).collect::<Result<Vec<_>, _>>()?;
    let newest = bench.images.narrow(0, views - 1, 1)?;
    let (mut anew, mut by_cache) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..rounds {
        let (_, seconds) = bench.run()?;
        anew = anew.min(seconds[0] + seconds[1]);
        let start = Instant::now();
        let newest = bench.network.encode(&newest, &Taps::off())?;
        let mut window: Vec<&EncodedViews> = kept.iter().collect();
        window.push(&newest);
        bench.rest(&EncodedViews::cat(&window)?)?;
        by_cache = by_cache.min(start.elapsed().as_secs_f64());
    }
    println!(
        "{views} views, all encoded: {anew:.3} s; {} of them kept: {by_cache:.3} s",
        views - 1
    );
    println!("gain {:.2}", anew / by_cache);
    Ok(())
}

/// Differences of the metric depth along rays, relative.
fn compare(bench: &Bench, other: &Bench) -> anyhow::Result<()> {
    let depths = |bench: &Bench| -> anyhow::Result<(Vec<f32>, f32)> {
        let (output, _) = bench.run()?;
        let scale = output.scale.exp()?.flatten_all()?.to_vec1::<f32>()?;
        Ok((output.dense.narrow(3, 3, 1)?.exp()?.flatten_all()?.to_vec1()?, scale[0]))
    };
    let ((found, scale), (expected, other_scale)) = (depths(bench)?, depths(other)?);
    let mut errors: Vec<f32> =
        found.iter().zip(&expected).map(|(a, b)| (a - b).abs() / b).collect();
    errors.sort_by(f32::total_cmp);
    let mean = errors.iter().sum::<f32>() / errors.len() as f32;
    let at = |share: f64| 100.0 * errors[((errors.len() - 1) as f64 * share) as usize];
    println!(
        "depth differs by {:.4} % on average, {:.4} % at the 95th percentile, {:.4} % at most",
        100.0 * mean,
        at(0.95),
        at(1.0)
    );
    println!("scale differs by {:.4} %", 100.0 * (scale / other_scale - 1.0).abs());
    Ok(())
}

/// The most memory that this process ever had, where the system tells.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    1024 * kilobytes.unwrap_or(0)
}
