//! Weights that are made here: random ones, smaller ones, and what checking finds in bad ones.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use recon_node::model::mapanything::Checkpoint;
use recon_node::model::weights::{
    CONFIG_FILE, GGUF_FILE, NamedArchitecture, Precision, Quantization, SAFETENSORS_FILE,
    Verification, quantize, verify, write_random,
};
use tempfile::TempDir;

use crate::server::sha256;

const TINY: [(&str, NamedArchitecture); 2] =
    [("tiny-v1", NamedArchitecture::TinyV1), ("tiny-v1.1", NamedArchitecture::TinyV1_1)];

/// Random weights in a folder.
struct Made {
    folder: TempDir,
}

impl Made {
    fn new(architecture: NamedArchitecture, precision: Precision, seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_random(folder.path(), architecture, precision, seed, &|_, _| {}).unwrap();
        Self { folder }
    }

    fn tiny() -> Self {
        Self::new(NamedArchitecture::TinyV1, Precision::F32, 1)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn verify(&self) -> Verification {
        verify(self.folder.path(), &mut |_| {}).unwrap()
    }

    fn tensors(&self) -> HashMap<String, Tensor> {
        candle_core::safetensors::load(self.path(SAFETENSORS_FILE), &Device::Cpu).unwrap()
    }

    /// Writes the tensors anew, changed.
    fn change(&self, change: impl Fn(&mut HashMap<String, Tensor>)) {
        let mut tensors = self.tensors();
        change(&mut tensors);
        candle_core::safetensors::save(&tensors, self.path(SAFETENSORS_FILE)).unwrap();
    }
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn random_weights_are_whole_and_are_what_was_asked_for() {
    for (name, architecture) in TINY {
        for (precision, dtype) in
            [(Precision::F32, "F32"), (Precision::Bf16, "BF16"), (Precision::F16, "F16")]
        {
            let verification = Made::new(architecture, precision, 3).verify();
            assert_eq!(verification.problems, Vec::<String>::new());
            assert_eq!(verification.architecture, name);
            let types: Vec<_> = verification.types.into_iter().collect();
            assert_eq!(types, [(dtype.to_owned(), verification.tensors)]);
        }
    }
}

#[cfg(unix)]
#[test]
fn who_may_read_other_files_may_read_weights() {
    use std::os::unix::fs::MetadataExt;
    let made = Made::tiny();
    let mode = |name: &str| fs::metadata(made.path(name)).unwrap().mode();
    assert_eq!(mode(SAFETENSORS_FILE), mode(CONFIG_FILE));
}

#[test]
fn the_seed_alone_decides() {
    let bytes = |seed, threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let made = pool.install(|| Made::new(NamedArchitecture::TinyV1_1, Precision::F32, seed));
        sha256(&fs::read(made.path(SAFETENSORS_FILE)).unwrap())
    };
    assert_eq!(bytes(1, 1), bytes(1, 3));
    assert_ne!(bytes(1, 1), bytes(2, 1));
}

/// Mean and standard deviation.
fn moments(values: &[f32]) -> (f32, f32) {
    let count = values.len() as f32;
    let mean = values.iter().sum::<f32>() / count;
    (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / count).sqrt())
}

#[test]
fn random_values_keep_the_magnitude_of_what_goes_through_them() {
    let tensors = Made::tiny().tensors();
    let of = |name: &str| numbers(&tensors[name]);
    for (name, inputs) in [
        ("encoder.model.blocks.0.attn.qkv.weight", 64.0f32),
        ("encoder.model.blocks.3.mlp.fc2.weight", 256.0),
        ("dense_head.0.scratch.refinenet1.resConfUnit1.conv1.weight", 9.0 * 32.0),
        // Enlarging four times: every pixel of the result comes from one.
        ("dense_head.0.input_process.0.0.1.weight", 12.0),
    ] {
        let (mean, deviation) = moments(&of(name));
        let expected = 1.0 / inputs.sqrt();
        assert!(mean.abs() < 0.1 * expected, "{name}: mean {mean}");
        assert!((deviation / expected - 1.0).abs() < 0.1, "{name}: {deviation}, not {expected}");
    }
    assert!(of("encoder.model.blocks.0.norm1.weight").iter().all(|&v| v == 1.0));
    assert!(of("fusion_norm_layer.bias").iter().all(|&v| v == 0.0));
    let scales = of("encoder.model.blocks.0.ls1.gamma");
    assert!(scales.iter().all(|v| (0.01..=1.0).contains(v)));
    assert!(scales.iter().any(|&v| v < 0.03) && scales.iter().any(|&v| v > 0.3));
    let table = of("info_sharing.view_pos_table");
    assert!(table.chunks_exact(2).all(|pair| pair == [0.0, 1.0]));
}

#[test]
fn the_number_of_values_of_the_released_networks_is_known() {
    use recon_node::model::mapanything::tensors::parameter_count;
    use recon_node::model::weights::KNOWN_MODELS;
    for model in &KNOWN_MODELS {
        let sizes = NamedArchitecture::named(model.architecture).unwrap().sizes();
        assert_eq!(parameter_count(&sizes) as u64, model.parameters, "{}", model.repository);
    }
}

