//! What checkpoints may look like, and what is said of those that are none.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor, safetensors};
use recon_node::model::dust3r::{Checkpoint, Family, Fast3rNetwork, PairNetwork};
use recon_node::model::nn::Weights;

use crate::support::data;

fn open(path: &Path) -> recon_node::error::Result<Checkpoint> {
    Checkpoint::open(path, &Device::Cpu, DType::F32)
}

fn problem<T>(result: recon_node::error::Result<T>) -> String {
    result.err().unwrap().to_string()
}

#[test]
fn each_release_is_recognised() {
    for (folder, family, confidences) in [
        ("mast3r", Family::Mast3r, true),
        ("dust3r", Family::Dust3r, false),
        ("dust3r_linear", Family::Dust3r, false),
        ("fast3r", Family::Fast3r, false),
    ] {
        let checkpoint = open(&data(folder)).unwrap();
        assert_eq!(checkpoint.family, family);
        assert_eq!(checkpoint.config.two_confidences, confidences);
        assert_eq!(checkpoint.config.encoder_heads, Some(2), "{folder}");
    }
}

#[test]
fn the_released_container_tells_its_model_and_both_names_of_shared_tensors() {
    let file = data("dust3r/model.pth");
    let weights = Weights::open(&[file], &Device::Cpu, DType::F32).unwrap();
    assert!(weights.description().unwrap().starts_with("AsymmetricCroCo3DStereo("));
    let read = |name: &str| weights.tensor(name).unwrap().flatten_all().unwrap();
    let head = "downstream_head2.dpt.scratch";
    let one = read(&format!("{head}.layer3_rn.weight")).to_vec1::<f32>().unwrap();
    assert_eq!(one, read(&format!("{head}.layer_rn.2.weight")).to_vec1::<f32>().unwrap());
    assert_eq!(weights.shapes().len(), 757);
}

#[test]
fn a_configuration_with_bare_infinities_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let from = data("mast3r");
    std::fs::copy(from.join("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    let text = std::fs::read_to_string(from.join("config.json")).unwrap();
    let text = text.replace("\"-inf\"", "-Infinity").replace("\"inf\"", "Infinity");
    assert!(text.contains("-Infinity"));
    std::fs::write(folder.path().join("config.json"), text).unwrap();
    let config = open(folder.path()).unwrap().config;
    assert_eq!(config, open(&from).unwrap().config);
}

#[test]
fn one_decoder_serves_both_views_where_there_is_no_second() {
    let file = data("dust3r_linear/model.safetensors");
    let mut tensors: HashMap<String, Tensor> = safetensors::load(file, &Device::Cpu).unwrap();
    tensors.retain(|name, _| !name.starts_with("dec_blocks2."));
    let config = open(&data("dust3r_linear")).unwrap().config;
    let checkpoint = Checkpoint::new(Weights::new(tensors, DType::F32), config).unwrap();
    assert!(PairNetwork::load(&checkpoint).is_ok());
}

#[test]
fn a_missing_tensor_is_named() {
    let file = data("dust3r_linear/model.safetensors");
    let mut tensors: HashMap<String, Tensor> = safetensors::load(file, &Device::Cpu).unwrap();
    tensors.remove("dec_norm.bias");
    let config = open(&data("dust3r_linear")).unwrap().config;
    let checkpoint = Checkpoint::new(Weights::new(tensors, DType::F32), config).unwrap();
    let problem = problem(PairNetwork::load(&checkpoint));
    assert!(problem.contains("dec_norm.bias") && problem.contains("dust3r"), "{problem}");
}

#[test]
fn weights_of_another_network_are_refused_with_what_they_are() {
    let fast3r = data("fast3r");
    let message = problem(PairNetwork::open(&fast3r, &Device::Cpu, DType::F32));
    assert!(message.contains("Fast3R"), "{message}");
    let message = problem(Fast3rNetwork::open(&data("mast3r"), &Device::Cpu, DType::F32));
    assert!(message.contains("mast3r"), "{message}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let other = root.join("tests/data/mapanything/v1/model.safetensors");
    let message = problem(open(&other));
    assert!(message.contains("no network of this family"), "{message}");
}

#[test]
fn what_is_no_checkpoint_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(problem(open(folder.path())).contains("neither model.safetensors nor"));
    let file = folder.path().join("model.pth");
    std::fs::write(&file, b"no archive").unwrap();
    assert!(problem(open(folder.path())).contains("no checkpoint that can be read"));
    std::fs::write(folder.path().join("other.pth"), b"x").unwrap();
    assert!(problem(open(folder.path())).contains("2 .pth files"));
}
