//! Recognition: which keyframes show the place that an image shows, and how it stands to them.
//!
//! An index of the keyframes' descriptors names candidates; matched keypoints give a relative pose,
//! and both views' geometry has to agree by it ([`two_view`](crate::matching::two_view)). Nothing
//! here changes the map: what is found are hypotheses, which the pipeline holds against each other.

mod remembered;
mod stored;

use std::collections::BTreeMap;
use std::sync::Arc;

use image::RgbImage;
use nalgebra::Vector2;

use crate::error::Result;
use crate::features::FeatureExtractor;
use crate::frame::Frame;
use crate::geometry::{Camera, Se3, se3};
use crate::keyframe::{Keyframe, KeyframeId};
use crate::matching::mutual_nearest;
use crate::matching::retrieval::{Appearance, Codebook, PlaceIndex};
use crate::matching::two_view::{
    Correspondence, Observation, Refusal, TwoViewConfig, TwoViewPose, VerifiedView, relative_pose,
    verify, verify_up_to_scale,
};
use crate::pointmap::Pointmap;

pub use remembered::Remembered;
pub use stored::KeyframeFeatures;

/// How places are recognised.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RecognitionConfig {
    /// Whether keyframes are described by learned local features; without, lost frames are found
    /// near the last keyframe only, and loops are closed only where the drift is small.
    pub enabled: bool,
    /// Whether places seen again close loops. Without, a keyframe is tied to what the last ones are
    /// tied to, and no other, so that drift stays as it is: an odometry.
    pub close_loops: bool,
    /// Images wider than this are reduced by a whole factor before features are looked for.
    #[schemars(range(min = 64, max = 4096))]
    pub max_width_px: u32,
    /// Keypoints of an image at most.
    #[schemars(range(min = 50, max = 10_000))]
    pub max_keypoints: usize,
    /// Least similarity (cosine) of the descriptors of a match.
    #[schemars(range(min = -1.0, max = 1.0))]
    pub min_match_similarity: f32,
    /// Keyframes that are compared with one image.
    #[schemars(range(min = 1, max = 100))]
    pub max_candidates: usize,
    /// A keyframe at least this many keyframes older closes a loop.
    #[schemars(range(min = 1, max = 10_000))]
    pub min_loop_gap_keyframes: u32,
    /// Two keyframes agree on where a third is when they differ by less than this, metres.
    #[schemars(range(min = 0.001, max = 10.0))]
    pub max_disagreement_m: f64,
    /// The same for its rotation, degrees.
    #[schemars(range(min = 0.1, max = 90.0))]
    pub max_disagreement_deg: f64,
    /// Drift that is usual, as a share of the way and of the turns: a loop that would correct more
    /// has to be borne out by other places than the one where it was seen first.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub usual_drift_frac: f64,
    /// Most drift, as a share of the way and of the turns: a loop that would correct more is
    /// refused, since it is two places that look alike.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_drift_frac: f64,
    /// Whether places that odometry cannot have led to are refused, where there is odometry, when a
    /// lost camera is looked for or maps are joined; false for cameras that are carried about
    /// without their odometry.
    pub ask_odometry: bool,
    /// When two views count as seeing the same place.
    pub two_view: TwoViewConfig,
}

impl Default for RecognitionConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            close_loops: true,
            max_width_px: 852,
            max_keypoints: 1000,
            min_match_similarity: 0.75,
            max_candidates: 5,
            min_loop_gap_keyframes: 10,
            max_disagreement_m: 0.15,
            max_disagreement_deg: 5.0,
            usual_drift_frac: 0.01,
            max_drift_frac: 0.1,
            ask_odometry: true,
            two_view: TwoViewConfig::default(),
        }
    }
}

/// The features of one view, in the pixels that the view is worked with.
#[derive(Debug, Clone)]
pub struct ViewFeatures {
    pixels: Vec<Vector2<f64>>,
    descriptors: Vec<f32>,
    /// What the whole image looks like to the index; given up once others are newer.
    seen: Option<Appearance>,
}

/// A view that is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// Its image, of the camera's size.
    pub image: &'a RgbImage,
    /// Its features.
    pub features: &'a ViewFeatures,
    /// Its camera.
    pub camera: &'a Camera,
    /// Its geometry, where it has any.
    pub pointmap: Option<&'a Pointmap>,
    /// Whether lengths may have drifted between it and the keyframes: then only those of the keyframe are
    /// gone by.
    pub is_up_to_scale: bool,
}

/// A keyframe that a view was recognised by.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// The keyframe.
    pub keyframe: KeyframeId,
    /// How the view stands to it.
    pub pose: TwoViewPose,
    /// Where that puts the view in the world.
    pub world_from_view: Se3,
}

