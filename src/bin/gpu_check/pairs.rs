//! Times of DUSt3R's, MASt3R's and Fast3R's networks at their released sizes, with random weights.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use recon_node::model::dust3r::tensors::FamilySizes;
use recon_node::model::dust3r::{
    Checkpoint, Encoded, Family, FamilyConfig, Fast3rNetwork, ImageIds, ImagePlanes, Network,
    PairNetwork,
};
use recon_node::model::nn::{self, Weights, cuda};
use serde::Serialize;

use super::table::markdown;
use super::timing::best_ms;

const HEIGHT: usize = 384;
const WIDTH: usize = 512;

/// What is timed: one pair in one order for the networks that see pairs.
const CASES: [(Family, usize); 6] = [
    (Family::Dust3r, 2),
    (Family::Mast3r, 2),
    (Family::Fast3r, 2),
    (Family::Fast3r, 4),
    (Family::Fast3r, 8),
    (Family::Fast3r, 16),
];

/// One network with one number of views.
#[derive(Serialize)]
pub struct Time {
    model: &'static str,
    views: usize,
    /// The least of all runs, from images in main memory to results there; `None` where the GPU's
    /// memory did not suffice.
    ms: Option<f64>,
    peak_bytes: u64,
}

/// Returns the times of all networks.
pub fn measure(device: &Device) -> Result<Vec<Time>> {
    nn::set_precision(DType::BF16);
    let mut times = Vec::new();
    for family in [Family::Dust3r, Family::Mast3r, Family::Fast3r] {
        let network = random_network(device, family)?;
        for (_, views) in CASES.into_iter().filter(|(of, _)| *of == family) {
            cuda::take_peak_memory(device)?;
            let ms = time(&network, views);
            let model = family.name();
            times.push(Time {
                model,
                views,
                ms: ms.map_err(|error| println!("{model}, {views} views: {error:#}\n")).ok(),
                peak_bytes: cuda::take_peak_memory(device)?,
            });
        }
    }
    Ok(times)
}

/// Returns the table of the times.
pub fn table(times: &[Time]) -> String {
    let row = |time: &Time| {
        let cell =
            |f: &dyn Fn(f64) -> f64| time.ms.map_or("-".to_owned(), |ms| format!("{:.1}", f(ms)));
        let views_per_second = cell(&|ms| time.views as f64 / ms * 1e3);
        let peak = format!("{:.2}", time.peak_bytes as f64 / 1e9);
        vec![time.model.to_owned(), time.views.to_string(), cell(&|ms| ms), views_per_second, peak]
    };
    let heads = ["model", "views", "ms", "views/s", "peak GB"];
    markdown(&heads, &times.iter().map(row).collect::<Vec<_>>())
}

/// Returns the shapes of all weights, from which `benches/gpu_pytorch.py` makes the same networks.
pub fn shapes() -> BTreeMap<&'static str, BTreeMap<String, Vec<usize>>> {
    let families = [Family::Dust3r, Family::Mast3r, Family::Fast3r];
    let shapes = |family| FamilySizes::released(family).tensors().into_iter().collect();
    families.into_iter().map(|family| (family.name(), shapes(family))).collect()
}

fn random_network(device: &Device, family: Family) -> Result<Network> {
    let mut tensors = HashMap::new();
    for (name, shape) in FamilySizes::released(family).tensors() {
        let is_gain = name.contains("norm") && name.ends_with("weight");
        let value = match is_gain {
            true => Tensor::ones(shape.as_slice(), DType::F32, device)?,
            false => Tensor::randn(0f32, 0.02, shape.as_slice(), device)?,
        };
        tensors.insert(name, value);
    }
    let weights = Weights::new(tensors, DType::BF16);
    let checkpoint = Checkpoint::new(weights, FamilyConfig::default());
    let checkpoint = checkpoint.map_err(anyhow::Error::msg)?;
    Ok(match family {
        Family::Fast3r => Network::Fast3r(Fast3rNetwork::load(&checkpoint)?),
        Family::Dust3r | Family::Mast3r => Network::Pair(PairNetwork::load(&checkpoint)?),
    })
}

fn time(network: &Network, views: usize) -> Result<f64> {
    let images = (0..views).map(image).collect::<Result<Vec<_>>>()?;
    best_ms(|| {
        let start = Instant::now();
        match network {
            Network::Pair(network) => {
                let both = network.encode(&images.iter().collect::<Vec<_>>())?;
                network.pair(&both.view(0)?, &both.view(1)?)?;
            }
            Network::Fast3r(network) => {
                let encoded = images.iter().map(|image| network.encode(image));
                let encoded = encoded.collect::<recon_node::error::Result<Vec<_>>>()?;
                network.infer(&encoded.iter().collect::<Vec<&Encoded>>(), &ImageIds::Seeded(1))?;
            }
        }
        Ok(start.elapsed().as_secs_f64() * 1e3)
    })
}

/// An image with something in it.
fn image(view: usize) -> Result<ImagePlanes> {
    let value = |i: usize| ((i * 7 + i / WIDTH * 13 + view * 57) % 256) as f32 / 127.5 - 1.0;
    Ok(ImagePlanes::new(WIDTH, HEIGHT, (0..3 * WIDTH * HEIGHT).map(value).collect())?)
}
