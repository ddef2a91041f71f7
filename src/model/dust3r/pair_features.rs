//! MASt3R as the source of features: places are found by what its encoder sees, and matched by
//! looking at both images together.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use image::RgbImage;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::encoder::Encoded;
use super::failed;
use super::network::Network;
use super::pair::PairNetwork;
use super::preprocess::{FamilyFitting, planes};
use super::reconstruct::{PairGeometry, PlacedMatch};
use super::retrieval::RetrievalModel;
use crate::error::{Error, Result};
use crate::features::{FeatureExtractor, ImageFeatures, PixelPair, Vocabulary};

/// Numbers of a descriptor for retrieval: tokens have a thousand, of which the index would make half
/// a million. Not as many as XFeat's, so that maps do not take the ones for the others.
const RETRIEVAL_DIM: usize = 48;
/// Draws the directions that tokens are seen from; any number would do, but the same for all maps.
const DIRECTIONS_SEED: u64 = 24;
/// Images whose tokens are kept: the one that is looked for, and its candidates.
const KEPT_IMAGES: usize = 16;
/// Matches of two images at most, the surest.
const MAX_MATCHES: usize = 1000;

/// Finds and matches places by MASt3R (Leroy et al., 2024): by the encoder's tokens, and by the
/// descriptors of a pair. Tokens fall into the words of MASt3R-SfM's retrieval model where that is
/// there, and are seen from random directions (Johnson and Lindenstrauss, 1984) where it is not.
#[derive(Debug)]
pub struct PairFeatures {
    network: Arc<Network>,
    long_side_px: usize,
    retrieval: Option<RetrievalModel>,
    tokens: Mutex<VecDeque<(u64, Encoded)>>,
}

impl PairFeatures {
    /// Returns the source of features, with images brought to `long_side_px`.
    ///
    /// # Errors
    /// [`Error::Usage`] for a network without descriptors.
    pub fn new(network: Arc<Network>, long_side_px: usize) -> Result<Self> {
        let features = Self { network, long_side_px, retrieval: None, tokens: Mutex::default() };
        features.pairs().map(|_| ())?;
        Ok(features)
    }

    /// Returns the same source of features, which finds places by a trained retrieval model.
    ///
    /// # Errors
    /// [`Error::Usage`] for the model of another network.
    pub fn with_retrieval(self, model: RetrievalModel) -> Result<Self> {
        model.check_width(self.pairs()?.token_width())?;
        Ok(Self { retrieval: Some(model), ..self })
    }

    fn pairs(&self) -> Result<&PairNetwork> {
        match &*self.network {
            Network::Pair(network) if network.has_descriptors() => Ok(network),
            other => Err(Error::Usage(format!(
                "{} has no descriptors to match images by; use the weights of MASt3R",
                other.family().name()
            ))),
        }
    }

    fn fitting(&self, image: &RgbImage) -> Result<FamilyFitting> {
        FamilyFitting::new(image.width() as usize, image.height() as usize, self.long_side_px)
    }

    /// The tokens of an image, made anew only where they are not among the last ones.
    fn encoded(&self, image: &RgbImage, fitting: &FamilyFitting) -> Result<Encoded> {
        let mut hasher = DefaultHasher::new();
        (image.dimensions(), image.as_raw()).hash(&mut hasher);
        let key = hasher.finish();
        let mut kept = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = kept.iter().position(|(known, _)| *known == key) {
            let found = kept.remove(place);
            kept.extend(found);
        } else {
            let encoded = self.pairs()?.encode(&[&planes(&fitting.image(image)?)?])?;
            kept.push_back((key, encoded));
        }
        let surplus = kept.len().saturating_sub(KEPT_IMAGES);
        kept.drain(..surplus);
        let newest = kept.back().map(|(_, encoded)| encoded.clone());
        newest.ok_or_else(|| Error::Usage("there is no image".into()))
    }
}

impl FeatureExtractor for PairFeatures {
    fn descriptor_dim(&self) -> usize {
        RETRIEVAL_DIM
    }

    fn vocabulary(&self) -> Option<Vocabulary> {
        let codebook = self.retrieval.as_ref()?.codebook();
        Some(Vocabulary { dim: codebook.dim(), centroids: Arc::clone(codebook.centroids()) })
    }

