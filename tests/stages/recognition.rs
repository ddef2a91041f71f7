//! Recognition: places seen again from elsewhere, after long, or after the way has drifted.

use image::RgbImage;
use nalgebra::Matrix6;
use recon_node::config::Config;
use recon_node::error::Result;
use recon_node::features::{FeatureExtractor, ImageFeatures};
use recon_node::frame::Frame;
use recon_node::geometry::{Camera, Intrinsics, Se3};
use recon_node::keyframe::KeyframeId;
use recon_node::matching::two_view::TwoViewPose;
use recon_node::model;
use recon_node::observer::{MapUpdate, TrackingState};
use recon_node::pipeline::Pipeline;
use recon_node::recognition::{RecognitionConfig, Recognizer, Sighting};

use crate::pipeline::process;
use crate::support::{Room, pose, pose_error};

/// Large enough for features.
const SIZE: (u32, u32) = (400, 300);

fn pipeline(change: impl Fn(&mut Config)) -> Pipeline {
    let mut config = Config::default();
    change(&mut config);
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
    for (case, stand) in put_down().into_iter().enumerate() {
        let mut pipeline = pipeline(|_| {});
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
        // The motion to there is not known, and must not be made up.
        assert_eq!(again.previous_from_camera, None);
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

/// The room, turned about in once and a little more, by a camera that takes its focal length for
/// larger than it is: turns are measured too small, and the round does not close.
fn round_with_a_wrong_focal_length(factor: f64) -> (Vec<Frame>, Vec<Se3>) {
    let stand = |index: usize| {
        let turn_deg = 5.0 * index as f64;
        let (sin, cos) = turn_deg.to_radians().sin_cos();
        pose([0.0, turn_deg, 0.0], [0.3 * sin, 0.0, 0.3 * cos])
    };
    let stands: Vec<Se3> = (0..80).map(stand).collect();
    let frame = |(index, stand): (usize, &Se3)| {
        let frame = room().numbered(index, stand);
        let k = *frame.camera.unwrap().intrinsics();
        let wrong = Intrinsics { fx: factor * k.fx, fy: factor * k.fy, ..k };
        Frame { camera: Some(Camera::pinhole(wrong, SIZE.0, SIZE.1).unwrap()), ..frame }
    };
    (stands.iter().enumerate().map(frame).collect(), stands)
}

/// Largest angle by which a frame is off from where it saw the same before, degrees.
fn gap_deg(pipeline: &Pipeline, stands: &[Se3]) -> f64 {
    let trajectory = pipeline.trajectory();
    let poses = trajectory.poses();
    let gap = |last: usize| {
        let found = poses[last - 72].world_from_camera.inv_mul(&poses[last].world_from_camera);
        pose_error(&found, &stands[last - 72].inv_mul(&stands[last])).degrees
    };
    (76..80).map(gap).fold(0.0, f64::max)
}

#[test]
fn a_loop_closes_after_the_way_has_drifted() {
    let (frames, stands) = round_with_a_wrong_focal_length(1.06);
    let run = |close_loops: bool| {
        let mut pipeline = pipeline(|config| config.recognition.close_loops = close_loops);
        let updates = process(&mut pipeline, &frames);
        assert!(updates.iter().all(|u| u.state.has_pose()));
        let loops: usize = updates.iter().map(|u| u.loops_closed).sum();
        (gap_deg(&pipeline, &stands), loops, updates)
    };
    let (open_deg, _, before) = run(false);
    let (closed_deg, loops, after) = run(true);
    assert!(open_deg > 10.0, "the case is too easy to show anything: {open_deg}");
    assert!(loops >= 1);
    assert!(closed_deg < 0.2 * open_deg, "{closed_deg} of {open_deg} degrees are left");
    // The map bends, odometry does not: it is what it would have been without the loop until the
    // keyframes differ, and never jumps.
    let step = |u: &MapUpdate| u.previous_from_camera.unwrap();
    for (a, b) in before.iter().zip(&after).skip(1) {
        let jump = pose_error(&step(a), &step(b));
        assert!(jump.is_within(0.02, 1.0), "frame {}: {jump:?}", a.frame_id);
    }
}
