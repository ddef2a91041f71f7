//! Relocalisation across wide baselines on real recordings: views that share something, but are
//! turned by 30 to 45 degrees against each other, with no view between. Recordings are looked for
//! as in `recordings`.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]
#![expect(clippy::print_stderr, reason = "figures are for people, and so is what is skipped")]

#[path = "shared/frames.rs"]
mod all;
mod shared;

use recon_node::config::Config;
use recon_node::dataset::read_trajectory;
use recon_node::frame::Frame;
use recon_node::geometry::{Se3, se3};
use recon_node::inference::View;
use recon_node::keyframe::{Keyframe, KeyframeId};
use recon_node::model;
use recon_node::pipeline::{PreparedFrame, prepare};
use recon_node::recognition::{Query, Recognizer, ViewFeatures};
use recon_node::window::overlap_frac;

use all::frames;
use shared::recording;

/// Turns between the views that are to be recognised, degrees.
const BASELINE_DEG: std::ops::RangeInclusive<f64> = 30.0..=45.0;
/// What they share at least, in both directions.
const SHARED_FRAC: f64 = 0.3;
/// How far off a pose may be and still be right, metres and degrees.
const RIGHT: (f64, f64) = (0.10, 5.0);

/// A frame at its true pose, as a keyframe and as what is looked for.
struct Known {
    keyframe: Keyframe,
    features: ViewFeatures,
}

/// How often views were recognised.
#[derive(Debug, Default)]
struct Score {
    asked: usize,
    right: usize,
    wrong: usize,
}

fn recognizer() -> Recognizer {
    let config = Config::default();
    Recognizer::new(config.recognition.clone(), model::open(&config).unwrap().features.unwrap())
}

/// Every frame of the recording with a true pose, thinned out.
fn known(name: &str, truth: &str, every: usize) -> Option<Vec<Known>> {
    let folder = recording(name, "wide baselines")?;
    let truth = read_trajectory(&folder.join(truth)).unwrap();
    let (config, mut recognizer) = (Config::default(), recognizer());
    let mut geometry = model::open(&config).unwrap().geometry;
    let posed = frames(&folder).into_iter().filter_map(|frame| {
        let pose = truth.nearest(frame.stamp, 0.02)?.world_from_camera;
        Some((frame, pose))
    });
    let keyframe = |(index, (frame, world_from_camera)): (usize, (Frame, Se3))| {
        let PreparedFrame { frame, camera, pyramid, full_color, .. } =
            prepare(&frame, &config).unwrap();
        let features = recognizer.describe(&full_color, &frame).unwrap();
        let pointmap = geometry.infer(&[View::measured(&frame)]).unwrap().views.remove(0).pointmap;
        let id = KeyframeId(index as u32);
        Known {
            keyframe: Keyframe { id, frame, camera, pyramid, pointmap, world_from_camera },
            features,
        }
    };
    Some(posed.step_by(every).enumerate().map(keyframe).collect())
}

/// Turn between two views in degrees, and what they share.
fn relation(a: &Keyframe, b: &Keyframe) -> (f64, f64) {
    let b_from_a = b.world_from_camera.inv_mul(&a.world_from_camera);
    let there = overlap_frac(&a.pyramid, &b.pyramid, &b_from_a);
    let back = overlap_frac(&b.pyramid, &a.pyramid, &b_from_a.inverse());
    (se3::angle_rad(&b_from_a).to_degrees(), there.min(back))
}

/// Looks for each view among all others that are turned against it by 30 degrees or more.
fn score(all: &[Known]) -> Score {
    let mut recognizer = recognizer();
    for one in all {
        recognizer.insert(one.keyframe.id, one.features.clone()).unwrap();
    }
    let mut score = Score::default();
    for view in all {
        let relations: Vec<(f64, f64)> =
            all.iter().map(|other| relation(&view.keyframe, &other.keyframe)).collect();
        let is_wide =
            |&(deg, shared): &(f64, f64)| BASELINE_DEG.contains(&deg) && shared >= SHARED_FRAC;
        if !relations.iter().any(is_wide) {
            continue;
        }
        let is_near = |id: KeyframeId| relations[id.0 as usize].0 < *BASELINE_DEG.start();
        let (keyframe, features) = (&view.keyframe, &view.features);
        let query = Query {
            image: &keyframe.frame.color,
            features,
            camera: &keyframe.camera,
            pointmap: Some(&keyframe.pointmap),
            is_up_to_scale: false,
        };
        let candidates = recognizer.candidates(features, is_near).unwrap();
        let sightings = candidates
            .iter()
            .filter_map(|id| recognizer.sight(&query, &all[id.0 as usize].keyframe));
        let best = sightings.max_by_key(|sighting| sighting.pose.inliers.len());
        let is_right = best.map(|sighting| {
            let gap = keyframe.world_from_camera.inv_mul(&sighting.world_from_view);
            let (metres, degrees) =
                (gap.translation.vector.norm(), se3::angle_rad(&gap).to_degrees());
            metres <= RIGHT.0 && degrees <= RIGHT.1
        });
        score.asked += 1;
        score.right += usize::from(is_right == Some(true));
        score.wrong += usize::from(is_right == Some(false));
    }
    score
}

/// Recognises views of a recording, and asks for at least this share of them.
fn is_recognised(name: &str, truth: &str, every: usize, least: f64) {
    let Some(all) = known(name, truth, every) else { return };
    let score = score(&all);
    let share = |count: usize| 100.0 * count as f64 / score.asked.max(1) as f64;
    eprintln!(
        "{name}: {} views of {}; {:.0} % recognised, {:.0} % mistaken",
        score.asked,
        all.len(),
        share(score.right),
        share(score.wrong)
    );
    assert!(score.asked >= 5, "{name}: only {} views are far from others", score.asked);
    assert!(share(score.right) >= 100.0 * least, "{name}: {score:?}");
    assert!(share(score.wrong) <= 10.0, "{name}: {score:?}");
}

#[test]
fn views_of_a_kitchen_are_recognised_across_wide_baselines() {
    is_recognised("redkitchen_a", "groundtruth_sfm.txt", 1, 0.5);
}

#[test]
fn views_of_a_desk_are_recognised_across_wide_baselines() {
    is_recognised("fr1_rpy_a", "groundtruth.txt", 2, 0.5);
}

#[test]
fn views_of_a_head_mounted_camera_are_recognised_across_wide_baselines() {
    is_recognised("hololens_a", "groundtruth.txt", 2, 0.5);
}