    /// Returns no keypoints: images are matched in pairs.
    fn extract(&mut self, image: &RgbImage, _max_keypoints: usize) -> Result<ImageFeatures> {
        let encoded = self.encoded(image, &self.fitting(image)?)?;
        let tokens = encoded.features(0).map_err(failed(self.pairs()?.family().name()))?;
        let width = tokens.len() / encoded.token_count();
        let dense = match &self.retrieval {
            Some(model) => model.tokens(&tokens, width, model.tokens_per_image())?.features,
            None => seen_from_random_directions(&tokens, width),
        };
        Ok(ImageFeatures { dense, ..ImageFeatures::default() })
    }

    fn match_pair(&self, first: &RgbImage, second: &RgbImage) -> Result<Option<Vec<PixelPair>>> {
        let fittings = [self.fitting(first)?, self.fitting(second)?];
        let encoded = [self.encoded(first, &fittings[0])?, self.encoded(second, &fittings[1])?];
        let maps = self.pairs()?.symmetric(&encoded[0], &encoded[1])?;
        let mut matches = PairGeometry::of(&maps)?.matches.unwrap_or_default();
        // Stable, so that of equals those come first that come first in the image.
        matches.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
        matches.truncate(MAX_MATCHES);
        let place = |side: usize, place: [f32; 2]| {
            fittings[side].original_pixel(place.map(f64::from)).map(|x| x as f32)
        };
        let pair = |m: &PlacedMatch| [place(0, m.places[0]), place(1, m.places[1])];
        Ok(Some(matches.iter().map(pair).collect()))
    }
}

/// Tokens of `width` numbers as `RETRIEVAL_DIM` numbers of unit length: what they have in common is
/// taken out, since it is much the same for all images, and the rest is projected.
fn seen_from_random_directions(tokens: &[f32], width: usize) -> Vec<f32> {
    let directions = directions(width);
    let mean = mean(tokens, width);
    let project = |token: &[f32]| {
        let centred: Vec<f32> = token.iter().zip(&mean).map(|(x, m)| x - m).collect();
        let dot = |direction: &[f32]| direction.iter().zip(&centred).map(|(a, b)| a * b).sum();
        let mut seen: Vec<f32> = directions.chunks_exact(width.max(1)).map(dot).collect();
        let length = seen.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        seen.iter_mut().for_each(|x| *x /= length);
        seen
    };
    tokens.chunks_exact(width.max(1)).flat_map(project).collect()
}

fn mean(tokens: &[f32], width: usize) -> Vec<f32> {
    let mut mean = vec![0.0; width];
    let rows = tokens.chunks_exact(width.max(1));
    let share = 1.0 / rows.len().max(1) as f32;
    rows.for_each(|token| mean.iter_mut().zip(token).for_each(|(m, x)| *m += share * x));
    mean
}

/// `RETRIEVAL_DIM` rows of `width` numbers, the same ones each time. Uniform numbers keep lengths and
/// angles as well as normal ones (Achlioptas, 2003).
fn directions(width: usize) -> Vec<f32> {
    let mut random = SmallRng::seed_from_u64(DIRECTIONS_SEED);
    (0..RETRIEVAL_DIM * width).map(|_| random.random_range(-1.0..1.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projected_tokens_keep_what_tells_them_apart() {
        let token = |k: usize| (0..256).map(move |i| 3.0 + ((i * (k + 3)) as f32 * 0.7).sin());
        let tokens: Vec<f32> = [0, 1, 0, 2].into_iter().flat_map(token).collect();
        let seen = seen_from_random_directions(&tokens, 256);
        let row = |i: usize| &seen[i * RETRIEVAL_DIM..(i + 1) * RETRIEVAL_DIM];
        let dot = |i, j| row(i).iter().zip(row(j)).map(|(a, b)| a * b).sum::<f32>();
        assert!((dot(0, 0) - 1.0).abs() < 1e-5 && (dot(0, 2) - 1.0).abs() < 1e-5);
        assert!(dot(0, 1) < 0.8 && dot(0, 3) < 0.8, "{} {}", dot(0, 1), dot(0, 3));
    }
}
