//! Retrieval: which keyframes look like an image.
//!
//! [`RetrievalIndex`] needs nothing but descriptors: it found the place of XFeat's dense maps more
//! often than visual words did, whatever they were trained with (benches/RECORD.md).
//! [`AsmkIndex`] is what descriptors with a codebook of their own come with.

mod asmk;
mod codebook;
mod place;
mod search;
mod sketches;
mod stored;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::keyframe::KeyframeId;

pub use asmk::{AsmkConfig, AsmkIndex, ImageWords, Signatures};
pub use codebook::Codebook;
pub use place::{Appearance, PlaceIndex};
use sketches::Sketches;

/// A keyframe that resembles a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retrieved {
    /// The keyframe.
    pub keyframe: KeyframeId,
    /// Similarity, at most 1.
    pub score: f64,
}

/// An index of keyframes by second-order pooling of their local descriptors (Carreira, Caseiro,
/// Batista and Sminchisescu, "Semantic segmentation with second-order pooling", ECCV 2012): the
/// signature of an image is which components occur together, `dim · (dim + 1) / 2` numbers.
///
/// A query reads one bit for each of these numbers (`sketches.rs`), and all of them only of the few
/// keyframes that differ least by that: twenty thousand keyframes cost less than a millisecond.
#[derive(Debug, Clone)]
pub struct RetrievalIndex {
    dim: usize,
    keyframes: Vec<KeyframeId>,
    /// The signatures of all keyframes, one after the other.
    signatures: Vec<f32>,
    sketches: Sketches,
}

/// Keyframes whose signatures are read for one query, and for each keyframe that is asked for.
const SHORTLIST: usize = 128;
/// See [`SHORTLIST`].
const SHORTLIST_EACH: usize = 16;

impl RetrievalIndex {
    /// Returns an empty index for descriptors of `dim` numbers.
    pub fn new(dim: usize) -> Self {
        let dim = dim.max(1);
        let sketches = Sketches::new(dim * (dim + 1) / 2);
        Self { dim, keyframes: Vec::new(), signatures: Vec::new(), sketches }
    }

    /// Returns an empty index for the same descriptors.
    #[must_use]
    pub fn emptied(&self) -> Self {
        Self::new(self.dim)
    }

    /// Returns how many keyframes there are.
    pub fn len(&self) -> usize {
        self.keyframes.len()
    }

    /// Returns whether there is no keyframe.
    pub fn is_empty(&self) -> bool {
        self.keyframes.is_empty()
    }

    /// Returns the signature of an image with these descriptors: flat, of unit length, of the
    /// whole image.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for no whole number of descriptors.
    pub fn signature(&self, descriptors: &[f32]) -> Result<Vec<f32>> {
        signature(self.dim, descriptors)
    }

    /// Adds a keyframe with its descriptors.
    ///
    /// # Errors
    /// As [`RetrievalIndex::signature`].
    pub fn insert(&mut self, keyframe: KeyframeId, descriptors: &[f32]) -> Result<()> {
        let signature = self.signature(descriptors)?;
        self.insert_signature(keyframe, &signature)
    }

    /// Returns at most `count` keyframes that resemble an image with these descriptors and that
    /// `exclude` does not name, the most similar first; of equals the one inserted first.
    ///
    /// # Errors
    /// As [`RetrievalIndex::insert`].
    pub fn query(
        &self,
        descriptors: &[f32],
        count: usize,
        exclude: impl Fn(KeyframeId) -> bool,
    ) -> Result<Vec<Retrieved>> {
        let query = signature(self.dim, descriptors)?;
        Ok(self.most_similar(&query, count, exclude))
    }

    /// Returns the similarity of every keyframe, in order of insertion, to an image with these
    /// descriptors: the cosine of the two signatures.
    ///
    /// # Errors
    /// As [`RetrievalIndex::insert`].
    pub fn scores(&self, descriptors: &[f32]) -> Result<Vec<f64>> {
        let query = signature(self.dim, descriptors)?;
        let cosine = |known: &[f32]| f64::from(dot(&query, known));
        Ok(self.signatures.par_chunks_exact(query.len()).map(cosine).collect())
    }

    /// The keyframes of the most similar signatures, of those whose sketches differ least.
    fn most_similar(
        &self,
        query: &[f32],
        count: usize,
        exclude: impl Fn(KeyframeId) -> bool,
    ) -> Vec<Retrieved> {
        let size = SHORTLIST.max(SHORTLIST_EACH * count);
        let is_asked = |place: usize| !exclude(self.keyframes[place]);
        let shortlist = self.sketches.nearest(query, size, is_asked);
        let scored = shortlist.into_iter().map(|place| {
            let known = &self.signatures[place * query.len()..(place + 1) * query.len()];
            (self.keyframes[place], f64::from(dot(query, known)))
        });
        best(scored, count, |_| false)
    }
}

/// The lower triangle of the sum of the descriptors' outer products, each number's fourth root
/// with its sign, of unit length. The root keeps what fills the image (a wall, the floor) from
/// drowning the rest.
fn signature(dim: usize, descriptors: &[f32]) -> Result<Vec<f32>> {
    if !descriptors.len().is_multiple_of(dim) {
        return Err(Error::ShapeMismatch {
            what: "numbers of an image's descriptors",
            expected: format!("a multiple of {dim}"),
            found: descriptors.len().to_string(),
        });
    }
    let mut moments = vec![0.0f32; dim * dim];
    for row in descriptors.chunks_exact(dim) {
        for (i, (moments, &factor)) in moments.chunks_exact_mut(dim).zip(row).enumerate() {
            let products = moments[..=i].iter_mut().zip(&row[..=i]);
            products.for_each(|(moment, v)| *moment += factor * v);
        }
    }
    let rows = moments.chunks_exact(dim).enumerate();
    let root = |v: &f32| v.abs().sqrt().sqrt().copysign(*v);
    let mut signature: Vec<f32> = rows.flat_map(|(i, row)| row[..=i].iter().map(root)).collect();
    let length = signature.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-12);
    signature.iter_mut().for_each(|v| *v /= length);
    Ok(signature)
}

/// Dot product, summed in sixteen lanes so that it is fast and always the same.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut lanes = [0.0f32; LANES];
    let (a_rows, b_rows) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_rows.remainder().iter().zip(b_rows.remainder());
    let rest: f32 = rest.map(|(a, b)| a * b).sum();
    for (a, b) in a_rows.zip(b_rows) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    rest + lanes.iter().sum::<f32>()
}

/// The keyframes of the largest positive scores, the first of equals first.
fn best(
    scored: impl Iterator<Item = (KeyframeId, f64)>,
    count: usize,
    exclude: impl Fn(KeyframeId) -> bool,
) -> Vec<Retrieved> {
    let mut found: Vec<Retrieved> = scored
        .filter(|&(keyframe, score)| score > 0.0 && !exclude(keyframe))
        .map(|(keyframe, score)| Retrieved { keyframe, score })
        .collect();
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(count);
    found
}
