//! MASt3R's network as the source of features. Tiny networks know nothing: what is tested is where
//! pixels lie, and that nothing depends on what was asked before.

use std::sync::Arc;

use candle_core::{DType, Device};
use image::{Rgb, RgbImage};
use recon_node::config::Config;
use recon_node::features::FeatureExtractor;
use recon_node::model;
use recon_node::model::dust3r::retrieval::RetrievalModel;
use recon_node::model::dust3r::{Network, PairFeatures};

use crate::support::data;

const SIDE_PX: usize = 96;

fn network(folder: &str) -> Arc<Network> {
    Arc::new(Network::open(&data(folder), &Device::Cpu, DType::F32).unwrap())
}

fn features() -> PairFeatures {
    PairFeatures::new(network("mast3r"), SIDE_PX).unwrap()
}

fn image(seed: u32, (width, height): (u32, u32)) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([(x * (3 + seed)) as u8, (y * 5 + seed) as u8, (x * y % 251) as u8])
    })
}

#[test]
fn matches_lie_in_the_images_the_same_ones_each_time() {
    let (wide, high) = (image(1, (160, 120)), image(2, (120, 160)));
    let matcher = features();
    let first = matcher.match_pair(&wide, &high).unwrap().unwrap();
    assert!(first.len() > 10, "{}", first.len());
    for [[x, y], [u, v]] in &first {
        assert!((-0.5..159.5).contains(x) && (-0.5..119.5).contains(y), "{x} {y}");
        assert!((-0.5..119.5).contains(u) && (-0.5..159.5).contains(v), "{u} {v}");
    }
    // The image is enlarged from 96 pixels: matches reach into all of it.
    assert!(first.iter().any(|[a, _]| a[0] > 96.0), "{first:?}");
    // Tokens are kept by what is in the image, not by which was asked for.
    let other = matcher.match_pair(&high, &image(3, (160, 120))).unwrap().unwrap();
    assert_ne!(other, first);
    assert_eq!(matcher.match_pair(&wide, &high).unwrap().unwrap(), first);
    assert_eq!(features().match_pair(&wide, &high).unwrap().unwrap(), first);
}

#[test]
fn images_are_described_for_retrieval_by_numbers_of_unit_length() {
    let mut network = features();
    let dim = network.descriptor_dim();
    let found = network.extract(&image(1, (160, 120)), 500).unwrap();
    assert!(found.pixels.is_empty() && found.descriptors.is_empty());
    // 96 by 72 pixels are 6 by 4 whole patches.
    assert_eq!(found.dense.len(), 6 * 4 * dim);
    for token in found.dense.chunks_exact(dim) {
        let length: f32 = token.iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-4, "{length}");
    }
    assert_eq!(network.extract(&image(1, (160, 120)), 500).unwrap(), found);
    assert_ne!(network.extract(&image(2, (160, 120)), 500).unwrap(), found);
}

#[test]
fn networks_without_descriptors_are_refused() {
    for (folder, name) in [("dust3r_linear", "dust3r"), ("fast3r", "fast3r")] {
        let message = PairFeatures::new(network(folder), SIDE_PX).unwrap_err().to_string();
        assert!(message.contains(name) && message.contains("MASt3R"), "{message}");
    }
}

#[test]
fn trained_words_take_the_place_of_random_directions() {
    let file = data("retrieval/tiny_retrieval_trainingfree.pth");
    let model = RetrievalModel::open(&file).unwrap();
    let mut network = features().with_retrieval(model).unwrap();
    let words = network.vocabulary().unwrap();
    assert_eq!((words.dim, words.centroids.len()), (32, 64 * 32));
    // The checkpoint says that 20 tokens of an image count.
    let found = network.extract(&image(1, (160, 120)), 500).unwrap();
    assert_eq!(found.dense.len(), 20 * 32);
    assert_ne!(network.extract(&image(2, (160, 120)), 500).unwrap(), found);
    assert_eq!(features().vocabulary(), None);
}

#[test]
fn a_retrieval_model_beside_the_weights_is_used_and_must_fit_them() {
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in [
        ("mast3r/model.safetensors", "model.safetensors"),
        ("mast3r/config.json", "config.json"),
        ("retrieval/tiny_retrieval_trainingfree.pth", "tiny_retrieval_trainingfree.pth"),
        ("retrieval/tiny_retrieval_codebook.pkl", "tiny_retrieval_codebook.pkl"),
    ] {
        std::fs::copy(data(from), folder.path().join(to)).unwrap();
    }
    let mut config = Config::default();
    config.model.name = "mast3r".to_owned();
    config.model.resolution_px = SIDE_PX as u32;
    config.model.weights = folder.path().display().to_string();
    let features = model::open(&config).unwrap().features.unwrap();
    assert!(features.vocabulary().is_some());
    std::fs::write(folder.path().join("tiny_retrieval_codebook.pkl"), b"none").unwrap();
    let message = model::open(&config).err().unwrap().to_string();
    assert!(message.contains("no codebook that can be read"), "{message}");
}
