//! Pointmaps: normals, halving, and points that cannot be.

use nalgebra::{Unit, Vector2, Vector3};
use proptest::prelude::*;
use recon_node::error::Error;
use recon_node::pointmap::Pointmap;
use recon_node::raster::Raster;

use crate::support::camera_of;

const SIZE: (usize, usize) = (160, 120);

/// The pointmap of surfaces `z = depth(ray)` with a confidence of one.
fn pointmap(depth_m: impl Fn(usize, &Vector3<f32>) -> f32) -> Pointmap {
    let camera = camera_of((SIZE.0 as u32, SIZE.1 as u32));
    let points = Raster::from_fn(SIZE.0, SIZE.1, |x, y| {
        let ray = camera.ray(&Vector2::new(x as f64, y as f64)).unwrap().cast();
        ray * depth_m(x, &ray)
    });
    Pointmap::new(points, Raster::filled(SIZE.0, SIZE.1, 1.0)).unwrap()
}

fn plane(normal: &Vector3<f32>, distance_m: f32) -> Pointmap {
    pointmap(|_, ray| distance_m / normal.dot(ray))
}

/// Planes that the whole image sees, at up to 50 degrees, facing away from the camera.
fn any_plane() -> impl Strategy<Value = (Vector3<f32>, f32)> {
    (-0.6f32..0.6, -0.6f32..0.6, 0.5f32..4.0).prop_map(|(x, y, distance_m)| {
        (Unit::new_normalize(Vector3::new(x, y, 1.0)).into_inner(), distance_m)
    })
}

proptest! {
    #[test]
    fn a_planes_normal_is_found_and_faces_the_camera((normal, distance_m) in any_plane()) {
        let pointmap = plane(&normal, distance_m);
        for (x, y, reach) in [(5, 5, 1), (16, 12, 2), (29, 21, 2)] {
            let found = pointmap.normal(x, y, reach).unwrap();
            prop_assert!(found.dot(&pointmap.point(x, y).unwrap()) < 0.0);
            // Single precision, over differences of some centimetres.
            prop_assert!((found + normal).norm() < 1e-3);
        }
    }

    #[test]
    fn half_a_plane_is_the_same_plane((normal, distance_m) in any_plane()) {
        let half = plane(&normal, distance_m).halved();
        prop_assert_eq!((half.width(), half.height()), (SIZE.0 / 2, SIZE.1 / 2));
        for (x, y) in [(0, 0), (7, 5), (15, 11)] {
            let point = half.point(x, y).unwrap();
            prop_assert!((normal.dot(&point) - distance_m).abs() < 1e-4 * distance_m);
            prop_assert_eq!(half.confidence(x, y), 1.0);
        }
    }
}

#[test]
fn there_is_no_normal_at_the_border_nor_across_an_edge() {
    let step = pointmap(|x, _| if x < 80 { 1.0 } else { 2.0 });
    let cases = [((1, 12), 2), ((16, 1), 2), ((158, 12), 2), ((79, 12), 1), ((80, 12), 1)];
    for ((x, y), reach) in cases {
        assert_eq!(step.normal(x, y, reach), None, "({x}, {y})");
    }
    assert!(step.normal(10, 12, 2).is_some());
    assert!(step.normal(90, 12, 2).is_some());
}

#[test]
fn half_a_step_lies_on_one_side_of_it() {
    let half = pointmap(|x, _| if x < 15 { 1.0 } else { 2.0 }).halved();
    assert_eq!([6, 7, 8].map(|x| half.point(x, 5).unwrap().z), [1.0, 1.0, 2.0]);
}

#[test]
fn points_that_cannot_be_have_no_confidence() {
    let (good, nan) = (Vector3::new(0.0, 0.0, 1.0), f32::NAN);
    let cases = [
        (Vector3::new(nan, 0.0, 1.0), 1.0),
        (Vector3::new(0.0, 0.0, f32::INFINITY), 1.0),
        (Vector3::new(0.0, 0.0, 0.0), 1.0),
        (Vector3::new(0.0, 0.0, -1.0), 1.0),
        (good, nan),
        (good, -1.0),
        (good, f32::INFINITY),
        (good, 0.0),
    ];
    for (point, confidence) in cases {
        let map = Pointmap::new(Raster::filled(2, 2, point), Raster::filled(2, 2, confidence));
        let map = map.unwrap();
        assert_eq!((map.point(0, 0), map.confidence(1, 1)), (None, 0.0), "{point:?} {confidence}");
        assert_eq!((map.valid_frac(), map.halved().valid_frac()), (0.0, 0.0));
    }
}

#[test]
fn a_confidence_of_another_size_is_refused() {
    let points = Raster::filled(4, 3, Vector3::new(0.0f32, 0.0, 1.0));
    let refused = Pointmap::new(points, Raster::filled(3, 4, 1.0)).unwrap_err();
    assert!(matches!(refused, Error::ShapeMismatch { .. }));
    assert!(refused.to_string().contains("4x3") && refused.to_string().contains("3x4"));
}

#[test]
fn an_empty_pointmap_is_empty_at_any_size() {
    let empty = Pointmap::new(Raster::filled(0, 0, Vector3::zeros()), Raster::filled(0, 0, 1.0));
    let empty = empty.unwrap();
    assert_eq!((empty.valid_frac(), empty.halved().width()), (0.0, 0));
}
