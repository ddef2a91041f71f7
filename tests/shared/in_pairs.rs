//! Features of the kind that MASt3R has, from a network that is at hand.

use std::sync::Mutex;

use image::RgbImage;
use recon_node::error::Result;
use recon_node::features::{FeatureExtractor, ImageFeatures, PixelPair};
use recon_node::matching::mutual_nearest;
use recon_node::model::xfeat::XFeat;

/// Finds places as XFeat does, and has no keypoints: it looks at both images of a pair.
pub struct InPairs(Mutex<XFeat>);

impl InPairs {
    /// Returns it with the weights that come with the program.
    pub fn new() -> Self {
        Self(Mutex::new(XFeat::bundled().unwrap()))
    }
}

impl FeatureExtractor for InPairs {
    fn descriptor_dim(&self) -> usize {
        self.0.lock().unwrap().descriptor_dim()
    }

    fn extract(&mut self, image: &RgbImage, max_keypoints: usize) -> Result<ImageFeatures> {
        let dense = self.0.lock().unwrap().extract(image, max_keypoints)?.dense;
        Ok(ImageFeatures { dense, ..ImageFeatures::default() })
    }

    fn match_pair(&self, first: &RgbImage, second: &RgbImage) -> Result<Option<Vec<PixelPair>>> {
        let mut network = self.0.lock().unwrap();
        let [a, b] = [first, second].map(|image| network.extract(image, 1000).unwrap());
        let found = mutual_nearest(64, &a.descriptors, &b.descriptors, 0.75)?;
        let pixels = |(i, j): &(u32, u32)| [a.pixels[*i as usize], b.pixels[*j as usize]];
        Ok(Some(found.iter().map(pixels).collect()))
    }
}
