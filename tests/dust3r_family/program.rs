//! `recon sfm` with MASt3R on a recorded scene: its pairs lie in the cache, so that what comes
//! after the network is real, though the network is tiny and knows nothing.

use std::path::Path;

use assert_cmd::Command;
use image::RgbImage;
use recon_node::export::read_ply;
use recon_node::model::dust3r::pair_cache::PairCache;
use recon_node::model::dust3r::preprocess::FamilyFitting;

use crate::fixture::Fixture;
use crate::scenes::matched_pairs;
use crate::support::data;

/// All of these pairs are recorded.
const KNOWN_PAIRS: &str = "swin-2-noncyclic";

/// What the network would see of a photograph: other pixels in each.
fn photograph(index: usize) -> RgbImage {
    RgbImage::from_fn(96, 64, |x, y| {
        let value = |c: u32| (7 * x + 13 * y + 31 * c + 57 * index as u32 + x * y % 97) as u8;
        image::Rgb([0, 1, 2].map(value))
    })
}

/// A folder with six photographs, and with what MASt3R says of their pairs in `pairs`.
fn scene() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("photos")).unwrap();
    let cache = PairCache::open(&folder.path().join("pairs"), &data("mast3r")).unwrap();
    let fitting = FamilyFitting::new(96, 64, 96).unwrap();
    let seen: Vec<RgbImage> = (0..6).map(|i| fitting.image(&photograph(i)).unwrap()).collect();
    for index in 0..6 {
        photograph(index).save(folder.path().join(format!("photos/{index}.png"))).unwrap();
    }
    for ([a, b], pair) in matched_pairs(&Fixture::open(&data("scene.safetensors"))) {
        cache.store(&[&seen[a], &seen[b]], &pair).unwrap();
    }
    folder
}

/// Runs the program in a folder; returns its exit code and what it wrote to standard error.
fn sfm(folder: &Path, more: &[&str]) -> (i32, String) {
    let weights = data("mast3r").display().to_string();
    let usual = ["sfm", "photos", "--weights", &weights, "--cache", "pairs", "--resolution", "96"];
    let mut command = Command::cargo_bin("recon").unwrap();
    let output = command.current_dir(folder).args(usual).args(more).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn metrics(folder: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(folder.join("results/sfm/metrics.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_run_whose_pairs_are_known_infers_nothing_and_leaves_all_results() {
    let folder = scene();
    let (code, message) = sfm(folder.path(), &["--pairs", KNOWN_PAIRS, "--colmap", "text"]);
    assert_eq!((code, message.as_str()), (0, ""));
    let metrics = metrics(folder.path());
    let work = &metrics["work"];
    assert_eq!((&work["photographs_encoded"], &work["pairs_inferred"]), (&0.into(), &0.into()));
    assert_eq!((&work["pairs_from_cache"], &metrics["is_metric"]), (&9.into(), &true.into()));
    let results = folder.path().join("results/sfm");
    let cloud = read_ply(&results.join("points.ply")).unwrap();
    assert!(cloud.points.len() > 6 * 96 * 64 / 2 && metrics["points"] == cloud.points.len());
    let text = std::fs::read_to_string(results.join("colmap/points3D.txt")).unwrap();
    let tracks = text.lines().filter(|line| !line.starts_with('#')).count();
    assert!(tracks > 300 && metrics["tracks"] == tracks, "{tracks}");
}

/// A run that was ended goes on where it was: what retrieval goes by is kept, too.
#[test]
fn a_run_by_retrieval_encodes_no_photograph_again() {
    let folder = scene();
    let retrieval = data("retrieval/tiny_retrieval_trainingfree.pth").display().to_string();
    let arguments = ["--pairs", "retrieval-3-2", "--retrieval", &retrieval];
    let run = || {
        let (code, message) = sfm(folder.path(), &arguments);
        assert_eq!(code, 0, "{message}");
        let metrics = metrics(folder.path());
        // Pairs that are not recorded are looked at in the first run.
        let work = |name: &str| metrics["work"][name].as_u64().unwrap();
        let cloud = std::fs::read(folder.path().join("results/sfm/points.ply")).unwrap();
        ([work("photographs_encoded"), work("words_from_cache")], work("pairs_inferred"), cloud)
    };
    let (first, second) = (run(), run());
    assert_eq!((first.0, second.0, second.1), ([6, 0], [0, 6], 0));
    assert!(first.2 == second.2);
}

#[test]
fn pairs_without_a_match_to_trust_are_told_with_what_there_was() {
    let folder = scene();
    let arguments = ["--pairs", KNOWN_PAIRS, "--min-pair-confidence", "1e6"];
    let (code, message) = sfm(folder.path(), &arguments);
    assert_eq!((code, message.lines().count()), (1, 1), "{message}");
    for part in ["photos: ", "0 of 9 pairs", "surer than 1000000", "--pairs complete"] {
        assert!(message.contains(part), "{message}");
    }
}
