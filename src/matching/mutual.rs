//! Mutual nearest neighbours of two lists of descriptors.

use super::nearest::{DescriptorIndex, DescriptorMap};
use crate::error::Result;

/// Returns the pairs of indices, in order of the first, of descriptors that are each other's
/// nearest by dot product, which is at least `min_score`. Lists are flat, `dim` numbers for each.
///
/// # Errors
/// [`crate::error::Error::ShapeMismatch`] for a list that is no whole number of descriptors.
pub fn mutual_nearest(dim: usize, a: &[f32], b: &[f32], min_score: f32) -> Result<Vec<(u32, u32)>> {
    if a.is_empty() || b.is_empty() {
        return Ok(Vec::new());
    }
    let (a, b) = (DescriptorMap::list(dim, a)?, DescriptorMap::list(dim, b)?);
    let all = |map: &DescriptorMap<'_>| (0..map.len() as u32).collect::<Vec<_>>();
    let forward = DescriptorIndex::new(&b).nearest(&a, &all(&a))?;
    let backward = DescriptorIndex::new(&a).nearest(&b, &all(&b))?;
    let score = |i: u32, j: u32| -> f32 {
        a.at(i as usize).iter().zip(b.at(j as usize)).map(|(x, y)| x * y).sum()
    };
    let pairs = (0u32..).zip(forward);
    Ok(pairs.filter(|&(i, j)| backward[j as usize] == i && score(i, j) >= min_score).collect())
}
