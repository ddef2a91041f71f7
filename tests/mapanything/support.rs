//! Models and cases for all tests.

use std::path::{Path, PathBuf};

use recon_node::model::mapanything::parity::Case;
use recon_node::model::mapanything::{LoadOptions, MapAnything, ViewInput};

/// The two architectures.
pub const VERSIONS: [&str; 2] = ["v1", "v11"];

/// The committed folder of an architecture.
pub fn folder(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/mapanything").join(version)
}

/// The shared folder of the fixtures, or `None` with a line that says what is skipped.
pub fn shared() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let root = std::env::var_os("RECON_SHARED").map_or_else(beside, PathBuf::from);
    let folder = root.join("fixtures/mapanything");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {} is not there", folder.display());
    None
}

/// The committed small model.
pub fn model(version: &str) -> MapAnything {
    MapAnything::open(&folder(version), &LoadOptions::default()).unwrap()
}

/// A committed case.
pub fn case(version: &str, name: &str) -> Case {
    Case::open(&folder(version).join(format!("{name}.safetensors"))).unwrap()
}

/// The views of a committed case.
pub fn views(version: &str, name: &str) -> Vec<ViewInput> {
    case(version, name).views().unwrap()
}

/// The cases in a folder, by name.
pub fn cases_in(folder: &Path) -> Vec<PathBuf> {
    let is_case = |path: &PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap();
        path.extension().is_some_and(|e| e == "safetensors")
            && !["model", "encoder_518"].contains(&name)
    };
    let entries = std::fs::read_dir(folder).unwrap();
    let mut cases: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(is_case).collect();
    cases.sort();
    cases
}

/// The largest difference of two lists of numbers.
pub fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
