//! `recon infer` with DUSt3R, MASt3R and Fast3R: tiny networks that are made to see something, each
//! by a few numbers, so that the way from images to results is gone to its end.

use std::collections::HashMap;

use candle_core::Device::Cpu;
use candle_core::Tensor;
use candle_core::safetensors::{load, save};
use recon_node::export::read_ply;

use crate::support::{Recorded, assert_tells, family};

type Tensors = HashMap<String, Tensor>;

/// Weights of this name in the folder of the recording, with what `change` makes of them.
fn weights(recorded: &Recorded, name: &str, change: impl Fn(&mut Tensors)) {
    let config = std::fs::read(family(name).join("config.json")).unwrap();
    let to = recorded.write(&format!("{name}/config.json"), config);
    let mut tensors = load(family(name).join("model.safetensors"), &Cpu).unwrap();
    change(&mut tensors);
    save(&tensors, to.with_file_name("model.safetensors")).unwrap();
}

/// What this head sees lies some metres in front of the camera.
fn puts_in_front(tensors: &mut Tensors, head: &str) {
    let ahead = Tensor::new(&[0.0_f32, 0.0, 1.5, 0.0], &Cpu).unwrap();
    tensors.insert(format!("{head}.dpt.head.4.bias"), ahead).unwrap();
}

/// Descriptors of this head are sure of themselves, by a factor of e^4.
fn is_sure(tensors: &mut Tensors, head: &str) {
    let name = format!("{head}.head_local_features.fc2.bias");
    let bias: Vec<f32> = tensors[&name].to_vec1().unwrap();
    let sure = bias.iter().enumerate().map(|(i, b)| if i >= 24 * 256 { b + 4.0 } else { *b });
    tensors.insert(name, Tensor::from_iter(sure, &Cpu).unwrap());
}

/// Both sides of the network are the same, so that one image is seen in the same way by both.
fn is_fair(tensors: &mut Tensors) {
    for (first, second) in
        [("dec_blocks.", "dec_blocks2."), ("downstream_head1", "downstream_head2")]
    {
        let names: Vec<String> =
            tensors.keys().filter(|name| name.starts_with(first)).cloned().collect();
        for name in names {
            let of_first = tensors[&name].clone();
            tensors.insert(name.replacen(first, second, 1), of_first).unwrap();
        }
    }
}

fn infer<'a>(model: &'a str, weights: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let all = ["infer", "room/rgb", "--model", model, "--weights", weights];
    [all.as_slice(), &["--resolution", "96", "--out", "out"], more].concat()
}

/// Runs the model, and checks what every one of them leaves for two images.
fn reconstructs(recorded: &Recorded, model: &str, weights: &str) -> serde_json::Value {
    let table = recorded.success(&infer(model, weights, &["--no-mask"]));
    assert_tells(&table, &["0000.jpg", "0001.jpg", "focal length", "results in out"]);
    let metrics = recorded.metrics("out");
    assert_eq!((&metrics["model"], &metrics["images"]), (&model.into(), &2.into()));
    let cloud = read_ply(&recorded.path("out/points.ply")).unwrap();
    assert_eq!(
        (metrics["points"].clone(), cloud.points.len()),
        (cloud.points.len().into(), cloud.colors.len())
    );
    assert!(cloud.points.len() > 96 * 64, "{}", cloud.points.len());
    assert!(cloud.points.iter().all(|p| p.iter().all(|c| c.is_finite())));
    assert_eq!(&recorded.bytes("out/points.glb")[..4], b"glTF");
    for file in ["cameras", "images", "points3D"] {
        assert!(recorded.path(&format!("out/colmap/{file}.bin")).exists());
    }
    metrics
}

fn position(view: &serde_json::Value) -> Vec<f64> {
    view["position"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[test]
fn dust3r_makes_clouds_depths_and_cameras_of_images() {
    let recorded = Recorded::of(2);
    let weights = family("dust3r_linear").display().to_string();
    reconstructs(&recorded, "dust3r", &weights);
}

/// One image twice is matched pixel by pixel, from one and the same place.
#[test]
fn mast3r_ties_images_by_what_they_share() {
    let recorded = Recorded::of(2);
    recorded.write("room/rgb/0001.jpg", recorded.bytes("room/rgb/0000.jpg"));
    weights(&recorded, "mast3r", |tensors| {
        puts_in_front(tensors, "downstream_head1");
        is_sure(tensors, "downstream_head1");
        is_fair(tensors);
    });
    let metrics = reconstructs(&recorded, "mast3r", "mast3r");
    assert_eq!(metrics["is_metric"], true);
    assert!(metrics["tracks"].as_u64().unwrap() > 10, "{metrics}");
    assert!(position(&metrics["views"][1]).iter().all(|x| x.abs() < 1e-3), "{metrics}");
}

#[test]
fn fast3r_sees_all_images_at_once() {
    let recorded = Recorded::of(2);
    weights(&recorded, "fast3r", |tensors| {
        puts_in_front(tensors, "downstream_head");
        puts_in_front(tensors, "downstream_head_local");
    });
    let metrics = reconstructs(&recorded, "fast3r", "fast3r");
    assert_eq!((&metrics["is_metric"], &metrics["tracks"]), (&false.into(), &0.into()));
}

#[test]
fn what_the_family_does_not_take_is_refused_with_the_model_that_does() {
    let recorded = Recorded::of(2);
    let weights = family("dust3r_linear").display().to_string();
    for option in [
        ["--intrinsics", "80,80,48,32"],
        ["--depth", "room/depth"],
        ["--poses", "room/groundtruth.txt"],
        ["--conf-percentile", "10"],
        ["--no-edge-mask", "--quiet"],
        ["--multi-view-confidence", "--quiet"],
    ] {
        let message = recorded.failure(&infer("dust3r", &weights, &option), 2);
        assert_tells(&message, &["dust3r takes images alone", option[0], "--model mapanything"]);
    }
}
