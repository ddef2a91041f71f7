//! Signatures by themselves: what is kept of an image once its descriptors are gone.

use super::asmk::Signatures;
use super::{AsmkIndex, RetrievalIndex, Retrieved, best};
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

    /// Returns at most `count` keyframes that resemble an image of this signature and that
    /// `exclude` does not name, the most similar first.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for a signature of another length.
    pub fn query_signature(
        &self,
        signature: &[f32],
        count: usize,
        exclude: impl Fn(KeyframeId) -> bool,
    ) -> Result<Vec<Retrieved>> {
        self.check(signature)?;
        Ok(self.most_similar(signature, count, exclude))
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

/// Numbers that say which word it is.
const WORD_LEN: usize = 4;

/// A signature by words is a list of whole numbers from 0 to 255, which any kind of number keeps
/// exactly: the check of the codebook, then of each word its number and its bits.
impl AsmkIndex {
    /// Returns the signature of a keyframe, if it is in the index.
    pub fn signature_of(&self, keyframe: KeyframeId) -> Option<Vec<f32>> {
        let place = self.keyframes.iter().position(|&known| known == keyframe)?;
        let mut bytes = self.codebook.check().to_vec();
        for &word in &self.words[place] {
            let postings = &self.postings[word as usize];
            let row = postings.binary_search(&(place as u32)).ok()?;
            let bits = self.bits[word as usize].chunks_exact(self.signature_len()).nth(row)?;
            bytes.extend(word.to_le_bytes());
            bytes.extend(bits.iter().flat_map(|bits| bits.to_le_bytes()));
        }
        Some(bytes.into_iter().map(f32::from).collect())
    }

    /// Adds a keyframe with its signature.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for what is no signature by this codebook.
    pub fn insert_signature(&mut self, keyframe: KeyframeId, signature: &[f32]) -> Result<()> {
        let signatures = self.signatures_in(signature)?;
        self.insert_signatures(keyframe, signatures);
        Ok(())
    }

    /// Returns at most `count` keyframes that resemble an image of this signature, the most
    /// similar first.
    ///
    /// # Errors
    /// As [`AsmkIndex::insert_signature`].
    pub fn query_signature(&self, signature: &[f32], count: usize) -> Result<Vec<Retrieved>> {
        let scores = self.scores_of(&self.signatures_in(signature)?);
        Ok(best(self.keyframes.iter().copied().zip(scores), count, |_| false))
    }

    fn signatures_in(&self, signature: &[f32]) -> Result<Signatures> {
        self.unpacked(signature).ok_or_else(|| Error::ShapeMismatch {
            what: "signature of an image",
            expected: format!("words of a codebook of {}", self.codebook.len()),
            found: format!("{} numbers of another kind", signature.len()),
        })
    }

    fn unpacked(&self, signature: &[f32]) -> Option<Signatures> {
        let is_byte = |v: &&f32| (0.0..=255.0).contains(*v) && v.fract() == 0.0;
        let bytes: Vec<u8> = signature.iter().take_while(is_byte).map(|v| *v as u8).collect();
        let (check, rows) = bytes.split_first_chunk()?;
        let whole = rows.chunks_exact(WORD_LEN * (1 + self.signature_len()));
        let is_mine = *check == self.codebook.check() && bytes.len() == signature.len();
        if !is_mine || !whole.remainder().is_empty() {
            return None;
        }
        let mut found = Signatures { words: Vec::new(), bits: Vec::new() };
        for row in whole {
            let mut numbers = row.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b));
            let word = numbers.next().filter(|word| (*word as usize) < self.codebook.len())?;
            if found.words.last().is_some_and(|last| *last >= word) {
                return None;
            }
            found.words.push(word);
            found.bits.extend(numbers);
        }
        Some(found)
    }
}
