//! Our figures against those of evo, Open3D and SciPy on the same input.
//!
//! `tests/data/evaluation` holds a synthetic room with what those tools say about it;
//! `scripts/compare_evaluation --write-cases` made it, and compares on whole recordings.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

use std::path::{Path, PathBuf};

use recon_node::dataset::read_trajectory;
use recon_node::evaluation::{
    DEFAULT_MAX_DIFFERENCE_SECS, IcpModel, MapOptions, evaluate_map, evaluate_trajectory,
};
use recon_node::export::read_ply;
use recon_node::geometry::Sim3;
use recon_node::stamp::Stamp;
use serde_json::{Map, Value};

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    options: Options,
    figures: Map<String, Value>,
}

#[derive(serde::Deserialize)]
struct Options {
    align: Option<String>,
    #[serde(default)]
    icp: bool,
    max_diff: Option<f64>,
    thresh: Option<f64>,
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/evaluation").join(name)
}

fn figures_of(case: &Case) -> Map<String, Value> {
    let estimate = read_trajectory(&data(&format!("{}.txt", case.name))).unwrap();
    let reference = read_trajectory(&data("groundtruth.txt")).unwrap();
    let list = std::fs::read_to_string(data("rgb.txt")).unwrap();
    let first_word = |line: &str| line.split(' ').next().unwrap().parse::<Stamp>().unwrap();
    let frames: Vec<Stamp> = list.lines().map(first_word).collect();
    let max_difference_secs = case.options.max_diff.unwrap_or(DEFAULT_MAX_DIFFERENCE_SECS);
    let evaluation =
        evaluate_trajectory(&estimate, &reference, Some(&frames), max_difference_secs).unwrap();
    let mut figures = object(serde_json::to_value(&evaluation.metrics).unwrap());
    let (alignment, icp) = match case.options.align.as_deref() {
        Some("se3") => (evaluation.reference_from_estimate_rigid, IcpModel::Rigid),
        Some("sim3") => (evaluation.reference_from_estimate_scaled, IcpModel::Similarity),
        _ => (Sim3::identity(), IcpModel::Rigid),
    };
    if case.figures.contains_key("map_points") {
        let map = read_ply(&data(&format!("{}.ply", case.name))).unwrap();
        let surface = read_ply(&data("reference.ply")).unwrap();
        let options = MapOptions {
            threshold_m: case.options.thresh.unwrap_or(0.05),
            icp: case.options.icp.then_some(icp),
        };
        let metrics = evaluate_map(&map, &surface, &alignment, &options).unwrap();
        figures.extend(object(serde_json::to_value(&metrics).unwrap()));
    }
    figures
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}

/// 0.1 mm, 0.01 degrees, and 1e-4 of a share, a scale or a count.
fn tolerance(name: &str) -> f64 {
    if name.contains("deg") || name.contains("_cm") { 0.01 } else { 1e-4 }
}

#[test]
fn figures_agree_with_evo_open3d_and_scipy() {
    let text = std::fs::read_to_string(data("expected.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    assert_eq!(cases.len(), 5);
    for case in &cases {
        let found = figures_of(case);
        for (name, expected) in &case.figures {
            let (expected, found) = (expected.as_f64().unwrap(), found[name].as_f64().unwrap());
            let difference = (expected - found).abs();
            assert!(difference <= tolerance(name), "{} {name}: {found} {expected}", case.name);
        }
    }
}
