//! MapAnything behind the socket of the pipeline.

use std::sync::Arc;

use image::RgbImage;
use nalgebra::{Point3, Vector3};
use recon_node::frame::{DepthImage, Frame};
use recon_node::geometry::{Camera, Distortion, Intrinsics, Se3};
use recon_node::inference::{Prediction, ReconstructionModel, View};
use recon_node::model::mapanything::preprocess::TargetSize;
use recon_node::model::mapanything::{BackendOptions, InferOptions, MapAnythingBackend};
use recon_node::raster::Raster;
use recon_node::stamp::Stamp;

use crate::support::model;

const WIDTH: u32 = 90;
const HEIGHT: u32 = 64;

fn camera(distortion: Distortion) -> Camera {
    let intrinsics = Intrinsics { fx: 80.0, fy: 80.0, cx: 44.0, cy: 31.0 };
    Camera::new(intrinsics, distortion, WIDTH, HEIGHT).unwrap()
}

fn frame(id: u64, camera: Option<Camera>) -> Frame {
    let pixel = |x: u32, y: u32| {
        let shade =
            |k: u64| ((u64::from(x) * (5 + k) + u64::from(y) * 3 + id * 40 * k) % 256) as u8;
        image::Rgb([shade(1), shade(2), shade(3)])
    };
    let depth =
        Raster::from_fn(WIDTH as usize, HEIGHT as usize, |x, y| 1.0 + (x + y) as f32 * 0.01);
    Frame {
        id,
        stamp: Stamp::from_nanos(id as i64),
        color: Arc::new(RgbImage::from_fn(WIDTH, HEIGHT, pixel)),
        depth: Some(Arc::new(DepthImage::new(depth))),
        camera,
        odometry: None,
    }
}

fn backend(version: &str) -> MapAnythingBackend {
    // Weights of no meaning mask nearly everything.
    let infer = InferOptions { mask: None, ..BackendOptions::default().infer };
    let target = TargetSize::LongestSide(84);
    MapAnythingBackend::new(model(version), BackendOptions { target, infer, ..Default::default() })
}

fn infer(backend: &mut MapAnythingBackend, frames: &[Frame]) -> Prediction {
    let view = |(i, frame)| {
        let step = Vector3::new(0.1 * i as f64, 0.0, 0.0);
        View::measured(frame).at(Se3::from_parts(step.into(), Default::default()))
    };
    let views: Vec<View<'_>> = frames.iter().enumerate().map(view).collect();
    backend.infer(&views).unwrap()
}

fn frames(ids: std::ops::Range<u64>) -> Vec<Frame> {
    ids.map(|id| frame(id, Some(camera(Distortion::None)))).collect()
}

#[test]
fn a_view_that_stays_in_the_window_is_encoded_once() {
    for version in ["v1", "v11"] {
        let mut backend = backend(version);
        let frames = frames(0..5);
        infer(&mut backend, &frames[0..4]);
        assert_eq!(backend.encoded_count(), 4);
        let kept = infer(&mut backend, &frames[1..5]);
        assert_eq!(backend.encoded_count(), 5);
        let fresh = infer(&mut self::backend(version), &frames[1..5]);
        for (kept, fresh) in kept.views.iter().zip(&fresh.views) {
            let (x, y) = (40, 30);
            let (a, b) = (kept.pointmap.point(x, y).unwrap(), fresh.pointmap.point(x, y).unwrap());
            assert!((a - b).norm() < 1e-4 * b.norm());
        }
    }
}

/// Two recordings count their frames from zero alike.
#[test]
fn another_image_under_a_known_number_is_encoded_anew() {
    let mut backend = backend("v1");
    infer(&mut backend, &frames(0..2));
    infer(&mut backend, &frames(0..2));
    assert_eq!(backend.encoded_count(), 4);
}

