//! MASt3R's retrieval model, from its released files to pairs of images.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, safetensors};
use recon_node::matching::scene_graph::{SceneGraph, farthest_images};
use recon_node::model::dust3r::Checkpoint;
use recon_node::model::dust3r::retrieval::{RetrievalModel, retrieval_beside};

use crate::fixture::{Fixture, error};
use crate::support::data;

const CHECKPOINT: &str = "tiny_retrieval_trainingfree.pth";
const CODEBOOK: &str = "tiny_retrieval_codebook.pkl";

fn released() -> PathBuf {
    data("retrieval").join(CHECKPOINT)
}

/// The released files in a folder of their own.
fn copied() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in [CHECKPOINT, CODEBOOK] {
        fs::copy(data("retrieval").join(name), folder.path().join(name)).unwrap();
    }
    folder
}

#[test]
fn retrieval_is_the_reference_from_tokens_to_pairs() {
    let fixture = Fixture::open(&data("retrieval.safetensors"));
    let model = RetrievalModel::open(&released()).unwrap();
    assert_eq!((model.tokens_per_image(), model.codebook().len()), (20, 64));
    let tokens: Vec<f32> = fixture.numbers("in.tokens").into_iter().map(|v| v as f32).collect();
    let images: Vec<_> = tokens.chunks_exact(48 * 32).collect();
    let mut chosen = Vec::new();
    for (i, image) in images.iter().enumerate() {
        let (weights, features) = model.features(image, 32).unwrap();
        assert!(error(&weights, &fixture.numbers(&format!("out.{i}.attn"))) < 1e-6);
        let features: Vec<f64> = features.transpose().iter().copied().collect();
        assert!(error(&features, &fixture.numbers(&format!("out.{i}.feat"))) < 1e-5);
        let best = model.tokens(image, 32, model.tokens_per_image()).unwrap();
        assert_eq!(best.places, fixture.indices(&format!("out.{i}.topk")));
        chosen.push(model.words(&best).unwrap());
    }
    let similarity = model.similarity(&chosen).unwrap();
    let ours: Vec<f64> = similarity.transpose().iter().copied().collect();
    let expected = fixture.numbers("out.asmk_scores");
    assert!(ours.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6));
    let first = fixture.indices("out.fps.first")[0];
    assert_eq!(farthest_images(&similarity, 4, first), fixture.indices("out.fps.keyframes"));
    let mut expected: Vec<[usize; 2]> = fixture
        .indices("out.fps.pairs_sorted")
        .chunks_exact(2)
        .map(|pair| [pair[0].min(pair[1]), pair[0].max(pair[1])])
        .collect();
    expected.sort_unstable();
    expected.dedup();
    let graph = SceneGraph::Retrieval { keys: 4, nearest: 3 };
    assert_eq!(graph.pairs(10, Some(&similarity), first), expected);
}

/// The same in one file, as it can be converted.
fn one_file(path: &Path) {
    let fixture = Fixture::open(&data("retrieval.safetensors"));
    let weight = |(name, tensor): (&String, &Tensor)| {
        Some((name.strip_prefix("w.")?.to_owned(), tensor.clone()))
    };
    let mut tensors: HashMap<String, Tensor> = fixture.0.iter().filter_map(weight).collect();
    tensors.insert("centroids".to_owned(), fixture.0["in.centroids"].clone());
    safetensors::save(&tensors, path).unwrap();
}

#[test]
fn one_safetensors_file_is_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("retrieval.safetensors");
    one_file(&path);
    let [ours, theirs] = [&path, &released()].map(|path| RetrievalModel::open(path).unwrap());
    assert_eq!(ours.codebook(), theirs.codebook());
    let tokens: Vec<f32> = (0..10 * 32).map(|i| (i as f32 * 0.37).sin()).collect();
    assert_eq!(ours.tokens(&tokens, 32, 5).unwrap(), theirs.tokens(&tokens, 32, 5).unwrap());
    assert_eq!(retrieval_beside(folder.path()), Some(path));
}

#[test]
fn the_released_files_are_found_beside_the_network_and_not_taken_for_it() {
    let folder = copied();
    assert_eq!(retrieval_beside(folder.path()), Some(folder.path().join(CHECKPOINT)));
    let weights = folder.path().join("model.pth");
    assert_eq!(retrieval_beside(&weights), Some(folder.path().join(CHECKPOINT)));
    fs::copy(data("dust3r/model.pth"), &weights).unwrap();
    assert!(Checkpoint::open(folder.path(), &Device::Cpu, DType::F32).is_ok());
    assert_eq!(retrieval_beside(&data("mast3r")), None);
}

#[test]
fn files_that_are_not_the_released_ones_are_told_in_one_sentence() {
    let spoilt = |name: &str, bytes: &[u8]| {
        let folder = copied();
        fs::write(folder.path().join(name), bytes).unwrap();
        RetrievalModel::open(&folder.path().join(CHECKPOINT)).unwrap_err().to_string()
    };
    let network = fs::read(data("dust3r/model.pth")).unwrap();
    let book = fs::read(data("retrieval").join(CODEBOOK)).unwrap();
    let at = book.windows(2).position(|two| two == b"K@").unwrap();
    let miscounted = [&book[..at], b"KA", &book[at + 2..]].concat();
    for (name, bytes, told) in [
        (CHECKPOINT, &b"no archive"[..], "no checkpoint that can be read"),
        (CHECKPOINT, &network, "it holds no retrieval model"),
        (CODEBOOK, b"", "it ends in the middle"),
        (CODEBOOK, &book[..1000], "it ends in the middle of a value"),
        (CODEBOOK, b"\x80\x04}.", "no 'state' with 'centroids'"),
        (CODEBOOK, &miscounted, "it says 65 words and has 64"),
    ] {
        let message = spoilt(name, bytes);
        assert!(message.contains(told) && message.contains(name), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
    let folder = copied();
    fs::remove_file(folder.path().join(CODEBOOK)).unwrap();
    let message = RetrievalModel::open(&folder.path().join(CHECKPOINT)).unwrap_err().to_string();
    assert!(
        message.contains(CODEBOOK) && message.contains("cannot read the codebook"),
        "{message}"
    );
}
