//! XFeat behind the socket for local features.

use image::RgbImage;

use super::{DESCRIPTOR_DIM, SparseConfig, XFeat, grey};
use crate::error::Result;
use crate::features::{FeatureExtractor, ImageFeatures};

impl FeatureExtractor for XFeat {
    fn descriptor_dim(&self) -> usize {
        DESCRIPTOR_DIM
    }

    fn extract(&mut self, image: &RgbImage, max_keypoints: usize) -> Result<ImageFeatures> {
        let features = self.features(&grey(image))?;
        let keypoints = features.keypoints(&SparseConfig { max_keypoints, ..Default::default() });
        Ok(ImageFeatures {
            dense: features.descriptors(),
            pixels: keypoints.pixels,
            descriptors: keypoints.descriptors,
        })
    }
}
