//! The pipeline over whole sequences: every frame placed, the same bits each time.

use recon_node::config::Config;
use recon_node::evaluation::{DEFAULT_MAX_DIFFERENCE_SECS, evaluate_trajectory};
use recon_node::frame::{Frame, OdometryPrior};
use recon_node::geometry::Se3;
use recon_node::model::SensorDepth;
use recon_node::observer::{MapUpdate, TrackingState};
use recon_node::pipeline::Pipeline;
use recon_node::simulator::{Material, Pattern, Scene, Simulator, SimulatorConfig};
use recon_node::source::FrameSource;
use recon_node::trajectory::{StampedPose, Trajectory};

use crate::support::{Room, SIZE, frame_of, on_threads, pose, pose_error};

/// Returns a pipeline with the default configuration.
pub fn pipeline() -> Pipeline {
    let config = Config::default();
    let model = SensorDepth::new(config.sensor.clone());
    Pipeline::new(config, Box::new(model))
}

/// Returns what becomes of each frame.
pub fn process(pipeline: &mut Pipeline, frames: &[Frame]) -> Vec<MapUpdate> {
    frames.iter().map(|frame| pipeline.process(frame).unwrap()).collect()
}

/// Returns where the camera is at frame `index`: swaying through the room, looking about.
pub fn sway(index: usize) -> Se3 {
    let time = index as f64 / 30.0;
    pose(
        [3.0 * (1.3 * time).sin(), 22.0 * (0.8 * time).sin(), 2.0 * time.sin()],
        [0.4 * (0.9 * time).sin(), 0.1 * (1.7 * time).sin(), 0.2 * (1.0 - (1.1 * time).cos())],
    )
}

/// Returns the frames of the sway.
pub fn swaying(count: usize) -> Vec<Frame> {
    (0..count).map(|index| Room::new().numbered(index, &sway(index))).collect()
}

fn truth(frames: &[Frame], pose: impl Fn(usize) -> Se3) -> Trajectory {
    let stamped =
        |(i, f): (usize, &Frame)| StampedPose { stamp: f.stamp, world_from_camera: pose(i) };
    Trajectory::new(frames.iter().enumerate().map(stamped).collect())
}

/// Root mean square of the trajectory's error after alignment, metres.
fn ate_m(found: &Trajectory, truth: &Trajectory) -> f64 {
    let evaluation = evaluate_trajectory(found, truth, None, DEFAULT_MAX_DIFFERENCE_SECS).unwrap();
    evaluation.metrics.ate_se3
}

/// Every frame's pose against the truth, the first frame's pose being the world.
pub fn assert_true(updates: &[MapUpdate], true_pose: impl Fn(usize) -> Se3, metres: f64) {
    for update in updates.iter().filter(|u| u.state.has_pose()) {
        let truth = true_pose(0).inv_mul(&true_pose(update.frame_id as usize));
        let error = pose_error(&update.world_from_camera.unwrap(), &truth);
        // A degree for each 5 cm: what a turn moves things three metres away.
        assert!(error.is_within(metres, 20.0 * metres), "frame {}: {error:?}", update.frame_id);
    }
}

#[test]
fn a_sway_through_the_room_is_tracked_throughout() {
    let frames = swaying(60);
    let mut pipeline = pipeline();
    let updates = process(&mut pipeline, &frames);
    assert!(updates.iter().all(|u| u.state == TrackingState::Tracking));
    assert!(updates.iter().all(|u| u.world_from_camera.is_some() && u.covariance.is_some()));
    // Exact images: some millimetres add up from keyframe to keyframe.
    assert_true(&updates, sway, 0.01);
    let ate_m = ate_m(&pipeline.trajectory(), &truth(&frames, sway));
    assert!(ate_m < 0.005, "{ate_m} m");
    let keyframes = pipeline.map().len();
    assert!((2..20).contains(&keyframes), "{keyframes} keyframes");
    assert_eq!(updates.last().unwrap().keyframes, keyframes);
}

