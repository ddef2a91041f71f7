//! Every intermediate result and output of every recorded case.

use std::path::Path;

use candle_core::{Device, Tensor};
use recon_node::model::mapanything::MapAnything;
use recon_node::model::mapanything::parity::{Case, Comparison, Limits, compare};
use recon_node::model::mapanything::{LoadOptions, ViewInput};

use crate::support::{VERSIONS, cases_in, difference, folder, model, shared};

/// What the reference computes for inputs that are absent stands for nothing.
fn may_be_absent(name: &str) -> bool {
    name.ends_with("_encoder.input") || name.ends_with("_encoder.features")
}

fn check_folder(folder: &Path) -> usize {
    let model = MapAnything::open(folder, &LoadOptions::default()).unwrap();
    let cases = cases_in(folder);
    assert_eq!(cases.len(), 11, "{}", folder.display());
    cases.iter().map(|path| check_case(&model, path)).sum()
}

fn check_case(model: &MapAnything, path: &Path) -> usize {
    let case = Case::open(path).unwrap();
    let found = compare(model, &case, Limits::Absolute).unwrap();
    let broken: Vec<&Comparison> = found.iter().filter(|c| !c.holds()).collect();
    assert!(broken.is_empty(), "{}: {broken:#?}", path.display());
    for recorded in case.results() {
        let is_compared = found.iter().any(|c| c.name == recorded.name && c.limit.is_some());
        assert!(is_compared || may_be_absent(&recorded.name), "{} was passed over", recorded.name);
    }
    found.len()
}

#[test]
fn all_results_of_the_committed_cases_are_the_references() {
    for version in VERSIONS {
        let compared = check_folder(&folder(version));
        assert!(compared > 700, "{compared} results of {version}");
    }
}

#[test]
fn all_results_of_the_whole_cases_are_the_references() {
    let Some(shared) = shared() else { return };
    for version in VERSIONS {
        check_folder(&shared.join(version));
    }
}

#[test]
fn prepared_images_are_the_references_to_the_bit() {
    let Some(shared) = shared() else { return };
    for path in VERSIONS.iter().flat_map(|version| cases_in(&shared.join(version))) {
        let case = Case::open(&path).unwrap();
        assert!(case.views().unwrap() == case.prepared_views().unwrap(), "{}", path.display());
    }
}

/// An image by formula, as the reference's script made it.
fn formula_view(rows: usize) -> ViewInput {
    let (mean, deviation) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    let color = |c: usize, y: usize, x: usize| {
        let value = (7 * x + 13 * y + 31 * c + (x * y) % 97) % 256;
        (value as f32 / 255.0 - mean[c]) / deviation[c]
    };
    let pixels = |c: usize| (0..rows * 518).map(move |i| color(c, i / 518, i % 518));
    ViewInput::from_colors((518, rows), (0..3).flat_map(pixels).collect())
}

#[test]
fn the_encoder_is_the_references_at_the_trained_size_and_below() {
    for version in VERSIONS {
        let model = model(version);
        let path = folder(version).join("encoder_518.safetensors");
        let recorded = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
        for rows in [518, 392] {
            let view = formula_view(rows);
            let encoded = model.encode(&[view]).unwrap();
            let (_, h, w, _) = encoded.features.dims4().unwrap();
            let every = |n: usize| Tensor::arange_step(0, n as u32, 4, &Device::Cpu).unwrap();
            let some = encoded.features.index_select(&every(h), 1).unwrap();
            let some = some.index_select(&every(w), 2).unwrap().permute((0, 3, 1, 2)).unwrap();
            let name = format!("features_{rows}x518_every4");
            assert!(difference(&numbers(&some), &numbers(&recorded[&name])) < 5e-5, "{name}");
            if let Some(class_token) = recorded.get(&format!("registers_{rows}x518")) {
                let worst = difference(&numbers(&encoded.class_token), &numbers(class_token));
                assert!(worst < 5e-5, "{worst}");
            }
        }
    }
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}
