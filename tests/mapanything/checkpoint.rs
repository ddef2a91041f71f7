//! Checkpoints in all their forms, and what is wrong with them.

use std::collections::HashMap;
use std::path::Path;

use candle_core::quantized::{GgmlDType, QTensor, gguf_file};
use candle_core::{DType, Device, Tensor};
use recon_node::model::mapanything::tensors::expected_tensors;
use recon_node::model::mapanything::{InferOptions, LoadOptions, MapAnything, ViewOutput};
use tempfile::TempDir;

use crate::support::{VERSIONS, difference, folder, model, views};

type Tensors = HashMap<String, Tensor>;

fn tensors(version: &str) -> Tensors {
    candle_core::safetensors::load(folder(version).join("model.safetensors"), &Device::Cpu).unwrap()
}

/// A folder with the configuration of a small model.
fn model_folder(version: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(folder(version).join("config.json"), dir.path().join("config.json")).unwrap();
    dir
}

fn saved(version: &str, tensors: &Tensors) -> TempDir {
    let dir = model_folder(version);
    candle_core::safetensors::save(tensors, dir.path().join("model.safetensors")).unwrap();
    dir
}

fn open(path: &Path) -> recon_node::error::Result<MapAnything> {
    MapAnything::open(path, &LoadOptions::default())
}

fn refusal(path: &Path) -> String {
    open(path).unwrap_err().to_string()
}

fn outputs(model: &MapAnything, version: &str) -> Vec<ViewOutput> {
    let options = InferOptions { mask: None, ..InferOptions::default() };
    model.infer(&views(version, "mixed_4v"), &options).unwrap()
}

/// The largest relative difference in depth of any pixel of any view.
fn depth_difference(a: &[ViewOutput], b: &[ViewOutput]) -> f32 {
    let of_view = |(a, b): (&ViewOutput, &ViewOutput)| {
        let (a, b) = (a.depth_along_ray.values(), b.depth_along_ray.values());
        a.iter().zip(b).map(|(a, b)| (a - b).abs() / b).fold(0.0, f32::max)
    };
    a.iter().zip(b).map(of_view).fold(0.0, f32::max)
}

#[test]
fn any_alias_of_a_tensor_is_as_good_as_its_name() {
    for version in VERSIONS {
        let reference = outputs(&model(version), version);
        let architecture = model(version).architecture().clone();
        let mut by_alias = tensors(version);
        let mut by_all_names = tensors(version);
        for expected in expected_tensors(&architecture) {
            let Some(alias) = expected.aliases.last() else { continue };
            let tensor = by_alias.remove(&expected.name).unwrap();
            by_alias.insert(alias.clone(), tensor.clone());
            by_all_names.extend(expected.aliases.iter().map(|a| (a.clone(), tensor.clone())));
        }
        for renamed in [by_alias, by_all_names] {
            let found = outputs(&open(saved(version, &renamed).path()).unwrap(), version);
            assert!(depth_difference(&found, &reference) <= 0.0, "{version}");
        }
    }
}

#[test]
fn the_constant_table_need_not_be_stored() {
    for version in VERSIONS {
        let mut tensors = tensors(version);
        tensors.remove("info_sharing.view_pos_table").unwrap();
        let found = outputs(&open(saved(version, &tensors).path()).unwrap(), version);
        assert!(depth_difference(&found, &outputs(&model(version), version)) <= 0.0);
    }
}

