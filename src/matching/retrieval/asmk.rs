//! Retrieval by visual words: aggregated selective match kernels with binary signatures (Tolias, Avrithis and Jégou, "Image search with selective match kernels: aggregation
//! across single and multiple images", IJCV 2016).
//!
//! Every image is a set of visual words; of each word it has the sign bits of the summed
//! differences between its descriptors and the word's centroid. Two images are as similar as the
//! signatures of their common words.

use super::{Codebook, Retrieved, best};
use crate::error::{Error, Result};
use crate::keyframe::KeyframeId;

/// How images are compared.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AsmkConfig {
    /// Visual words that each descriptor of a query counts for.
    #[schemars(range(min = 1, max = 100))]
    pub words_per_query_descriptor: usize,
    /// Exponent that makes near-identical signatures count more.
    #[schemars(range(min = 1.0, max = 10.0))]
    pub selectivity: f64,
}

impl Default for AsmkConfig {
    fn default() -> Self {
        Self { words_per_query_descriptor: 5, selectivity: 3.0 }
    }
}

/// Words with their signatures.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Signatures {
    /// Ascending.
    pub words: Vec<u32>,
    /// A bit for each number of a word's centroid, in numbers of 32 bits: of each word as many, one
    /// word's after the other.
    pub bits: Vec<u32>,
}

/// What an image is to an index: which words its descriptors fall into is the costly part, and is
/// found once for both.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ImageWords {
    /// What it is known by: each descriptor counts for the nearest word.
    pub known: Signatures,
    /// What it is looked for by: each descriptor counts for several.
    pub asked: Signatures,
}

/// An index of keyframes by their local descriptors. Inserting costs no more with many than with
/// few; a query touches what shares its words.
#[derive(Debug, Clone)]
pub struct AsmkIndex {
    pub(super) codebook: Codebook,
    config: AsmkConfig,
    pub(super) keyframes: Vec<KeyframeId>,
    /// The words of each keyframe, ascending.
    pub(super) words: Vec<Vec<u32>>,
    /// For each word the keyframes (by place in `keyframes`) that have it …
    pub(super) postings: Vec<Vec<u32>>,
    /// … and their signatures of it.
    pub(super) bits: Vec<Vec<u32>>,
}

impl AsmkIndex {
    /// Returns an empty index over a codebook.
    pub fn new(codebook: Codebook, config: AsmkConfig) -> Self {
        let words = codebook.len();
        Self {
            codebook,
            config,
            keyframes: Vec::new(),
            words: Vec::new(),
            postings: vec![Vec::new(); words],
            bits: vec![Vec::new(); words],
        }
    }

    /// Returns an empty index over the same codebook.
    #[must_use]
    pub fn emptied(&self) -> Self {
        Self::new(self.codebook.clone(), self.config.clone())
    }

    /// Returns the words that images are told apart by.
    pub fn codebook(&self) -> &Codebook {
        &self.codebook
    }

    /// Returns how many keyframes there are.
    pub fn len(&self) -> usize {
        self.keyframes.len()
    }

    /// Returns whether there is no keyframe.
    pub fn is_empty(&self) -> bool {
        self.keyframes.is_empty()
    }

    /// Returns the words of an image with these descriptors (flat, as long as the codebook's).
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for no whole number of descriptors.
    pub fn words_of(&self, descriptors: &[f32]) -> Result<ImageWords> {
        let dim = self.codebook.dim();
        if !descriptors.len().is_multiple_of(dim) {
            return Err(Error::ShapeMismatch {
                what: "numbers of an image's descriptors",
                expected: format!("a multiple of {dim}"),
                found: descriptors.len().to_string(),
            });
        }
        let rows: Vec<&[f32]> = descriptors.chunks_exact(dim).collect();
        let asked = self.config.words_per_query_descriptor;
        let nearest = self.codebook.nearest(descriptors, asked.max(1));
        let signatures = |count: usize| {
            let words = nearest.iter().map(|words| &words[..count.min(words.len())]);
            self.signatures(&rows, words)
        };
        Ok(ImageWords { known: signatures(1), asked: signatures(asked) })
    }

    /// Returns whether words that were kept are of a codebook like this one.
    pub fn fits(&self, image: &ImageWords) -> bool {
        [&image.known, &image.asked].into_iter().all(|signatures| {
            let Signatures { words, bits } = signatures;
            bits.len() == words.len() * self.signature_len()
                && words.is_sorted_by(|a, b| a < b)
                && words.last().is_none_or(|last| (*last as usize) < self.codebook.len())
        })
    }

    /// Adds a keyframe with its descriptors (flat, as long as the codebook's).
    ///
    /// # Errors
    /// As [`AsmkIndex::words_of`].
    pub fn insert(&mut self, keyframe: KeyframeId, descriptors: &[f32]) -> Result<()> {
        let words = self.words_of(descriptors)?;
        self.insert_words(keyframe, &words)
    }

    /// Adds a keyframe with its words.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for words of another codebook.
    pub fn insert_words(&mut self, keyframe: KeyframeId, image: &ImageWords) -> Result<()> {
        self.check(image)?;
        self.insert_signatures(keyframe, image.known.clone());
        Ok(())
    }

