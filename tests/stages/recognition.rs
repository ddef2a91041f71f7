//! Recognition: places seen again from elsewhere. Loops are tested in `tests/loops`.

use image::RgbImage;
use nalgebra::Matrix6;
use recon_node::config::Config;
use recon_node::error::Result;
use recon_node::features::{FeatureExtractor, ImageFeatures, PixelPair, Vocabulary};
use recon_node::frame::Frame;
use recon_node::geometry::Se3;
use recon_node::inference::Models;
use recon_node::keyframe::KeyframeId;
use recon_node::matching::retrieval::Codebook;
use recon_node::matching::two_view::TwoViewPose;
use recon_node::model;
use recon_node::observer::TrackingState;
use recon_node::pipeline::Pipeline;
use recon_node::recognition::{RecognitionConfig, Recognizer, Sighting};

use crate::in_pairs::InPairs;
use crate::pipeline::process;
use crate::support::{Room, pose, pose_error};

/// Large enough for features.
const SIZE: (u32, u32) = (400, 300);

fn pipeline() -> Pipeline {
    let config = Config::default();
    let models = model::open(&config).unwrap();
    Pipeline::new(config, models)
}

fn room() -> Room {
    Room { size: SIZE, ..Room::new() }
}

/// A slow look about, 2 degrees a frame.
fn look(index: usize) -> Se3 {
    pose([0.0, 2.0 * index as f64, 0.0], [0.01 * index as f64, 0.0, 0.0])
}

fn looking(count: usize) -> Vec<Frame> {
    (0..count).map(|index| room().numbered(index, &look(index))).collect()
}

/// Another paint, that is another place.
fn elsewhere(index: usize) -> Frame {
    Room { seed: 99, ..room() }.numbered(index, &look(index))
}

/// Where the camera is put down again, far from every keyframe.
fn put_down() -> Vec<Se3> {
    vec![
        pose([0.0, -32.0, 0.0], [0.0, 0.0, 0.0]),
        pose([8.0, -25.0, 5.0], [-0.3, 0.1, 0.2]),
        pose([0.0, 10.0, 35.0], [0.2, 0.0, -0.3]),
        pose([-20.0, 15.0, 0.0], [0.5, 0.3, 0.0]),
    ]
}

#[test]
fn a_camera_that_was_carried_off_is_recognised_from_far_off() {
    is_recognised_from_far_off(pipeline);
}

#[test]
fn a_network_that_looks_at_pairs_recognises_without_keypoints() {
    is_recognised_from_far_off(|| pipeline_with(InPairs::new()));
}

fn pipeline_with(features: impl FeatureExtractor + 'static) -> Pipeline {
    let config = Config::default();
    let geometry = model::open_geometry(&config).unwrap();
    Pipeline::new(config, Models { geometry, features: Some(Box::new(features)) })
}

/// As [`InPairs`], and compares images by words that were trained with its descriptors.
struct ByWords(InPairs, Vocabulary);

impl ByWords {
    fn trained() -> Self {
        let mut network = InPairs::new();
        let image =
            |index| Room { seed: 50 + index as u32, ..room() }.numbered(index, &look(index));
        let dense = |index| network.extract(&image(index).color, 100).unwrap().dense;
        let dense: Vec<f32> = (0..4).flat_map(dense).collect();
        let book = Codebook::train(64, &dense, 128, 3).unwrap();
        Self(network, Vocabulary { dim: 64, centroids: book.centroids().clone() })
    }
}

impl FeatureExtractor for ByWords {
    fn descriptor_dim(&self) -> usize {
        self.0.descriptor_dim()
    }

    fn vocabulary(&self) -> Option<Vocabulary> {
        Some(self.1.clone())
    }

    fn extract(&mut self, image: &RgbImage, max_keypoints: usize) -> Result<ImageFeatures> {
        self.0.extract(image, max_keypoints)
    }

    fn match_pair(&self, first: &RgbImage, second: &RgbImage) -> Result<Option<Vec<PixelPair>>> {
        self.0.match_pair(first, second)
    }
}

#[test]
fn places_are_found_by_the_words_that_come_with_a_network() {
    is_recognised_from_far_off(|| pipeline_with(ByWords::trained()));
}