/// Something of everything, and quick to bake.
pub fn small_scene() -> Scene {
    let paper = Material::tiled(Pattern::Wallpaper, [0.7, 0.6, 0.5], [0.4, 0.5, 0.4]);
    let wood = Material::fitted(Pattern::Wood, [0.6, 0.4, 0.3], [0.4, 0.3, 0.2]);
    let poster = Material::fitted(Pattern::Poster, [0.8, 0.7, 0.6], [0.3, 0.4, 0.6]);
    let [paper, wood, poster] = [paper, wood, poster].map(|m| m.with_texels(256));
    Scene::new()
        .room([5.0, 4.6, 2.5], paper, wood, paper)
        .cuboid([0.0, 0.0, 0.0], [1.0, 0.8, 0.7], 0.3, wood)
        .sphere([0.2, 0.0, 0.9], 0.2, poster)
        .column([-1.5, 1.8, 0.0], 0.15, 2.0, 12, poster)
        .picture([2.48, 0.0, 1.4], std::f64::consts::PI, [1.2, 1.0], poster)
}

/// With noise, blur and changing exposure, as a camera has them.
#[test]
fn a_noisy_recording_is_tracked_throughout() {
    let config = SimulatorConfig { width: 320, height: 240, ..SimulatorConfig::default() };
    let mut simulator = Simulator::with_scene(config, small_scene()).unwrap();
    let mut pipeline = pipeline();
    for index in 0..40 {
        let update = pipeline.process(&simulator.render(index).unwrap()).unwrap();
        assert_eq!(update.state, TrackingState::Tracking, "frame {index}");
    }
    let truth = simulator.info().reference.clone().unwrap();
    let ate_m = ate_m(&pipeline.trajectory(), &truth);
    // A centimetre: half a pixel at three metres.
    assert!(ate_m < 0.01, "{ate_m} m");
}

#[test]
fn two_runs_are_the_same_bits_on_any_number_of_threads() {
    let frames = swaying(40);
    let run = || {
        let mut pipeline = pipeline();
        let updates = process(&mut pipeline, &frames);
        let cloud = pipeline.map().cloud(&pipeline.config().map);
        (updates, pipeline.trajectory(), cloud)
    };
    let first = on_threads(1, run);
    assert!(first.1.poses().len() == 40 && first.0.last().unwrap().keyframes > 1);
    for threads in [1, 2, 3] {
        assert!(on_threads(threads, run) == first, "{threads} threads");
    }
}

/// A camera that sees nothing yet, as some do for their first frames.
#[test]
fn the_map_begins_with_the_first_frame_that_has_depth() {
    let mut frames = swaying(8);
    frames[0].depth = None;
    frames[1].depth = None;
    let mut pipeline = pipeline();
    let updates = process(&mut pipeline, &frames);
    for update in &updates[..2] {
        let TrackingState::Initializing(reason) = &update.state else { panic!("{update:?}") };
        assert!(reason.contains("depth"), "{reason}");
        assert_eq!((update.world_from_camera, update.keyframes), (None, 0));
    }
    assert_eq!(updates[2].world_from_camera, Some(Se3::identity()));
    assert!(updates[2..].iter().all(|u| u.state == TrackingState::Tracking));
    assert_eq!(pipeline.trajectory().poses().len(), 6);
}

#[test]
fn a_first_frame_that_measures_nothing_does_not_begin_the_map() {
    let dark = frame_of(SIZE, |_, _| 0, |_, _| f32::NAN);
    let mut frames = swaying(8);
    frames.iter_mut().take(3).for_each(|f| f.depth.clone_from(&dark.depth));
    let updates = process(&mut pipeline(), &frames);
    for update in &updates[..3] {
        let TrackingState::Initializing(reason) = &update.state else { panic!("{update:?}") };
        assert!(reason.contains("depth"), "{reason}");
    }
    assert!(updates[3..].iter().all(|u| u.state == TrackingState::Tracking));
}

#[test]
fn a_frame_without_calibration_is_refused_with_the_reason() {
    let mut frames = swaying(4);
    frames[0].camera = None;
    frames[2].camera = None;
    let updates = process(&mut pipeline(), &frames);
    for index in [0, 2] {
        let TrackingState::Initializing(reason) = &updates[index].state else { panic!() };
        assert!(reason.contains("calibration"), "{reason}");
        assert_eq!(updates[index].world_from_camera, None);
    }
    assert_eq!(updates[3].state, TrackingState::Tracking);
}