#[test]
fn wrong_tensors_are_named_with_their_number() {
    let mut tensors = tensors("v1");
    for i in 0..7 {
        tensors
            .insert(format!("stranger.{i}"), Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap());
    }
    tensors.remove("encoder.model.blocks.3.mlp.fc2.bias").unwrap();
    let wrong = Tensor::zeros((40, 41), DType::F32, &Device::Cpu).unwrap();
    tensors.insert("info_sharing.self_attention_blocks.2.attn.proj.weight".into(), wrong);
    let dir = saved("v1", &tensors);
    let text = refusal(dir.path());
    for part in [
        "1 missing: encoder.model.blocks.3.mlp.fc2.bias;",
        "7 unknown: stranger.0, stranger.1, stranger.2, stranger.3, stranger.4, …;",
        "1 of another shape: info_sharing.self_attention_blocks.2.attn.proj.weight \
         ([40, 41] instead of [40, 40])",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn surplus_tensors_can_be_allowed() {
    let mut tensors = tensors("v11");
    let zeros = Tensor::zeros(48, DType::F32, &Device::Cpu).unwrap();
    tensors.insert("encoder.model.mask_token".into(), zeros);
    let dir = saved("v11", &tensors);
    assert!(refusal(dir.path()).contains("1 unknown: encoder.model.mask_token"));
    let options = LoadOptions { allow_surplus: true, ..LoadOptions::default() };
    MapAnything::open(dir.path(), &options).unwrap();
}

#[test]
fn a_block_that_is_missing_as_a_whole_is_missed() {
    let mut tensors = tensors("v1");
    tensors.retain(|name, _| !name.starts_with("info_sharing.self_attention_blocks.7."));
    assert!(refusal(saved("v1", &tensors).path()).contains("12 missing: info_sharing."));
}

#[test]
fn without_a_configuration_a_small_model_asks_for_one() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(folder("v1").join("model.safetensors"), dir.path().join("model.safetensors"))
        .unwrap();
    assert!(refusal(dir.path()).contains("belongs into config.json"));
}

#[test]
fn an_empty_folder_and_a_torn_file_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(refusal(dir.path()).contains("neither model.safetensors nor model.gguf is there"));
    let whole = std::fs::read(folder("v1").join("model.safetensors")).unwrap();
    std::fs::write(dir.path().join("model.safetensors"), &whole[..whole.len() - 100]).unwrap();
    assert!(refusal(dir.path()).contains("no valid safetensors file"));
}

#[test]
fn parts_listed_in_an_index_are_one_model() {
    let (first, second): (Tensors, Tensors) =
        tensors("v1").into_iter().partition(|(name, _)| name.starts_with("encoder."));
    let dir = model_folder("v1");
    let mut map = serde_json::Map::new();
    for (file, part) in
        [("model-00001-of-00002.safetensors", first), ("model-00002-of-00002.safetensors", second)]
    {
        candle_core::safetensors::save(&part, dir.path().join(file)).unwrap();
        map.extend(part.keys().map(|name| (name.clone(), file.into())));
    }
    let index = serde_json::json!({ "weight_map": map }).to_string();
    std::fs::write(dir.path().join("model.safetensors.index.json"), index).unwrap();
    let found = outputs(&open(dir.path()).unwrap(), "v1");
    assert!(depth_difference(&found, &outputs(&model("v1"), "v1")) <= 0.0);
}

#[test]
fn weights_in_sixteen_bits_give_nearly_the_same_depth() {
    for (dtype, limit) in [(DType::F16, 5e-3), (DType::BF16, 4e-2)] {
        for version in VERSIONS {
            let as_dtype =
                |(name, tensor): (String, Tensor)| (name, tensor.to_dtype(dtype).unwrap());
            let tensors = tensors(version).into_iter().map(as_dtype).collect();
            let found = outputs(&open(saved(version, &tensors).path()).unwrap(), version);
            let difference = depth_difference(&found, &outputs(&model(version), version));
            assert!(difference > 0.0 && difference < limit, "{dtype:?} {version}: {difference}");
        }
    }
}

/// A GGUF file with the tensors of a model, matrices of whole blocks as `dtype`.
fn gguf(version: &str, dtype: GgmlDType) -> TempDir {
    let dir = model_folder(version);
    let quantized: Vec<(String, QTensor)> = tensors(version)
        .into_iter()
        .map(|(name, tensor)| {
            let dims = tensor.dims();
            let fits = dims.len() == 2 && dims[1] % dtype.block_size() == 0;
            let dtype = if fits { dtype } else { GgmlDType::F32 };
            (name, QTensor::quantize(&tensor, dtype).unwrap())
        })
        .collect();
    let tensors: Vec<_> = quantized.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut file = std::fs::File::create(dir.path().join("model.gguf")).unwrap();
    gguf_file::write(&mut file, &[], &tensors).unwrap();
    dir
}

#[test]
fn gguf_files_are_read() {
    for version in VERSIONS {
        let reference = outputs(&model(version), version);
        let plain = outputs(&open(gguf(version, GgmlDType::F32).path()).unwrap(), version);
        assert!(depth_difference(&plain, &reference) <= 0.0, "{version}");
        let quantized = outputs(&open(gguf(version, GgmlDType::Q8_0).path()).unwrap(), version);
        let scale = difference(&[quantized[0].metric_scale], &[reference[0].metric_scale]);
        assert!(scale > 0.0 && scale < 0.05, "{version}: {scale}");
    }
}
