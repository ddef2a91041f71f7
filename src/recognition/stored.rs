//! The features of keyframes as plain data, so that they can be kept and taken up again.

use super::{Recognizer, Sighting, ViewFeatures};
use crate::error::{Error, Result};
use crate::keyframe::{Keyframe, KeyframeId};

/// What a keyframe is recognised by.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyframeFeatures {
    /// Column and row of each keypoint, in pixels of the working size.
    pub pixels: Vec<[f32; 2]>,
    /// Descriptors of the keypoints, of unit length, one after the other.
    pub descriptors: Vec<f32>,
    /// What the index knows the whole image by: of unit length, or bytes where it goes by words.
    pub signature: Vec<f32>,
}

impl Recognizer {
    /// Returns what a keyframe is recognised by, if it has been taken in.
    pub fn stored(&self, keyframe: KeyframeId) -> Option<KeyframeFeatures> {
        let features = self.features.get(&keyframe)?;
        Some(KeyframeFeatures {
            pixels: features.pixels.iter().map(|p| [p.x as f32, p.y as f32]).collect(),
            descriptors: features.descriptors.clone(),
            signature: self.index.signature_of(keyframe)?,
        })
    }

    /// Takes in a keyframe by what [`Recognizer::stored`] returned.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for features of another extractor.
    pub fn restore(&mut self, keyframe: KeyframeId, stored: KeyframeFeatures) -> Result<()> {
        let expected = stored.pixels.len() * self.extractor.descriptor_dim();
        if stored.descriptors.len() != expected {
            return Err(Error::ShapeMismatch {
                what: "numbers of a keyframe's descriptors",
                expected: expected.to_string(),
                found: stored.descriptors.len().to_string(),
            });
        }
        self.index.insert_signature(keyframe, &stored.signature)?;
        self.features.insert(keyframe, unpacked(stored));
        Ok(())
    }

    /// Returns where keyframes that look most like another map's keyframe, `view`, see it: by
    /// features that were stored, and the geometry of both, or where that is `is_up_to_scale`, the
    /// keyframe's.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for features of another extractor.
    pub fn sight_stored<'a>(
        &self,
        view: &Keyframe,
        stored: &KeyframeFeatures,
        is_up_to_scale: bool,
        keyframe: impl Fn(KeyframeId) -> Option<&'a Keyframe>,
    ) -> Result<Vec<Sighting>> {
        let found = self.index.query_signature(&stored.signature, self.config.max_candidates)?;
        let features = unpacked(stored.clone());
        let query = super::Query {
            image: &view.frame.color,
            features: &features,
            camera: &view.camera,
            pointmap: Some(&view.pointmap),
            is_up_to_scale,
        };
        let known = found.into_iter().filter_map(|found| keyframe(found.keyframe));
        Ok(known.filter_map(|known| self.sight(&query, known)).collect())
    }
}

fn unpacked(stored: KeyframeFeatures) -> ViewFeatures {
    ViewFeatures {
        pixels: stored.pixels.iter().map(|p| p.map(f64::from).into()).collect(),
        descriptors: stored.descriptors,
        seen: None,
    }
}