#[test]
fn a_frame_without_depth_is_placed_by_its_image() {
    let mut frames = swaying(20);
    frames.iter_mut().skip(10).step_by(2).for_each(|frame| frame.depth = None);
    let updates = process(&mut pipeline(), &frames);
    assert!(updates.iter().all(|u| u.state == TrackingState::Tracking));
    assert_true(&updates, sway, 0.01);
}

/// Two frames a second, each turned by 40 degrees and 18 cm further on.
fn leap(index: usize) -> Se3 {
    let leaps = index as f64;
    pose([0.0, 40.0 * leaps, 0.0], [0.15 * leaps, 0.0, 0.1 * leaps])
}

fn leaping(with_odometry: bool) -> Vec<Frame> {
    let odom_from_world = pose([10.0, 20.0, 30.0], [1.0, 2.0, 3.0]);
    let frame = |index: usize| {
        // Odometry that is off by a centimetre and half a degree.
        let off = pose([0.0, 0.5, 0.0], [0.01, 0.0, 0.0]);
        let odom_from_camera = odom_from_world * leap(index) * off;
        let prior = OdometryPrior { odom_from_camera, covariance: None };
        let stamp = recon_node::stamp::Stamp::from_secs(0.5 * index as f64);
        let odometry = with_odometry.then_some(prior);
        Frame { stamp, odometry, ..Room::new().numbered(index, &leap(index)) }
    };
    (0..5).map(frame).collect()
}

#[test]
fn odometry_carries_over_leaps_that_images_alone_do_not() {
    let placed = |with_odometry: bool| {
        let updates = process(&mut pipeline(), &leaping(with_odometry));
        assert_true(&updates, leap, 0.03);
        updates.iter().filter(|u| u.state.has_pose()).count()
    };
    assert_eq!(placed(true), 5);
    assert!(placed(false) < 5, "the case is too easy to show anything");
}

#[test]
fn images_that_are_too_small_or_empty_are_no_panic() {
    for size in [(1, 1), (2, 2), (16, 1), (1, 16), (5000, 3)] {
        let frame = frame_of(size, |x, _| x as u8, |_, _| 2.0);
        let mut pipeline = pipeline();
        for update in process(&mut pipeline, &[frame.clone(), frame]) {
            let poses = update
                .world_from_camera
                .iter()
                .flat_map(|p| p.translation.vector.iter().copied().collect::<Vec<_>>());
            assert!(poses.into_iter().all(f64::is_finite), "{size:?}");
        }
    }
}

/// What comes into view beside a keyframe is measured by all frames from then on, though only the next
/// keyframe has a place for it.
#[test]
fn a_new_keyframe_knows_what_frames_before_it_measured() {
    let noise = Config::default().sensor.noise();
    let mut pipeline = pipeline();
    let updates = process(&mut pipeline, &swaying(40));
    let newest = updates.iter().rfind(|update| update.new_keyframe.is_some()).unwrap();
    // The same up to that keyframe: no frame after it has sharpened it.
    let mut pipeline = self::pipeline();
    process(&mut pipeline, &swaying(newest.frame_id as usize + 1));
    let keyframe = pipeline.map().get(newest.new_keyframe.unwrap()).unwrap();
    let map = &keyframe.pointmap;
    let pixels = (0..map.height()).flat_map(|y| (0..map.width()).map(move |x| (x, y)));
    let counts: Vec<f64> = pixels
        .filter_map(|(x, y)| {
            let sigma_m = noise.sigma_m(f64::from(map.point(x, y)?.z));
            Some(f64::from(map.confidence(x, y)) * sigma_m.powi(2))
        })
        .collect();
    let often = counts.iter().filter(|count| **count > 5.0).count();
    assert!(newest.frame_id > 8 && 10 * often > 8 * counts.len(), "{often} of {}", counts.len());
}
