//! The keyframes that a recognizer knows, apart from it: those of a map that is set aside.

use std::collections::BTreeMap;

use super::{Recognizer, ViewFeatures};
use crate::keyframe::KeyframeId;
use crate::matching::retrieval::PlaceIndex;

/// What a recognizer knows of the keyframes of one map.
pub struct Remembered {
    features: BTreeMap<KeyframeId, ViewFeatures>,
    index: PlaceIndex,
    newest: Option<KeyframeId>,
}

impl Recognizer {
    /// Returns what is known of a map without keyframes.
    pub fn nothing(&self) -> Remembered {
        Remembered { features: BTreeMap::new(), index: self.index.emptied(), newest: None }
    }

    /// Knows the keyframes of another map from now on, and hands out what it knew.
    pub fn exchange(&mut self, other: &mut Remembered) {
        std::mem::swap(&mut self.features, &mut other.features);
        std::mem::swap(&mut self.index, &mut other.index);
        std::mem::swap(&mut self.newest, &mut other.newest);
    }
}
