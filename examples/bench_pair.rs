//! Times the networks of DUSt3R, MASt3R and Fast3R on given weights;
//! `benches/compare_pytorch_pairs.py` drives it.
//!
//! It waits for commands on standard input: `run` answers with the seconds of encoder and rest and
//! the peak memory in bytes, `save FILE` with the outputs of one more run in a safetensors file,
//! `graph N` with the seconds of all pairs of N images, each image encoded once and each encoded
//! anew for each of its pairs.

#![allow(clippy::print_stdout)]

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use clap::Parser;
use recon_node::model::dust3r::{Encoded, ImageIds, ImagePlanes, Network, ViewMaps};

/// Time a network of the family.
#[derive(Parser)]
struct Args {
    /// Folder with weights, or a .pth file
    #[arg(long)]
    weights: PathBuf,
    #[arg(long, default_value_t = 512)]
    width: usize,
    #[arg(long, default_value_t = 384)]
    height: usize,
    /// Views of Fast3R; the others see two
    #[arg(long, default_value_t = 2)]
    views: usize,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let network = Network::open(&args.weights, &Device::Cpu, DType::F32)?;
    let images = (0..args.views).map(|view| image(&args, view)).collect::<Result<Vec<_>, _>>()?;
    let mut out = std::io::stdout();
    writeln!(out, "ready")?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_once(' ') {
            None if line == "run" => {
                let (_, [encoder, rest]) = run(&network, &images)?;
                writeln!(out, "{encoder} {rest} {}", peak_bytes())?;
            }
            Some(("graph", count)) => {
                let [once, anew] = graph(&args, &network, count.parse()?)?;
                writeln!(out, "{once} {anew}")?;
            }
            Some(("save", file)) => {
                candle_core::safetensors::save(&tensors(&run(&network, &images)?.0)?, file)?;
                writeln!(out, "saved")?;
            }
            _ => anyhow::bail!("no such command: {line}"),
        }
    }
    Ok(())
}

/// An image that `compare_pytorch_pairs.py` makes by the same formula.
fn image(args: &Args, view: usize) -> recon_node::error::Result<ImagePlanes> {
    let mut values = Vec::with_capacity(3 * args.width * args.height);
    for c in 0..3 {
        for y in 0..args.height {
            for x in 0..args.width {
                let value = (7 * x + 13 * y + 31 * c + 57 * view + x * y % 97) % 256;
                values.push(value as f32 / 127.5 - 1.0);
            }
        }
    }
    ImagePlanes::new(args.width, args.height, values)
}

/// One inference, with the seconds of the encoder and of all that follows.
fn run(network: &Network, images: &[ImagePlanes]) -> anyhow::Result<(Vec<ViewMaps>, [f64; 2])> {
    let start = Instant::now();
    let (maps, middle) = match network {
        Network::Pair(network) => {
            let both = network.encode(&images.iter().take(2).collect::<Vec<_>>())?;
            let middle = Instant::now();
            let maps = network.pair(&both.view(0)?, &both.view(1)?)?;
            (vec![maps.first, maps.second], middle)
        }
        Network::Fast3r(network) => {
            let encoded = images.iter().map(|image| network.encode(image));
            let encoded = encoded.collect::<Result<Vec<_>, _>>()?;
            let middle = Instant::now();
            let views: Vec<&Encoded> = encoded.iter().collect();
            let ids = ImageIds::Given((0..views.len()).collect());
            let views = network.infer(&views, &ids)?;
            let (common, own): (Vec<_>, Vec<_>) =
                views.into_iter().map(|view| (view.global, view.local)).unzip();
            (common.into_iter().chain(own.into_iter().flatten()).collect(), middle)
        }
    };
    Ok((maps, [(middle - start).as_secs_f64(), middle.elapsed().as_secs_f64()]))
}

/// Seconds of all pairs of some images in both orders: with each image encoded once, as `recon sfm`
/// does, and with each encoded for each of its pairs.
fn graph(args: &Args, network: &Network, count: usize) -> anyhow::Result<[f64; 2]> {
    let Network::Pair(network) = network else { anyhow::bail!("Fast3R sees all views at once") };
    let images = (0..count).map(|view| image(args, view)).collect::<Result<Vec<_>, _>>()?;
    let pairs = || (0..count).flat_map(|i| (i + 1..count).map(move |j| (i, j)));
    let start = Instant::now();
    let encoded = images.iter().map(|image| network.encode(&[image]));
    let encoded = encoded.collect::<Result<Vec<_>, _>>()?;
    let kept: Vec<_> = pairs()
        .map(|(i, j)| network.symmetric(&encoded[i], &encoded[j]))
        .collect::<Result<_, _>>()?;
    let once = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let anew: Vec<_> = pairs()
        .map(|(i, j)| {
            network.symmetric(&network.encode(&[&images[i]])?, &network.encode(&[&images[j]])?)
        })
        .collect::<Result<_, _>>()?;
    anyhow::ensure!(kept == anew, "tokens that are kept change what is said of pairs");
    Ok([once, start.elapsed().as_secs_f64()])
}

fn tensors(maps: &[ViewMaps]) -> anyhow::Result<HashMap<String, Tensor>> {
    let mut tensors = HashMap::new();
    for (i, maps) in maps.iter().enumerate() {
        let (width, height) = (maps.points.width(), maps.points.height());
        let points: Vec<f32> = maps.points.values().iter().flat_map(|p| [p.x, p.y, p.z]).collect();
        let points = Tensor::from_vec(points, (height, width, 3), &Device::Cpu)?;
        tensors.insert(format!("points{i}"), points);
        let confidence = maps.confidence.values();
        let confidence = Tensor::from_slice(confidence, (height, width), &Device::Cpu)?;
        tensors.insert(format!("confidence{i}"), confidence);
        if let Some(grid) = &maps.descriptors {
            let size = (height, width, grid.dim);
            let descriptors = Tensor::from_slice(&grid.values, size, &Device::Cpu)?;
            tensors.insert(format!("descriptors{i}"), descriptors);
        }
    }
    Ok(tensors)
}

/// The largest memory that this process has had.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    1024 * kilobytes.unwrap_or(0)
}
