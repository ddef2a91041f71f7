//! `recon sfm`, and `recon infer` with the same models: tiny networks know nothing, so that what is
//! tested is all around them.

use std::path::Path;

use candle_core::Device::Cpu;
use recon_node::export::read_ply;

use crate::support::{Recorded, assert_tells, text};

fn weights(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/data/dust3r_family").join(name).display().to_string()
}

fn sfm<'a>(model: &'a str, weights: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let small = ["--resolution", "96", "--min-confidence", "0", "--out", "out"];
    [&["sfm", "room/rgb", "--model", model, "--weights", weights], small.as_slice(), more].concat()
}

#[test]
fn photographs_become_clouds_cameras_and_figures() {
    let recorded = Recorded::of(3);
    let weights = weights("dust3r_linear");
    let table = recorded.success(&sfm("dust3r", &weights, &["--colmap", "text"]));
    assert_tells(&table, &["0000", "focal length", "reconstructed in", "results in out"]);
    let metrics = recorded.metrics("out");
    assert_eq!((&metrics["images"], &metrics["model"]), (&3.into(), &"dust3r".into()));
    let cloud = read_ply(&recorded.path("out/points.ply")).unwrap();
    assert_eq!(metrics["points"], cloud.points.len());
    assert_eq!(&recorded.bytes("out/points.glb")[..4], b"glTF");
    for file in ["cameras", "images", "points3D"] {
        assert!(recorded.path(&format!("out/colmap/{file}.txt")).exists());
    }
}

/// Descriptors that know nothing match nothing: no scene is made up, and the pairs are kept.
#[test]
fn mast3r_matches_every_pair_and_makes_no_scene_of_noise() {
    let recorded = Recorded::of(3);
    let weights = weights("mast3r");
    let message = recorded.failure(&sfm("mast3r", &weights, &["--cache", "pairs"]), 1);
    assert_tells(&message, &["aligning a scene", "0 correspondences"]);
    assert_eq!(std::fs::read_dir(recorded.path("pairs")).unwrap().count(), 3);
}

/// These weights see nothing in front of the camera.
#[test]
fn a_run_without_a_point_has_failed_whatever_it_has_written() {
    let recorded = Recorded::of(3);
    let weights = weights("fast3r");
    let output = recorded.recon(&sfm("fast3r", &weights, &[])).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_tells(&text(&output.stderr), &["no point is confident enough", "--min-confidence"]);
    let metrics = recorded.metrics("out");
    assert_eq!((&metrics["points"], &metrics["images"]), (&0.into(), &3.into()));
    assert!(recorded.path("out/colmap/cameras.bin").exists());
}

#[test]
fn pairs_are_kept_and_used_again() {
    let recorded = Recorded::of(3);
    let weights = weights("dust3r_linear");
    let arguments = sfm("dust3r", &weights, &["--cache", "pairs", "--pairs", "swin-1-noncyclic"]);
    recorded.success(&arguments);
    let first = recorded.bytes("out/points.ply");
    let kept = || std::fs::read_dir(recorded.path("pairs")).unwrap().count();
    assert_eq!(kept(), 2);
    recorded.success(&arguments);
    assert_eq!((kept(), recorded.bytes("out/points.ply")), (2, first));
    assert_eq!(recorded.metrics("out")["pairs"], "swin-1-noncyclic");
}

/// Three photographs, of which each is tied to its likest by MASt3R's retrieval model as released.
#[test]
fn retrieval_chooses_the_pairs() {
    let recorded = Recorded::of(3);
    let (weights, file) = (weights("mast3r"), weights("retrieval/tiny_retrieval_trainingfree.pth"));
    let arguments = ["--pairs", "retrieval-2-1", "--retrieval", &file, "--cache", "pairs"];
    let message = recorded.failure(&sfm("mast3r", &weights, &arguments), 1);
    assert_tells(&message, &["aligning a scene"]);
    assert_eq!(std::fs::read_dir(recorded.path("pairs")).unwrap().count(), 2);
    std::fs::write(recorded.path("file.pth"), b"no archive").unwrap();
    let arguments = ["--pairs", "retrieval-2-1", "--retrieval", "file.pth"];
    let output = recorded.recon(&sfm("mast3r", &weights, &arguments)).output().unwrap();
    assert_tells(&text(&output.stderr), &["file.pth", "no checkpoint that can be read"]);
}

/// Results of pairs that were looked at closer are others, and kept by themselves.
#[test]
fn large_photographs_are_looked_at_closer() {
    let recorded = Recorded::of(2);
    let weights = weights("mast3r");
    let matches = |more: &[&str], folder: &str| {
        let arguments = ["sfm", "room/rgb", "--weights", &weights, "--resolution", "160"];
        let arguments = [&arguments[..], &["--out", "out", "--cache", folder], more].concat();
        recorded.failure(&arguments, 1);
        let mut kept = std::fs::read_dir(recorded.path(folder)).unwrap();
        let pair = candle_core::safetensors::load(kept.next().unwrap().unwrap().path(), &Cpu);
        pair.unwrap()["matches.places"].flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    let coarse = matches(&[], "coarse");
    let fine = matches(&["--coarse-to-fine"], "fine");
    assert!(coarse.iter().all(|v| v.fract() == 0.0));
    assert!(fine.iter().any(|v| v.fract() != 0.0), "{} places", fine.len());
    assert_eq!(fine, matches(&["--coarse-to-fine"], "fine"));
}

#[test]
fn infer_takes_the_same_models() {
    let recorded = Recorded::of(2);
    let weights = weights("dust3r_linear");
    let arguments = ["infer", "room/rgb", "--model", "dust3r", "--weights", &weights];
    let small = ["--resolution", "96", "--no-mask", "--out", "out"];
    recorded.success(&[arguments.as_slice(), &small].concat());
    assert_eq!(recorded.metrics("out")["model"], "dust3r");
    let known = ["--resolution", "96", "--intrinsics", "80,80,48,32"];
    let output = recorded.recon(&[arguments.as_slice(), &known].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_tells(&text(&output.stderr), &["dust3r takes images alone", "--intrinsics"]);
}

#[test]
fn what_cannot_be_done_is_refused_with_the_remedy() {
    let recorded = Recorded::of(2);
    let (mast3r, dust3r) = (weights("mast3r"), weights("dust3r_linear"));
    for (arguments, told) in [
        (sfm("mast3r", &dust3r, &[]), "those of dust3r, not of mast3r"),
        (sfm("mast3r", &mast3r, &["--pairs", "all"]), "swin-N"),
        (sfm("mast3r", &mast3r, &["--pairs", "retrieval-3-2"]), "_retrieval_trainingfree.pth"),
        (sfm("fast3r", &mast3r, &["--pairs", "swin-2"]), "leave out --pairs"),
        (sfm("dust3r", &dust3r, &["--coarse-to-fine"]), "needs mast3r"),
        (sfm("mast3r", "nowhere", &[]), "nowhere"),
        (["sfm", "room/rgb/0000.jpg", "--weights", &mast3r].to_vec(), "two photographs"),
    ] {
        let output = recorded.recon(&arguments).output().unwrap();
        assert!(!output.status.success());
        assert_tells(&text(&output.stderr), &[told]);
    }
}
