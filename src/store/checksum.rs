//! Checksums of rows.

use sha2::{Digest, Sha256};

/// Bytes of a checksum: the first half of SHA-256.
const LENGTH: usize = 16;

/// Returns the checksum of a row: of its table and of all that is in it, in order.
pub fn of(table: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut digest = Sha256::new();
    for part in std::iter::once(&table.as_bytes()).chain(parts) {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize()[..LENGTH].to_vec()
}
