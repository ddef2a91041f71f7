//! Either kind of index, by what descriptors come with.

use super::{AsmkConfig, AsmkIndex, Codebook, ImageWords, RetrievalIndex, Retrieved};
use crate::error::{Error, Result};
use crate::keyframe::KeyframeId;

/// An index of keyframes by the descriptors of their whole images.
#[derive(Debug, Clone)]
pub enum PlaceIndex {
    /// By what descriptors are together.
    Pooled(RetrievalIndex),
    /// By the trained words that they fall into.
    Words(AsmkIndex),
}

/// What an image looks like to an index: found once, to look for the image and to remember it.
#[derive(Debug, Clone, PartialEq)]
pub enum Appearance {
    /// What its descriptors are together.
    Pooled(Vec<f32>),
    /// The words that they fall into.
    Words(ImageWords),
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

    /// Returns what an image with these descriptors looks like.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for no whole number of descriptors.
    pub fn appearance(&self, descriptors: &[f32]) -> Result<Appearance> {
        match self {
            Self::Pooled(index) => index.signature(descriptors).map(Appearance::Pooled),
            Self::Words(index) => index.words_of(descriptors).map(Appearance::Words),
        }
    }

    /// Adds a keyframe by what its image looks like.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for what another kind of index has seen.
    pub fn insert(&mut self, keyframe: KeyframeId, seen: &Appearance) -> Result<()> {
        match (self, seen) {
            (Self::Pooled(index), Appearance::Pooled(seen)) => {
                index.insert_signature(keyframe, seen)
            }
            (Self::Words(index), Appearance::Words(seen)) => index.insert_words(keyframe, seen),
            _ => Err(unlike()),
        }
    }

    /// Returns at most `count` keyframes that resemble an image that looks like this and that
    /// `exclude` does not name, the most similar first.
    ///
    /// # Errors
    /// As [`PlaceIndex::insert`].
    pub fn query(
        &self,
        seen: &Appearance,
        count: usize,
        exclude: impl Fn(KeyframeId) -> bool,
    ) -> Result<Vec<Retrieved>> {
        match (self, seen) {
            (Self::Pooled(index), Appearance::Pooled(seen)) => {
                index.query_signature(seen, count, exclude)
            }
            (Self::Words(index), Appearance::Words(seen)) => {
                index.query_words(seen, count, exclude)
            }
            _ => Err(unlike()),
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
            Self::Pooled(index) => index.query_signature(signature, count, |_| false),
            Self::Words(index) => index.query_signature(signature, count),
        }
    }
}

fn unlike() -> Error {
    Error::ShapeMismatch {
        what: "what an image looks like",
        expected: "what this kind of index sees".to_owned(),
        found: "what another kind sees".to_owned(),
    }
}