/// A change to good weights, and what the check must say about it.
type Spoiled = (fn(&mut HashMap<String, Tensor>), &'static str);

fn with_infinity(tensors: &mut HashMap<String, Tensor>) {
    let name = "pose_head.fc_t.bias";
    let values = [1.0, f32::INFINITY, f32::NAN];
    tensors.insert(name.to_owned(), Tensor::new(&values, &Device::Cpu).unwrap());
}

fn with_another_shape(tensors: &mut HashMap<String, Tensor>) {
    let zeros = Tensor::zeros(5, DType::F32, &Device::Cpu).unwrap();
    tensors.insert("pose_head.fc_t.bias".to_owned(), zeros);
}

fn with_a_stranger(tensors: &mut HashMap<String, Tensor>) {
    let zeros = Tensor::zeros(5, DType::F32, &Device::Cpu).unwrap();
    tensors.insert("optimizer.step".to_owned(), zeros);
}

const SPOILED: [Spoiled; 4] = [
    (|tensors| drop(tensors.remove("scale_token")), "'scale_token' is missing"),
    (with_a_stranger, "'optimizer.step' is not known"),
    (with_another_shape, "'pose_head.fc_t.bias' has the shape [5], [3] is needed"),
    (with_infinity, "'pose_head.fc_t.bias' has 2 values that are not finite"),
];

#[test]
fn every_kind_of_fault_is_found_and_named() {
    for (spoil, problem) in SPOILED {
        let made = Made::tiny();
        made.change(spoil);
        let problems = made.verify().problems;
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(problem), "{problems:?}");
    }
    let made = Made::tiny();
    made.change(|tensors| SPOILED.iter().for_each(|(spoil, _)| spoil(tensors)));
    assert_eq!(made.verify().problems.len(), 3);
}

#[test]
fn a_configuration_that_is_missing_or_broken_is_a_problem() {
    let made = Made::tiny();
    fs::write(made.path(CONFIG_FILE), "{\"name\": ").unwrap();
    assert!(made.verify().problems.iter().any(|p| p.contains("config.json: not valid JSON")));
    fs::remove_file(made.path(CONFIG_FILE)).unwrap();
    assert!(made.verify().problems.iter().any(|p| p.starts_with("config.json: ")));
}

