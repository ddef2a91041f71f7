//! Recordings that are not part of the repository.

use std::path::{Path, PathBuf};

/// Returns the folder of a recording below `RECON_SHARED`, or beside the repository in `../shared`;
/// `None`, having said what is skipped, where it is missing.
pub fn recording(name: &str, skipped: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shared = std::env::var_os("RECON_SHARED").map_or(beside, PathBuf::from);
    let folder = shared.join("data").join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {skipped}, since {} is missing", folder.display());
    None
}