    fn check(&self, image: &ImageWords) -> Result<()> {
        if self.fits(image) {
            return Ok(());
        }
        Err(Error::ShapeMismatch {
            what: "words of an image",
            expected: format!("words of a codebook of {}", self.codebook.len()),
            found: "words of another kind".to_owned(),
        })
    }

    pub(super) fn insert_signatures(&mut self, keyframe: KeyframeId, signatures: Signatures) {
        let place = self.keyframes.len() as u32;
        let rows = signatures.bits.chunks_exact(self.signature_len());
        for (&word, bits) in signatures.words.iter().zip(rows) {
            self.postings[word as usize].push(place);
            self.bits[word as usize].extend_from_slice(bits);
        }
        self.keyframes.push(keyframe);
        self.words.push(signatures.words);
    }

    /// Returns at most `count` keyframes that resemble an image with these descriptors and that
    /// `exclude` does not name, the most similar first; of equals the one inserted first.
    ///
    /// # Errors
    /// As [`AsmkIndex::words_of`].
    pub fn query(
        &self,
        descriptors: &[f32],
        count: usize,
        exclude: impl Fn(KeyframeId) -> bool,
    ) -> Result<Vec<Retrieved>> {
        self.query_words(&self.words_of(descriptors)?, count, exclude)
    }

    /// Returns the same for an image with these words.
    ///
    /// # Errors
    /// As [`AsmkIndex::insert_words`].
    pub fn query_words(
        &self,
        image: &ImageWords,
        count: usize,
        exclude: impl Fn(KeyframeId) -> bool,
    ) -> Result<Vec<Retrieved>> {
        let scores = self.scores_of_words(image)?;
        Ok(best(self.keyframes.iter().copied().zip(scores), count, exclude))
    }

    /// Returns the similarity of every keyframe, in order of insertion, to an image with these
    /// descriptors, 0..1.
    ///
    /// # Errors
    /// As [`AsmkIndex::words_of`].
    pub fn scores(&self, descriptors: &[f32]) -> Result<Vec<f64>> {
        self.scores_of_words(&self.words_of(descriptors)?)
    }

    /// Returns the same for an image with these words.
    ///
    /// # Errors
    /// As [`AsmkIndex::insert_words`].
    pub fn scores_of_words(&self, image: &ImageWords) -> Result<Vec<f64>> {
        self.check(image)?;
        Ok(self.scores_of(&image.asked))
    }

    pub(super) fn scores_of(&self, query: &Signatures) -> Vec<f64> {
        let mut scores = vec![0.0; self.keyframes.len()];
        let rows = query.bits.chunks_exact(self.signature_len());
        for (&word, bits) in query.words.iter().zip(rows) {
            let known = self.bits[word as usize].chunks_exact(self.signature_len());
            for (&place, known) in self.postings[word as usize].iter().zip(known) {
                scores[place as usize] += self.similarity(bits, known);
            }
        }
        let query_len = (query.words.len().max(1) as f64).sqrt();
        for (score, words) in scores.iter_mut().zip(&self.words) {
            *score /= query_len * (words.len().max(1) as f64).sqrt();
        }
        scores
    }

    /// What two signatures of one word add: nothing where they differ in half of their bits.
    fn similarity(&self, a: &[u32], b: &[u32]) -> f64 {
        let different: u32 = a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum();
        let bits = 32 * a.len();
        let similarity = 1.0 - 2.0 * f64::from(different) / bits as f64;
        similarity.max(0.0).powf(self.config.selectivity)
    }

    /// Numbers of 32 bits in a signature.
    pub(super) fn signature_len(&self) -> usize {
        self.codebook.dim().div_ceil(32)
    }

    /// The words that descriptors count for, each with its signature.
    fn signatures<'a>(
        &self,
        rows: &[&[f32]],
        words: impl Iterator<Item = &'a [u32]>,
    ) -> Signatures {
        let pairs = words.enumerate().flat_map(|(row, words)| words.iter().map(move |w| (*w, row)));
        let mut assigned: Vec<(u32, usize)> = pairs.collect();
        assigned.sort_unstable();
        let mut signatures = Signatures::default();
        for group in assigned.chunk_by(|a, b| a.0 == b.0) {
            let members = group.iter().map(|&(_, row)| rows[row]);
            signatures.words.push(group[0].0);
            signatures.bits.extend(self.signature(group[0].0, members));
        }
        signatures
    }

    /// The sign bits of the summed differences between descriptors and a word's centroid.
    fn signature<'a>(&self, word: u32, descriptors: impl Iterator<Item = &'a [f32]>) -> Vec<u32> {
        let centroid = self.codebook.centroid(word as usize);
        let mut sums = vec![0.0f32; centroid.len()];
        for descriptor in descriptors {
            let differences = descriptor.iter().zip(centroid).map(|(d, c)| d - c);
            sums.iter_mut().zip(differences).for_each(|(sum, d)| *sum += d);
        }
        let mut bits = vec![0; self.signature_len()];
        for (i, _) in sums.iter().enumerate().filter(|(_, sum)| **sum > 0.0) {
            bits[i / 32] |= 1 << (31 - i % 32);
        }
        bits
    }
}
