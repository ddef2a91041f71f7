//! Signatures by themselves: what is kept of an image once its descriptors are gone.

use super::{RetrievalIndex, Retrieved};
use crate::error::{Error, Result};
use crate::keyframe::KeyframeId;

impl RetrievalIndex {
    /// Returns how many numbers a signature has.
    pub fn signature_len(&self) -> usize {
        self.dim * (self.dim + 1) / 2
    }

    /// Returns the signature of a keyframe, if it is in the index.
    pub fn signature_of(&self, keyframe: KeyframeId) -> Option<&[f32]> {
        let index = self.keyframes.iter().position(|&known| known == keyframe)?;
        self.signatures.chunks_exact(self.signature_len()).nth(index)
    }

    /// Adds a keyframe with its signature.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for a signature of another length.
    pub fn insert_signature(&mut self, keyframe: KeyframeId, signature: &[f32]) -> Result<()> {
        self.check(signature)?;
        self.signatures.extend(signature);
        self.sketches.push(signature);
        self.keyframes.push(keyframe);
        Ok(())
    }

    /// Returns at most `count` keyframes that resemble an image of this signature, the most
    /// similar first.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for a signature of another length.
    pub fn query_signature(&self, signature: &[f32], count: usize) -> Result<Vec<Retrieved>> {
        self.check(signature)?;
        Ok(self.most_similar(signature, count, |_| false))
    }

    fn check(&self, signature: &[f32]) -> Result<()> {
        let (expected, found) = (self.signature_len(), signature.len());
        if expected == found {
            return Ok(());
        }
        Err(Error::ShapeMismatch {
            what: "numbers of an image's signature",
            expected: expected.to_string(),
            found: found.to_string(),
        })
    }
}