#[test]
fn pointmaps_are_of_the_frames_size_and_along_its_rays() {
    let distortions = [Distortion::None, Distortion::PlumbBob([0.08, -0.02, 0.001, 0.0, 0.0])];
    for distortion in distortions {
        let camera = camera(distortion);
        let frames = [frame(0, Some(camera)), frame(1, Some(camera))];
        let prediction = infer(&mut backend("v11"), &frames);
        assert!(prediction.is_metric);
        for view in &prediction.views {
            let map = &view.pointmap;
            assert_eq!((map.width() as u32, map.height() as u32), (WIDTH, HEIGHT));
            assert_eq!(view.camera, camera);
            assert!(map.valid_frac() > 0.5);
            for (x, y) in [(5, 9), (44, 31), (80, 60)] {
                let Some(point) = map.point(x, y) else { continue };
                let pixel = camera.project(&Point3::from(point.cast::<f64>())).unwrap();
                assert!((pixel.x - x as f64).hypot(pixel.y - y as f64) < 1e-2);
                assert!(map.confidence(x, y) > 0.0);
            }
        }
    }
}

#[test]
fn what_is_cropped_off_has_no_points() {
    // 90x64 becomes 84x56: the frame is higher than the network's image by three rows of its own.
    let prediction = infer(&mut backend("v1"), &frames(0..1));
    let map = &prediction.views[0].pointmap;
    let valid_row = |y: usize| (0..WIDTH as usize).filter(|&x| map.point(x, y).is_some()).count();
    assert_eq!(valid_row(0), 0);
    assert_eq!(valid_row(HEIGHT as usize - 1), 0);
    assert!(valid_row(HEIGHT as usize / 2) > 0);
}

#[test]
fn the_first_view_is_the_windows_frame() {
    let prediction = infer(&mut backend("v1"), &frames(0..3));
    let first = prediction.views[0].window_from_camera.unwrap();
    assert!((first.to_homogeneous() - Se3::identity().to_homogeneous()).norm() < 1e-5);
    assert!(prediction.views[2].window_from_camera.unwrap().translation.vector.norm() > 0.0);
}

#[test]
fn descriptors_are_of_length_one_and_tell_images_apart() {
    for version in ["v1", "v11"] {
        let prediction = infer(&mut backend(version), &frames(0..3));
        let descriptors: Vec<_> =
            prediction.views.iter().map(|view| view.descriptor.clone().unwrap()).collect();
        let alike = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        for (i, a) in descriptors.iter().enumerate() {
            assert!((alike(a, a) - 1.0).abs() < 1e-5);
            for b in &descriptors[i + 1..] {
                assert!(alike(a, b) < 1.0 - 1e-6);
            }
        }
    }
}

/// Each would tell the network of a scene of 1e-8 metres.
#[test]
fn a_pose_without_baseline_and_depth_without_pixels_are_left_out() {
    let camera = camera(Distortion::None);
    let plain = Frame { depth: None, ..frame(0, Some(camera)) };
    let empty = Raster::filled(WIDTH as usize, HEIGHT as usize, 0.0);
    let blind = Frame { depth: Some(Arc::new(DepthImage::new(empty))), ..plain.clone() };
    let mut backend = backend("v11");
    let mut depth_m = |frame: &Frame, pose: Option<Se3>| {
        let view = View::measured(frame);
        let views = [pose.map_or(view, |pose| view.at(pose))];
        let prediction = backend.infer(&views).unwrap();
        prediction.views[0].pointmap.point(44, 31).unwrap().z
    };
    let expected_m = depth_m(&plain, None);
    for (frame, pose) in [(&plain, Some(Se3::identity())), (&blind, None)] {
        assert!((depth_m(frame, pose) - expected_m).abs() <= 0.0);
    }
}

/// Random weights see no camera; what they see is an error in words, or a camera of the frame.
#[test]
fn without_calibration_the_camera_is_estimated_or_refused() {
    let frames = [frame(0, None)];
    let views = [View::measured(&frames[0])];
    match backend("v1").infer(&views) {
        Ok(prediction) => assert_eq!(prediction.views[0].camera.width(), WIDTH),
        Err(error) => assert!(error.to_string().contains("calibration"), "{error}"),
    }
}
