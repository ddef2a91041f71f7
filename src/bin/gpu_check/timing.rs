//! Times of whole networks with random weights.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use recon_node::model::mapanything::architecture::Architecture;
use recon_node::model::mapanything::fusion::ViewPriors;
use recon_node::model::mapanything::network::Network;
use recon_node::model::mapanything::taps::Taps;
use recon_node::model::mapanything::tensors::expected_tensors;
use recon_node::model::nn::{self, Weights, cuda};
use serde::Serialize;

use super::chip::Chip;
use super::pairs;
use super::table::markdown;
use super::work::tflop;

const HEIGHT: usize = 392;
const WIDTH: usize = 518;
const VIEWS: [usize; 6] = [1, 2, 4, 8, 16, 24];
/// Views that the dense head sees at once.
const HEAD_VIEWS: usize = 8;
/// Runs of each size: at least three, then until two seconds have gone by.
const RUNS: usize = 3;
const SECONDS: f64 = 2.0;

/// One size of one architecture.
#[derive(Serialize)]
pub struct Time {
    arch: &'static str,
    views: usize,
    /// The least of all runs, from images on the GPU to results in main memory; `None` where the
    /// GPU's memory did not suffice.
    ms: Option<f64>,
    peak_bytes: u64,
    tflop: f64,
}

/// Returns the times of both architectures.
pub fn measure(device: &Device) -> Result<Vec<Time>> {
    nn::set_precision(DType::BF16);
    let mut times = Vec::new();
    for (arch, architecture) in architectures() {
        let network = random_network(device, &architecture)?;
        cuda::take_peak_memory(device)?;
        for views in VIEWS {
            let ms = time(device, &network, views);
            times.push(Time {
                arch,
                views,
                ms: ms.map_err(|error| println!("{arch}, {views} views: {error:#}\n")).ok(),
                peak_bytes: cuda::take_peak_memory(device)?,
                tflop: tflop(&architecture, views, (HEIGHT, WIDTH)),
            });
        }
    }
    Ok(times)
}

/// Returns the table of the times.
pub fn table(times: &[Time], chip: &Chip) -> String {
    let row = |time: &Time| {
        let per_ms = |f: &dyn Fn(f64) -> String| time.ms.map_or("-".to_owned(), f);
        vec![
            time.arch.to_owned(),
            time.views.to_string(),
            per_ms(&|ms| format!("{ms:.1}")),
            per_ms(&|ms| format!("{:.1}", time.views as f64 / ms * 1e3)),
            format!("{:.2}", time.peak_bytes as f64 / 1e9),
            format!("{:.2}", time.tflop),
            per_ms(&|ms| {
                let rate = time.tflop / ms * 1e3;
                chip.peak_tflops
                    .map_or("-".to_owned(), |peak| format!("{:.0} %", 100.0 * rate / peak))
            }),
        ]
    };
    let heads = ["arch", "views", "ms", "views/s", "peak GB", "TFLOP", "of bf16 peak"];
    markdown(&heads, &times.iter().map(row).collect::<Vec<_>>())
}

/// Returns the times as JSON, with the shapes of all weights, from which `benches/gpu_pytorch.py`
/// makes the same networks.
pub fn json(times: &[Time], pairs: &[pairs::Time]) -> Result<String> {
    let shapes = architectures().map(|(arch, architecture)| {
        let tensors = expected_tensors(&architecture);
        let shapes: BTreeMap<_, _> = tensors.into_iter().map(|t| (t.name, t.shape)).collect();
        (arch, shapes)
    });
    let report = serde_json::json!({
        "times": times,
        "shapes": BTreeMap::from(shapes),
        "pairs": { "times": pairs, "shapes": pairs::shapes() },
    });
    Ok(serde_json::to_string_pretty(&report)?)
}

fn architectures() -> [(&'static str, Architecture); 2] {
    [("v1", Architecture::v1()), ("v1.1", Architecture::v11())]
}

fn random_network(device: &Device, architecture: &Architecture) -> Result<Network> {
    let mut tensors = HashMap::new();
    for tensor in expected_tensors(architecture) {
        // Gains of norms and scales of layers are vectors "weight" and "gamma".
        let is_gain = tensor.shape.len() == 1 && !tensor.name.ends_with("bias");
        let value = match is_gain {
            true => Tensor::ones(tensor.shape.as_slice(), DType::F32, device)?,
            false => Tensor::randn(0f32, 0.02, tensor.shape.as_slice(), device)?,
        };
        tensors.insert(tensor.name, value);
    }
    Ok(Network::load(&Weights::new(tensors, DType::BF16), architecture)?)
}

fn time(device: &Device, network: &Network, views: usize) -> Result<f64> {
    let images = Tensor::randn(0f32, 1.0, (views, HEIGHT, WIDTH, 3), device)?;
    let priors = vec![ViewPriors::default(); views];
    let run = || -> Result<f64> {
        device.synchronize()?;
        let start = Instant::now();
        let taps = Taps::off();
        let encoded = network.encode(&images, &taps)?;
        let output = network.infer(&encoded, &priors, HEAD_VIEWS, &taps)?;
        for result in [&output.dense, &output.pose, &output.scale] {
            result.to_device(&Device::Cpu)?;
        }
        Ok(start.elapsed().as_secs_f64() * 1e3)
    };
    best_ms(run)
}

/// Returns the least of what several runs say, after two to warm up.
pub fn best_ms(run: impl Fn() -> Result<f64>) -> Result<f64> {
    run()?;
    run()?;
    let (start, mut best, mut runs) = (Instant::now(), f64::INFINITY, 0);
    while runs < RUNS || start.elapsed().as_secs_f64() < SECONDS {
        best = best.min(run()?);
        runs += 1;
    }
    Ok(best)
}
