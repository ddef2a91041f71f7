//! Kidnapping on real recordings: three seconds are cut out while the camera looks at another
//! place, and then goes on elsewhere in the map. Recordings are looked for as in `recordings`.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]
#![expect(clippy::print_stderr, reason = "figures are for people, and so is what is skipped")]

#[path = "shared/frames.rs"]
mod all;
mod shared;

use recon_node::config::Config;
use recon_node::dataset::read_trajectory;
use recon_node::evaluation::{DEFAULT_MAX_DIFFERENCE_SECS, evaluate_trajectory};
use recon_node::frame::Frame;
use recon_node::geometry::{Se3, se3};
use recon_node::model;
use recon_node::observer::{MapUpdate, TrackingState};
use recon_node::pipeline::Pipeline;
use recon_node::trajectory::{StampedPose, Trajectory};

use all::frames;
use shared::recording;

/// A recording in which the camera is carried off.
struct Kidnapping {
    /// Frames that are mapped first.
    mapped: std::ops::Range<usize>,
    /// Frames at which it is put down again.
    after: std::ops::Range<usize>,
}

/// What became of it.
struct Outcome {
    /// Frames after the kidnapping until there was a pose again.
    frames_lost: Option<usize>,
    updates: Vec<MapUpdate>,
    /// Poses of what was mapped first.
    mapped: Vec<StampedPose>,
    /// How far the first frame with a pose is from the nearest keyframe: metres and degrees.
    baseline: (f64, f64),
}

impl Kidnapping {
    /// Between, the camera sees frames of another recording, in which it must find nothing.
    fn run(&self, frames: &[Frame], elsewhere: &[Frame]) -> Outcome {
        let config = Config::default();
        let mut pipeline = Pipeline::new(config.clone(), model::open(&config).unwrap());
        let mut process = |frame: &Frame, nth: usize| {
            let numbered = Frame { id: nth as u64, ..frame.clone() };
            pipeline.process(&numbered).unwrap()
        };
        let count = self.mapped.len();
        let mut mapped = Vec::new();
        for (nth, frame) in frames[self.mapped.clone()].iter().enumerate() {
            let update = process(frame, nth);
            mapped.push(stamped(&update).unwrap());
        }
        let end = frames[self.mapped.end - 1].stamp;
        for (nth, frame) in elsewhere.iter().enumerate() {
            let stamp = end.plus_secs(0.03 * (nth + 1) as f64);
            let update = process(&Frame { stamp, ..frame.clone() }, count + nth);
            assert!(matches!(update.state, TrackingState::Lost(_)), "elsewhere, {nth}: {update:?}");
        }
        let count = count + elsewhere.len();
        let after = frames[self.after.clone()].iter().enumerate();
        let updates: Vec<MapUpdate> = after.map(|(nth, f)| process(f, count + nth)).collect();
        let frames_lost = updates.iter().position(|u| u.state.has_pose());
        let baseline = frames_lost.map_or((f64::NAN, f64::NAN), |first| {
            let pose = updates[first].world_from_camera.unwrap();
            nearest(&pipeline, &pose, updates[first].new_keyframe)
        });
        Outcome { frames_lost, updates, mapped, baseline }
    }
}

/// Distance and angle to the keyframe that looks most alike.
fn nearest(
    pipeline: &Pipeline,
    pose: &Se3,
    own: Option<recon_node::keyframe::KeyframeId>,
) -> (f64, f64) {
    let gaps = pipeline.map().keyframes().filter(|k| own.is_none_or(|own| k.id < own)).map(|k| {
        let gap = k.world_from_camera.inv_mul(pose);
        (gap.translation.vector.norm(), se3::angle_rad(&gap).to_degrees())
    });
    gaps.min_by(|a, b| (a.0 + a.1 / 57.3).total_cmp(&(b.0 + b.1 / 57.3))).unwrap()
}

#[test]
fn a_camera_that_was_carried_off_is_found_within_a_second() {
    let found = |name| recording(name, "kidnapping");
    let (Some(kitchen), Some(desk)) = (found("redkitchen_a"), found("fr1_rpy_a")) else {
        return;
    };
    let (all, elsewhere) = (frames(&kitchen), frames(&desk));
    let truth = read_trajectory(&kitchen.join("groundtruth_sfm.txt")).unwrap();
    let cases = [
        Kidnapping { mapped: 0..150, after: 240..260 },
        Kidnapping { mapped: 100..200, after: 290..310 },
        Kidnapping { mapped: 250..370, after: 60..80 },
    ];
    for case in cases {
        let outcome = case.run(&all, &elsewhere[..10]);
        let (metres, degrees) = outcome.baseline;
        let name = format!("{:?}, then {:?}", case.mapped, case.after);
        eprintln!(
            "{name}: found after {:?} frames, {metres:.2} m and {degrees:.0} degrees from a keyframe",
            outcome.frames_lost,
        );
        assert!(outcome.frames_lost.is_some_and(|frames| frames < 30), "{name}");
        let found: Vec<StampedPose> = outcome.updates.iter().filter_map(stamped).collect();
        assert!(2 * found.len() > outcome.updates.len(), "{name}: {} placed", found.len());
        let ate_m = whole_ate_m(&outcome.mapped, &found, &truth);
        eprintln!("{name}: {} of 20 placed, {:.2} cm off in all", found.len(), 100.0 * ate_m);
        assert!(ate_m < 0.03, "{name}: {ate_m} m");
    }
}

fn stamped(update: &MapUpdate) -> Option<StampedPose> {
    Some(StampedPose { stamp: update.stamp, world_from_camera: update.world_from_camera? })
}

/// Error of what was mapped before and found after, in one frame: a wrong place would show.
fn whole_ate_m(mapped: &[StampedPose], found: &[StampedPose], truth: &Trajectory) -> f64 {
    let all = mapped.iter().chain(found).copied().collect();
    let max_secs = DEFAULT_MAX_DIFFERENCE_SECS;
    evaluate_trajectory(&Trajectory::new(all), truth, None, max_secs).unwrap().metrics.ate_se3
}
