//! Odometry of frames from topics and `/tf` of a bag.

use crate::support::bags::{ODOMETRY, OPTICAL, Recording, START, TF};
use crate::support::messages::{odometry, transform};
use crate::support::{assert_tells, read};
use recon_node::dataset::{OpenOptions, TopicNames};

/// Writes a recording as MCAP and reads it.
fn read_mcap(recording: &Recording, options: &OpenOptions) -> crate::support::Delivered {
    let folder = tempfile::tempdir().unwrap();
    read(&recording.mcap(&folder.path().join("bag.mcap")), options)
}

/// Adds odometry at 50 Hz over three frames, and where the camera sits.
fn with_odometry(with_static: bool, with_topic: bool) -> Recording {
    let mut recording = Recording::default();
    // A camera half a metre before the base, looking forward: optical z is x of the base.
    let base_from_optical = [0.5, 0.0, 0.2, -0.5, 0.5, -0.5, 0.5];
    if with_static {
        let message = transform(START, "base_link", OPTICAL, base_from_optical);
        recording.add("/tf_static", TF, START - 1, message);
    }
    recording.0.extend(Recording::rgbd(3).0);
    for index in -1..15i64 {
        let (nanos, x) = (START + 5_000_000 + index * 20_000_000, index as f64 * 0.02 + 0.005);
        if with_topic {
            recording.add("/odom", ODOMETRY, nanos, odometry(nanos, "base_link", x, 0.01));
        } else {
            let pose = [x, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
            recording.add("/tf", TF, nanos, transform(nanos, "odom", "base_link", pose));
        }
    }
    recording
}

#[test]
fn odometry_is_interpolated_and_moved_to_the_camera() {
    for with_topic in [true, false] {
        let delivered = read_mcap(&with_odometry(true, with_topic), &OpenOptions::default());
        assert!(delivered.skips.is_empty(), "{:?}", delivered.skips);
        for (index, frame) in delivered.frames.iter().enumerate() {
            let prior = frame.odometry.expect("odometry");
            let x = prior.odom_from_camera.translation.x;
            assert!((x - (0.5 + 0.1 * index as f64)).abs() < 1e-9, "{x} at {index}");
            let forward = prior.odom_from_camera.rotation * nalgebra::Vector3::z();
            assert!((forward - nalgebra::Vector3::x()).norm() < 1e-9);
            assert_eq!(prior.covariance.is_some(), with_topic);
        }
    }
}

#[test]
fn odometry_without_a_way_to_the_camera_is_left_out_and_said() {
    let delivered = read_mcap(&with_odometry(false, true), &OpenOptions::default());
    assert_eq!(delivered.frames.len(), 3);
    assert!(delivered.frames.iter().all(|frame| frame.odometry.is_none()));
    assert_eq!(delivered.skips.len(), 1);
    assert_tells(delivered.reasons()[0], &["base_link", OPTICAL, "transform"]);
}

#[test]
fn odometry_can_be_left_out() {
    let topics = TopicNames { odom: Some("none".to_owned()), ..TopicNames::default() };
    for with_topic in [true, false] {
        let options = OpenOptions { topics: topics.clone(), ..OpenOptions::default() };
        let delivered = read_mcap(&with_odometry(true, with_topic), &options);
        assert!(delivered.frames.iter().all(|frame| frame.odometry.is_none()));
        assert!(delivered.skips.is_empty());
    }
}