#[test]
fn a_file_that_came_in_part_is_an_error() {
    let made = Made::tiny();
    let bytes = fs::read(made.path(SAFETENSORS_FILE)).unwrap();
    for length in [0, 7, 1000, bytes.len() - 1] {
        fs::write(made.path(SAFETENSORS_FILE), &bytes[..length]).unwrap();
        let message = verify(made.folder.path(), &mut |_| {}).unwrap_err().to_string();
        assert!(message.contains("model.safetensors"), "{length}: {message}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_of_the_hub_is_compared_with_its_checksum() {
    let made = Made::tiny();
    let path = made.path(SAFETENSORS_FILE);
    let sum = sha256(&fs::read(&path).unwrap());
    let place = |name: &str| {
        fs::rename(fs::canonicalize(&path).unwrap(), made.path(name)).unwrap();
        // Nothing is left of a plain file; of a link the link is.
        let _ = fs::remove_file(&path);
        std::os::unix::fs::symlink(made.path(name), &path).unwrap();
    };
    place(&sum);
    let verification = made.verify();
    assert_eq!((verification.checksums, verification.problems.len()), (1, 0));
    place(&"0".repeat(64));
    assert!(made.verify().problems[0].contains(&sum));
}

/// The tensors of a folder, by the names of the checkpoint.
fn loaded(folder: &Path, names: impl Iterator<Item = String>) -> BTreeMap<String, Vec<f32>> {
    let checkpoint = Checkpoint::open(folder, (&Device::Cpu, DType::F32), false).unwrap();
    names.map(|n| (n.clone(), numbers(&checkpoint.weights.tensor_f32(&n).unwrap()))).collect()
}

/// The largest error that rounding may make of a value beside the largest of its 32 neighbours.
const ERRORS: [(Quantization, f32); 3] = [
    (Quantization::Q8_0, 0.6 / 127.0),
    (Quantization::Half(Precision::F16), 1.0 / 1024.0),
    (Quantization::Half(Precision::Bf16), 1.0 / 128.0),
];

#[test]
fn reduced_weights_have_the_same_names_and_nearly_the_same_values() {
    for (_, architecture) in TINY {
        let made = Made::new(architecture, Precision::F32, 5);
        let tensors = made.tensors();
        let names: Vec<String> = tensors.keys().cloned().collect();
        let before = loaded(made.folder.path(), names.iter().cloned());
        for (quantization, error) in ERRORS {
            let out = tempfile::tempdir().unwrap();
            let done = quantize(made.folder.path(), quantization, out.path(), &mut |_| {}).unwrap();
            // Of half precision are the matrices of 12 blocks alone.
            let is_half = matches!(quantization, Quantization::Half(_));
            assert!(if is_half { done.reduced == 4 * 12 } else { done.reduced > 4 * 12 });
            assert_eq!(done.reduced + done.kept, names.len());
            assert_eq!(verify(out.path(), &mut |_| {}).unwrap().problems, Vec::<String>::new());
            let after = loaded(out.path(), names.iter().cloned());
            for (name, values) in &before {
                let shape = tensors[name].dims();
                let error = expected_error(name, shape, (quantization, error));
                assert_nearly(name, values, &after[name], (shape, error));
            }
        }
    }
}

/// The error of a matrix in a block, of another matrix or kernel, and of what stays as it is.
fn expected_error(name: &str, shape: &[usize], (kind, error): (Quantization, f32)) -> f32 {
    let is_kernel = name.ends_with(".weight") && shape.len() > 1;
    let is_in_head =
        ["dense_head.", "pose_head.", "scale_head."].iter().any(|h| name.starts_with(h));
    let makes_blocks = !is_in_head
        && match shape {
            [_, channels, 1, 1] | [_, channels, 3, 3] => channels % 32 == 0,
            [_, depth] => depth % 32 == 0,
            _ => false,
        };
    match (is_kernel, name.contains("blocks."), kind) {
        (true, true, _) => error,
        (true, false, Quantization::Q8_0) if makes_blocks => error,
        (true, false, Quantization::Q8_0) => 1.0 / 1024.0,
        _ => 0.0,
    }
}

/// `error` is relative to the largest of the values that share a scale: 32 numbers of a row, or of
/// the channels that a kernel has for one pixel.
fn assert_nearly(name: &str, before: &[f32], after: &[f32], (shape, error): (&[usize], f32)) {
    assert_eq!(before.len(), after.len(), "{name}");
    let step = shape.iter().skip(2).product::<usize>().max(1);
    let mut differ = false;
    for (before, after) in before.chunks(32 * step).zip(after.chunks(32 * step)) {
        for pixel in 0..step {
            let numbers =
                || before[pixel..].iter().step_by(step).zip(after[pixel..].iter().step_by(step));
            let largest = numbers().fold(0.0f32, |m, (v, _)| m.max(v.abs()));
            for (b, a) in numbers() {
                assert!((b - a).abs() <= error * largest, "{name}: {b} became {a}");
                differ |= b != a;
            }
        }
    }
    assert_eq!(differ, error > 0.0, "{name}");
}

#[test]
fn q8_0_takes_little_more_than_a_byte_for_each_value() {
    let made = Made::tiny();
    let out = tempfile::tempdir().unwrap();
    quantize(made.folder.path(), Quantization::Q8_0, out.path(), &mut |_| {}).unwrap();
    assert!(out.path().join(GGUF_FILE).is_file() && out.path().join(CONFIG_FILE).is_file());
    let types = verify(out.path(), &mut |_| {}).unwrap().types;
    assert!(types["Q8_0"] > 48);
    assert!(types["F16"] > 0 && types["F32"] > 0, "{types:?}");
    assert_eq!(types.len(), 3, "{types:?}");
}

#[test]
fn weights_are_not_reduced_onto_themselves() {
    let made = Made::tiny();
    let half = Quantization::Half(Precision::F16);
    let message = quantize(made.folder.path(), half, made.folder.path(), &mut |_| {}).unwrap_err();
    assert!(message.to_string().contains("choose a folder other"), "{message}");
    assert_eq!(made.verify().problems, Vec::<String>::new());
}

/// An image with something in it.
fn image(size: u32) -> image::RgbImage {
    let value = |x: u32, y: u32| [(3 * x) as u8, (5 * y) as u8, (x * y / 7) as u8];
    image::RgbImage::from_fn(size, size, |x, y| image::Rgb(value(x, y)))
}

#[test]
fn what_random_weights_say_is_finite_and_varies() {
    use recon_node::model::mapanything::{InferOptions, LoadOptions, MapAnything, ViewInput};
    for (name, architecture) in TINY {
        let made = Made::new(architecture, Precision::F32, 1);
        let model = MapAnything::open(made.folder.path(), &LoadOptions::default()).unwrap();
        let views = [ViewInput::new(&image(112)), ViewInput::new(&image(112))];
        let options = InferOptions { mask: None, ..InferOptions::default() };
        for view in model.infer(&views, &options).unwrap() {
            let depths = view.depth_z.values();
            let (mean, deviation) = moments(depths);
            println!(
                "{name}: depth {mean} ± {deviation}, scale {}, confidence {:?}, kept {:?}",
                view.metric_scale,
                moments(view.confidence.values()),
                moments(view.unambiguous.map(f32::from).values())
            );
            assert!(depths.iter().all(|depth| depth.is_finite()));
            assert!(deviation > 0.01 * mean.abs(), "{name}: {mean} ± {deviation}");
            assert!((1e-3..1e3).contains(&view.metric_scale), "{name}: {}", view.metric_scale);
            let ahead = depths.iter().filter(|&&depth| depth > 0.0).count();
            assert!(2 * ahead > depths.len(), "{name}: {ahead} of {}", depths.len());
        }
    }
}
