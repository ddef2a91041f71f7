//! The embedded model: which depths become points.

use nalgebra::{Vector2, Vector3};
use proptest::prelude::*;
use recon_node::error::Error;
use recon_node::frame::Frame;
use recon_node::inference::{ReconstructionModel, View};
use recon_node::model::SensorDepth;
use recon_node::pointmap::Pointmap;
use recon_node::sensor::SensorConfig;

use crate::support::{camera_of, frame_of};

const SIZE: (u32, u32) = (32, 24);

fn infer(frame: &Frame) -> recon_node::error::Result<Pointmap> {
    let mut model = SensorDepth::new(SensorConfig::default());
    let prediction = model.infer(&[View::measured(frame)])?;
    assert!(prediction.is_metric);
    Ok(prediction.views[0].pointmap.clone())
}

fn pointmap(depth_m: impl Fn(usize, usize) -> f32) -> Pointmap {
    infer(&frame_of(SIZE, |_, _| 0, depth_m)).unwrap()
}

fn ray(x: usize, y: usize) -> Vector3<f64> {
    camera_of(SIZE).ray(&Vector2::new(x as f64, y as f64)).unwrap()
}

proptest! {
    #[test]
    fn a_point_is_its_depth_along_its_ray(
        depth_m in 0.3f32..5.9, slope in -0.005f32..0.005, x in 1usize..31, y in 1usize..23,
    ) {
        let depth = |column: usize, _: usize| depth_m * (1.0 + slope * column as f32);
        prop_assume!(depth(31, 0) < 6.0);
        let point = pointmap(depth).point(x, y).unwrap();
        let expected = ray(x, y) * f64::from(depth(x, y));
        prop_assert!((point.cast::<f64>() - expected).norm() < 1e-5);
    }

    #[test]
    fn the_further_the_less_certain(depth_m in 0.3f32..5.0) {
        let confidence = |z: f32| pointmap(|_, _| z).confidence(16, 12);
        prop_assert!(confidence(depth_m) > confidence(depth_m + 0.5));
    }
}

#[test]
fn the_confidence_of_a_wall_ahead_is_the_inverse_variance() {
    let sigma_m = SensorConfig::default().noise().sigma_m(2.0);
    let confidence = f64::from(pointmap(|_, _| 2.0).confidence(16, 12));
    // Half a pixel off the optical axis the ray is not quite straight.
    assert!((confidence * sigma_m * sigma_m - 1.0).abs() < 0.01);
}

#[test]
fn depths_out_of_range_are_left_out() {
    let cases = [(5.9, true), (6.1, false), (0.0, false), (f32::NAN, false), (-1.0, false)];
    for (depth_m, kept) in cases {
        assert_eq!(pointmap(|_, _| depth_m).valid_frac() > 0.9, kept, "{depth_m} m");
    }
}

#[test]
fn pixels_that_fly_between_two_surfaces_are_left_out() {
    // Column 16 lies half way between the surfaces on its left and right.
    let map = pointmap(|x, _| [1.0, 1.5, 2.0][1 + (x > 16) as usize - (x < 16) as usize]);
    assert!((0..24).all(|y| map.point(16, y).is_none()));
    assert!((2..22).all(|y| map.point(10, y).is_some() && map.point(20, y).is_some()));
}

#[test]
fn a_speckle_is_left_out() {
    let map = pointmap(|x, y| if (x, y) == (10, 10) { 1.0 } else { 2.0 });
    assert_eq!(map.point(10, 10), None);
    let pixels = f64::from(SIZE.0 * SIZE.1);
    let others = pointmap(|_, _| 2.0).valid_frac() * pixels - 1.0;
    assert_eq!((map.valid_frac() * pixels).round(), others.round());
}

#[test]
fn surfaces_seen_too_obliquely_are_left_out() {
    let seen_at = |degrees: f64| {
        let normal = Vector3::new(degrees.to_radians().sin(), 0.0, degrees.to_radians().cos());
        // Fine pixels: neighbours on an oblique wall are no edge.
        let size = (640, 6);
        let camera = camera_of(size);
        let depth = |x: usize, y: usize| {
            let ray = camera.ray(&Vector2::new(x as f64, y as f64)).unwrap();
            (normal.z * 2.0 / normal.dot(&ray)) as f32
        };
        infer(&frame_of(size, |_, _| 0, depth)).unwrap().point(320, 3).is_some()
    };
    for (degrees, kept) in [(0.0, true), (60.0, true), (78.0, true), (82.0, false), (87.0, false)] {
        assert_eq!(seen_at(degrees), kept, "at {degrees} degrees");
    }
}

#[test]
fn what_is_missing_is_named_with_a_remedy() {
    let good = frame_of(SIZE, |_, _| 0, |_, _| 2.0);
    let cases = [
        (Frame { depth: None, ..good.clone() }, "depth images", "depth beside the images"),
        (Frame { camera: None, ..good.clone() }, "calibrated camera", "--calibration"),
    ];
    for (frame, missing, remedy) in cases {
        let refused = infer(&frame).unwrap_err();
        let text = refused.to_string();
        assert!(matches!(refused, Error::MissingInput { model: "sensor-depth", .. }));
        assert!(text.contains(missing) && text.contains(remedy), "{text}");
    }
}

#[test]
fn views_come_back_in_their_order_and_none_for_none() {
    let mut model = SensorDepth::new(SensorConfig::default());
    let frames = [1.0, 2.0].map(|z| frame_of(SIZE, |_, _| 0, move |_, _| z));
    let views = frames.each_ref().map(View::measured);
    let prediction = model.infer(&views).unwrap();
    let depths = prediction.views.iter().map(|v| v.pointmap.point(9, 9).unwrap().z);
    assert_eq!(depths.collect::<Vec<_>>(), [1.0, 2.0]);
    assert!(model.infer(&[]).unwrap().views.is_empty());
    assert_eq!((model.name(), model.max_views()), ("sensor-depth", 1));
}

#[test]
fn another_camera_has_other_rays() {
    let mut model = SensorDepth::new(SensorConfig::default());
    for size in [(32, 24), (64, 48), (32, 24)] {
        let frame = frame_of(size, |_, _| 0, |_, _| 2.0);
        let view = View::measured(&frame);
        let map = model.infer(&[view]).unwrap().views.remove(0).pointmap;
        let expected = camera_of(size).ray(&Vector2::new(5.0, 5.0)).unwrap() * 2.0;
        assert!((map.point(5, 5).unwrap().cast::<f64>() - expected).norm() < 1e-5);
    }
}
