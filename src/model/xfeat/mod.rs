//! XFeat: learned local features that are cheap enough for a CPU (Potje, Cadar, Araujo, Martins and
//! Nascimento, "XFeat: Accelerated features for lightweight image matching", CVPR 2024). The
//! weights come with this package; NOTICE names their origin.
//!
//! The network is small enough that moving its maps costs as much as computing them, so its
//! convolutions are its own (`kernel`), over maps that carry their padding with them.

mod conv;
mod extractor;
mod image;
mod kernel;
mod keypoints;
mod refine;
mod sampling;
mod weights;

use safetensors::SafeTensors;

use crate::error::{Error, Result};
use crate::raster::Raster;
use conv::{Chain, Conv, FeatureMap};

pub use image::grey;
pub use keypoints::{LocalFeatures, SparseConfig};
pub use refine::RefinedMatch;

/// Numbers of a descriptor.
pub const DESCRIPTOR_DIM: usize = 64;
/// Pixels of the image along each side of a pixel of the dense maps.
pub const CELL_PX: usize = 8;

/// The network.
#[derive(Debug)]
pub struct XFeat {
    skip: Conv,
    blocks: [Chain; 5],
    fusion: Chain,
    reliability: Chain,
    keypoints: Chain,
    fine: Chain,
}

/// What the network says of an image.
#[derive(Debug, Clone)]
pub struct DenseFeatures {
    /// Pixels of the given image for each pixel of the resized one, along x and y.
    image_scale: [f32; 2],
    /// `[H/8, W/8, 64]`, of any length.
    descriptors: FeatureMap,
    /// `[H/8, W/8, 1]`, 0..1.
    reliability: FeatureMap,
    /// How likely each pixel of the resized image is a keypoint.
    keypoint_probability: Raster<f32>,
}

impl XFeat {
    /// Returns the network with the weights that come with this package.
    ///
    /// # Errors
    /// [`Error::Input`] where the package was built with a file that is not theirs.
    pub fn bundled() -> Result<Self> {
        Self::load(include_bytes!("../../../assets/xfeat.safetensors"))
    }

    /// Returns the network with the weights of a safetensors file's content, as
    /// `scripts/convert_xfeat.py` writes it.
    ///
    /// # Errors
    /// [`Error::Input`] for a file that lacks a tensor.
    pub fn load(content: &[u8]) -> Result<Self> {
        let file = weights::parse(content)?;
        let block = |name: &str, strides: &[usize]| Chain::load(&file, name, strides, false);
        let head = |name: &str, layers: usize| Chain::load(&file, name, &vec![1; layers], true);
        Ok(Self {
            skip: skip(&file)?,
            blocks: [
                block("block1", &[1, 2, 1, 2])?,
                block("block2", &[1, 1])?,
                block("block3", &[2, 1, 1])?,
                block("block4", &[2, 1, 1])?,
                block("block5", &[2, 1, 1, 1])?,
            ],
            fusion: head("block_fusion", 3)?,
            reliability: head("heatmap_head", 3)?,
            keypoints: head("keypoint_head", 4)?,
            fine: head("fine_matcher", 5)?,
        })
    }

    /// Returns the features of an image of intensities (see [`grey`]; any range will do). Its
    /// sides are reduced to multiples of 32.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for an image with a side of less than 32 pixels.
    pub fn features(&self, image: &Raster<f32>) -> Result<DenseFeatures> {
        if image.width().min(image.height()) < image::MULTIPLE {
            return Err(Error::ShapeMismatch {
                what: "size of an image for features",
                expected: format!("{0}x{0} or more", image::MULTIPLE),
                found: format!("{}x{}", image.width(), image.height()),
            });
        }
        let normal = image::normalized(image);
        let descriptors = self.descriptors(&normal);
        let reliability = keypoints::sigmoid(self.reliability.forward(&descriptors));
        let logits = self.keypoints.forward(&image::space_to_depth(&normal));
        let image_scale = [
            image.width() as f32 / normal.width as f32,
            image.height() as f32 / normal.height as f32,
        ];
        let keypoint_probability = keypoints::probability(&logits)?;
        Ok(DenseFeatures { image_scale, descriptors, reliability, keypoint_probability })
    }

    fn descriptors(&self, normal: &FeatureMap) -> FeatureMap {
        let [block1, block2, block3, block4, block5] = &self.blocks;
        let mut quarter = block1.forward(normal);
        image::add_resized(&mut quarter, &self.skip.forward(&image::mean_of_fours(normal)));
        let mut eighth = block3.forward(&block2.forward(&quarter));
        let sixteenth = block4.forward(&eighth);
        image::add_resized(&mut eighth, &sixteenth);
        image::add_resized(&mut eighth, &block5.forward(&sixteenth));
        self.fusion.forward(&eighth)
    }
}

fn skip(file: &SafeTensors<'_>) -> Result<Conv> {
    Conv::load(file, "skip1.0", 1, false)
}