/// Knows the keyframes by their features.
pub struct Recognizer {
    config: RecognitionConfig,
    extractor: Box<dyn FeatureExtractor>,
    features: BTreeMap<KeyframeId, ViewFeatures>,
    index: PlaceIndex,
    /// The keyframe of which it is still known what its whole image looks like.
    newest: Option<KeyframeId>,
    /// The image that was described last, and its features: it may be asked for again.
    described: Option<(Arc<RgbImage>, ViewFeatures)>,
}

impl Recognizer {
    /// Returns a recognizer that knows no keyframe yet.
    pub fn new(config: RecognitionConfig, extractor: Box<dyn FeatureExtractor>) -> Self {
        let words = extractor.vocabulary();
        let codebook = words.and_then(|words| Codebook::new(words.dim, words.centroids).ok());
        let index = PlaceIndex::new(extractor.descriptor_dim(), codebook);
        Self { config, extractor, features: BTreeMap::new(), index, newest: None, described: None }
    }

    /// Forgets all keyframes.
    pub fn clear(&mut self) {
        self.features.clear();
        self.newest = None;
        self.index = self.index.emptied();
    }

    /// Returns the features of a frame, in the pixels of its working size, or `None` where the
    /// image is too small to have any. `color` is the image as it came.
    pub fn describe(&mut self, color: &Arc<RgbImage>, working: &Frame) -> Option<ViewFeatures> {
        if let Some((described, features)) = &self.described
            && Arc::ptr_eq(described, color)
        {
            return Some(features.clone());
        }
        let features = self.described_anew(color, working)?;
        self.described = Some((Arc::clone(color), features.clone()));
        Some(features)
    }

    fn described_anew(&mut self, color: &Arc<RgbImage>, working: &Frame) -> Option<ViewFeatures> {
        let factor = color.width().div_ceil(self.config.max_width_px).max(1);
        let whole =
            Frame { color: Arc::clone(color), depth: None, camera: None, ..working.clone() };
        let image = whole.reduced(factor).color;
        let found = self.extractor.extract(&image, self.config.max_keypoints).ok()?;
        // A working pixel is a whole number of full ones; image corners are at -0.5.
        let full_of_working =
            (f64::from(color.width()) / f64::from(working.color.width())).round().max(1.0);
        let scale = f64::from(factor) / full_of_working;
        let to_working = |v: f32| (f64::from(v) + 0.5).mul_add(scale, -0.5);
        Some(ViewFeatures {
            pixels: found.pixels.iter().map(|p| p.map(to_working).into()).collect(),
            descriptors: found.descriptors,
            seen: Some(self.index.appearance(&found.dense).ok()?),
        })
    }

    /// Takes a keyframe in.
    ///
    /// # Errors
    /// Where another kind of index has seen its image.
    pub fn insert(&mut self, keyframe: KeyframeId, features: ViewFeatures) -> Result<()> {
        if let Some(seen) = &features.seen {
            self.index.insert(keyframe, seen)?;
        }
        let last = self.newest.replace(keyframe).and_then(|last| self.features.get_mut(&last));
        if let Some(last) = last {
            last.seen = None;
        }
        self.features.insert(keyframe, features);
        Ok(())
    }

    /// Returns the keyframes that look most like the view, the most similar first.
    ///
    /// # Errors
    /// As [`Recognizer::insert`].
    pub fn candidates(
        &self,
        features: &ViewFeatures,
        exclude: impl Fn(KeyframeId) -> bool,
    ) -> Result<Vec<KeyframeId>> {
        let Some(seen) = &features.seen else { return Ok(Vec::new()) };
        let found = self.index.query(seen, self.config.max_candidates, exclude)?;
        Ok(found.into_iter().map(|found| found.keyframe).collect())
    }

    /// Returns at most `count` keyframes that look at least as much like the view as each of `known`
    /// does, the most similar first; none where nothing is known.
    ///
    /// # Errors
    /// As [`Recognizer::insert`].
    pub fn as_alike_as(
        &self,
        known: &[KeyframeId],
        features: &ViewFeatures,
        count: usize,
        exclude: impl Fn(KeyframeId) -> bool,
    ) -> Result<Vec<KeyframeId>> {
        let Some(seen) = &features.seen else { return Ok(Vec::new()) };
        let least = self.index.query(seen, known.len(), |id| !known.contains(&id))?;
        let Some(least) = least.last().map(|found| found.score) else { return Ok(Vec::new()) };
        let found = self.index.query(seen, count, exclude)?;
        Ok(found.into_iter().filter(|f| f.score >= least).map(|f| f.keyframe).collect())
    }

