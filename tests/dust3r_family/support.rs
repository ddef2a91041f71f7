//! Where the fixtures are.

use std::path::{Path, PathBuf};

/// The fixtures of this repository.
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/dust3r_family").join(name)
}

/// The complete fixtures, if they are on this machine; says so if not.
pub fn shared(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("../shared/fixtures/dust3r-family").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not here", path.display());
    None
}