/// What a map keeps of words is enough to find its keyframes by, in an extractor of the same words.
#[test]
fn keyframes_are_found_by_their_kept_words() {
    let frames = looking(12);
    let mut first = Recognizer::new(RecognitionConfig::default(), Box::new(ByWords::trained()));
    let mut second = Recognizer::new(RecognitionConfig::default(), Box::new(ByWords::trained()));
    for (id, frame) in (0..).map(KeyframeId).zip(&frames) {
        let features = first.describe(&frame.color, frame).unwrap();
        first.insert(id, features).unwrap();
        second.restore(id, first.stored(id).unwrap()).unwrap();
    }
    let query = first.describe(&frames[3].color, &frames[3]).unwrap();
    let found = [&first, &second].map(|known| known.candidates(&query, |_| false).unwrap());
    assert_eq!(found[0], found[1]);
    assert_eq!(found[0][0], KeyframeId(3));
    let pooled = InPairs::new();
    let mut other = Recognizer::new(RecognitionConfig::default(), Box::new(pooled));
    assert!(other.restore(KeyframeId(0), first.stored(KeyframeId(0)).unwrap()).is_err());
}

fn is_recognised_from_far_off(pipeline: impl Fn() -> Pipeline) {
    for (case, stand) in put_down().into_iter().enumerate() {
        let mut pipeline = pipeline();
        let mapped = process(&mut pipeline, &looking(15));
        assert!(mapped.iter().all(|u| u.state == TrackingState::Tracking));
        let away: Vec<Frame> = (15..18).map(elsewhere).collect();
        for update in process(&mut pipeline, &away) {
            assert!(matches!(update.state, TrackingState::Lost(_)), "{case}: {update:?}");
        }
        let again = process(&mut pipeline, &[room().numbered(18, &stand)]).remove(0);
        assert_eq!(again.state, TrackingState::Relocalized, "{case}");
        let error = pose_error(&again.world_from_camera.unwrap(), &look(0).inv_mul(&stand));
        assert!(error.is_within(0.03, 1.0), "{case}: {error:?}");
        let next = room().numbered(19, &(stand * pose([0.0, 1.0, 0.0], [0.01, 0.0, 0.0])));
        let next = process(&mut pipeline, &[next]).remove(0);
        assert_eq!(next.state, TrackingState::Tracking, "{case}");
    }
}

/// Says nothing: what is tested does not look at images.
struct Blind;

impl FeatureExtractor for Blind {
    fn descriptor_dim(&self) -> usize {
        4
    }

    fn extract(&mut self, _image: &RgbImage, _max_keypoints: usize) -> Result<ImageFeatures> {
        Ok(ImageFeatures::default())
    }
}

fn sighting(id: u32, inliers: usize, world_from_view: Se3) -> Sighting {
    let pose = TwoViewPose {
        target_from_source: world_from_view,
        information: Matrix6::identity(),
        inliers: (0..inliers).collect(),
        rms_sigmas: 1.0,
    };
    Sighting { keyframe: KeyframeId(id), pose, world_from_view }
}

#[test]
fn a_place_counts_when_keyframes_agree_and_no_other_is_as_likely() {
    let recognizer = Recognizer::new(RecognitionConfig::default(), Box::new(Blind));
    let here = |id| sighting(id, 50, pose([0.0, 0.5 * f64::from(id), 0.0], [0.0; 3]));
    let there = |id| sighting(id, 90, pose([0.0; 3], [4.0, 0.0, 0.01 * f64::from(id)]));
    let agreed = |sightings: &[Sighting]| {
        let agreed = recognizer.consensus(sightings)?;
        Some(agreed.iter().map(|s| s.keyframe.0).collect::<Vec<_>>())
    };
    assert_eq!(agreed(&[]), None);
    assert_eq!(agreed(&[here(1)]), None);
    assert_eq!(agreed(&[here(1), here(2)]), Some(vec![1, 2]));
    assert_eq!(agreed(&[there(7), here(1), here(2)]), Some(vec![1, 2]));
    assert_eq!(agreed(&[there(7), here(1), there(8), here(2)]), None, "two places look alike");
    assert_eq!(agreed(&[here(1), there(7)]), None);
}