    /// Returns how the view stands to a keyframe, if matches and geometry say so.
    pub fn sight(&self, query: &Query<'_>, keyframe: &Keyframe) -> Option<Sighting> {
        let features = self.features.get(&keyframe.id)?;
        let seen = self.correspondences(query, features, keyframe);
        let found = self.related(query, keyframe, &seen).ok()?;
        let world_from_view = keyframe.world_from_camera * found.target_from_source;
        Some(Sighting { keyframe: keyframe.id, pose: found, world_from_view })
    }

    /// Returns the features of a keyframe, if it is the newest, which can still be looked for.
    pub fn newest_features(&self, keyframe: KeyframeId) -> Option<&ViewFeatures> {
        self.features.get(&keyframe).filter(|_| self.newest == Some(keyframe))
    }

    /// Returns whether two sightings put the view at the same place.
    pub fn agree(&self, a: &Sighting, b: &Sighting) -> bool {
        let gap = a.world_from_view.inv_mul(&b.world_from_view);
        gap.translation.vector.norm() <= self.config.max_disagreement_m
            && se3::angle_rad(&gap) <= self.config.max_disagreement_deg.to_radians()
    }

    /// Returns the place that at least two sightings agree on, the best supported first, or `None`
    /// where there is no such place, or another has as much support: two places look alike.
    pub fn consensus(&self, sightings: &[Sighting]) -> Option<Vec<Sighting>> {
        let supporters = |a: &Sighting| -> Vec<Sighting> {
            sightings.iter().filter(|b| self.agree(a, b)).cloned().collect()
        };
        let weight = |group: &[Sighting]| group.iter().map(|s| s.pose.inliers.len()).sum::<usize>();
        let groups: Vec<Vec<Sighting>> = sightings.iter().map(supporters).collect();
        let best = groups.iter().max_by_key(|group| (group.len(), weight(group)))?;
        let rival = groups
            .iter()
            .filter(|group| !group.iter().any(|a| best.iter().any(|b| self.agree(a, b))))
            .map(Vec::len)
            .max()
            .unwrap_or(0);
        (best.len() >= 2 && 2 * rival <= best.len()).then(|| best.clone())
    }

    fn related(
        &self,
        query: &Query<'_>,
        keyframe: &Keyframe,
        seen: &[Correspondence],
    ) -> Result<TwoViewPose, Refusal> {
        let config = &self.config.two_view;
        let Some(pointmap) = query.pointmap else {
            return relative_pose(query.camera, &keyframe.camera, seen, config);
        };
        let view = VerifiedView { camera: query.camera, pointmap };
        let known = VerifiedView { camera: &keyframe.camera, pointmap: &keyframe.pointmap };
        match query.is_up_to_scale {
            true => verify_up_to_scale(&view, &known, seen, config).map(|(pose, _)| pose),
            false => verify(&view, &known, seen, config).map(|(pose, _)| pose),
        }
    }

    fn correspondences(
        &self,
        query: &Query<'_>,
        known: &ViewFeatures,
        keyframe: &Keyframe,
    ) -> Vec<Correspondence> {
        let pair = |[pixel, known_pixel]: [Vector2<f64>; 2]| {
            let source = match query.pointmap {
                Some(map) => Observation::of_pointmap(query.camera, map, pixel)?,
                None => Observation::of_pixel(query.camera, pixel)?,
            };
            let target =
                Observation::of_pointmap(&keyframe.camera, &keyframe.pointmap, known_pixel)?;
            Some(Correspondence { source, target })
        };
        self.matches(query, known, keyframe).into_iter().filter_map(pair).collect()
    }

    /// Pixels of the view and of the keyframe that show the same points: as a network that looks at
    /// both says, else by their keypoints.
    fn matches(
        &self,
        query: &Query<'_>,
        known: &ViewFeatures,
        keyframe: &Keyframe,
    ) -> Vec<[Vector2<f64>; 2]> {
        if let Ok(Some(pairs)) = self.extractor.match_pair(query.image, &keyframe.frame.color) {
            return pairs.into_iter().map(|pair| pair.map(|p| p.map(f64::from).into())).collect();
        }
        let (dim, least) = (self.extractor.descriptor_dim(), self.config.min_match_similarity);
        let found = mutual_nearest(dim, &query.features.descriptors, &known.descriptors, least);
        let pixels = |(i, j): (u32, u32)| {
            Some([*query.features.pixels.get(i as usize)?, *known.pixels.get(j as usize)?])
        };
        found.unwrap_or_default().into_iter().filter_map(pixels).collect()
    }
}
