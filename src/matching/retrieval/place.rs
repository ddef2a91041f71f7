//! Either kind of index, by what descriptors come with.

use super::{AsmkConfig, AsmkIndex, Codebook, RetrievalIndex, Retrieved};
use crate::error::Result;
use crate::keyframe::KeyframeId;

/// An index of keyframes by the descriptors of their whole images.
#[derive(Debug, Clone)]
pub enum PlaceIndex {
    /// By what descriptors are together.
    Pooled(RetrievalIndex),
    /// By the trained words that they fall into.
    Words(AsmkIndex),
}

impl PlaceIndex {
    /// Returns an empty index for descriptors of `dim` numbers, by words where there is a codebook.
    pub fn new(dim: usize, codebook: Option<Codebook>) -> Self {
        match codebook {
            Some(codebook) => Self::Words(AsmkIndex::new(codebook, AsmkConfig::default())),
            None => Self::Pooled(RetrievalIndex::new(dim)),
        }
    }

    /// Returns an empty index for the same descriptors.
    #[must_use]
    pub fn emptied(&self) -> Self {
        match self {
            Self::Pooled(index) => Self::Pooled(index.emptied()),
            Self::Words(index) => Self::Words(index.emptied()),
        }
    }

    /// Adds a keyframe with its descriptors.
    ///
    /// # Errors
    /// [`crate::error::Error::ShapeMismatch`] for no whole number of descriptors.
    pub fn insert(&mut self, keyframe: KeyframeId, descriptors: &[f32]) -> Result<()> {
        match self {
            Self::Pooled(index) => index.insert(keyframe, descriptors),
            Self::Words(index) => index.insert(keyframe, descriptors),
        }
    }

    /// Returns at most `count` keyframes that resemble an image with these descriptors and that
    /// `exclude` does not name, the most similar first.
    ///
    /// # Errors
    /// As [`PlaceIndex::insert`].
    pub fn query(
        &self,
        descriptors: &[f32],
        count: usize,
        exclude: impl Fn(KeyframeId) -> bool,
    ) -> Result<Vec<Retrieved>> {
        match self {
            Self::Pooled(index) => index.query(descriptors, count, exclude),
            Self::Words(index) => index.query(descriptors, count, exclude),
        }
    }

    /// Returns what the index knows a keyframe by, if it is in it.
    pub fn signature_of(&self, keyframe: KeyframeId) -> Option<Vec<f32>> {
        match self {
            Self::Pooled(index) => index.signature_of(keyframe).map(<[f32]>::to_vec),
            Self::Words(index) => index.signature_of(keyframe),
        }
    }

    /// Adds a keyframe with its signature.
    ///
    /// # Errors
    /// [`crate::error::Error::ShapeMismatch`] for a signature of another kind of index.
    pub fn insert_signature(&mut self, keyframe: KeyframeId, signature: &[f32]) -> Result<()> {
        match self {
            Self::Pooled(index) => index.insert_signature(keyframe, signature),
            Self::Words(index) => index.insert_signature(keyframe, signature),
        }
    }

    /// Returns at most `count` keyframes that resemble an image of this signature.
    ///
    /// # Errors
    /// As [`PlaceIndex::insert_signature`].
    pub fn query_signature(&self, signature: &[f32], count: usize) -> Result<Vec<Retrieved>> {
        match self {
            Self::Pooled(index) => index.query_signature(signature, count),
            Self::Words(index) => index.query_signature(signature, count),
        }
    }
}
