//! The socket for local features: whatever finds points in an image that are found again from
//! elsewhere.

use std::sync::Arc;

use image::RgbImage;

use crate::error::Result;

/// What an extractor finds in one image.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImageFeatures {
    /// Column and row of each keypoint, of centres of pixels, the best first.
    pub pixels: Vec<[f32; 2]>,
    /// Descriptors of the keypoints, of unit length, one after the other.
    pub descriptors: Vec<f32>,
    /// Descriptors that cover the whole image, for retrieval: of unit length, or of the vocabulary's
    /// length where there is one.
    pub dense: Vec<f32>,
}

/// Visual words that were trained with the extractor, for its descriptors of whole images.
#[derive(Debug, Clone, PartialEq)]
pub struct Vocabulary {
    /// Numbers of a descriptor.
    pub dim: usize,
    /// The words' centroids, one after the other.
    pub centroids: Arc<[f32]>,
}

/// Column and row in the first image, and in the second, of one point that both show.
pub type PixelPair = [[f32; 2]; 2];

/// Finds local features. Implemented by networks in `model`.
pub trait FeatureExtractor: Send {
    /// Returns how many numbers a descriptor has.
    fn descriptor_dim(&self) -> usize;

    /// Returns the words by which descriptors of whole images are compared; `None` where they are
    /// compared as they are.
    fn vocabulary(&self) -> Option<Vocabulary> {
        None
    }

    /// Returns the features of an image, with at most `max_keypoints` keypoints.
    ///
    /// # Errors
    /// Where the image cannot be used, such as one that is too small.
    fn extract(&mut self, image: &RgbImage, max_keypoints: usize) -> Result<ImageFeatures>;

    /// Returns the pixels of two images that show the same points, the surest first, from networks
    /// that look at both together; `None` where the keypoints' descriptors are all that there is to
    /// match.
    ///
    /// # Errors
    /// Where the images cannot be used, or the device fails.
    fn match_pair(&self, _first: &RgbImage, _second: &RgbImage) -> Result<Option<Vec<PixelPair>>> {
        Ok(None)
    }
}
