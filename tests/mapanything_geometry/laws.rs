//! What must hold for every input.

use image::{Rgb, RgbImage};
use nalgebra::{Isometry3, Unit, UnitQuaternion, Vector3};
use proptest::prelude::*;
use recon_node::geometry::Intrinsics;
use recon_node::model::mapanything::postprocess::{
    AgreementThresholds, Frustum, PlacedDepth, intrinsics_from_rays, multi_view_confidence,
};
use recon_node::model::mapanything::preprocess::{Filter, Fitting, resize};
use recon_node::model::mapanything::priors::{
    PosePrior, quaternion_from_rotation, rays_from_intrinsics, rotation_from_quaternion,
};
use recon_node::raster::Raster;

fn sides() -> impl Strategy<Value = (usize, usize)> {
    (1_usize..400, 1_usize..400)
}

fn patches() -> impl Strategy<Value = (usize, usize)> {
    (1_usize..20, 1_usize..20).prop_map(|(w, h)| (14 * w, 14 * h))
}

proptest! {
    #[test]
    fn an_image_of_one_colour_keeps_it(from in sides(), to in sides(), color: [u8; 3]) {
        let image = RgbImage::from_pixel(from.0 as u32, from.1 as u32, Rgb(color));
        for filter in [Filter::Lanczos, Filter::Bicubic] {
            let resized = resize(&image, to, filter);
            prop_assert_eq!(resized.dimensions(), (to.0 as u32, to.1 as u32));
            prop_assert!(resized.pixels().all(|pixel| pixel.0 == color));
        }
    }

    #[test]
    fn intrinsics_of_the_original_come_back(original in sides(), target in patches(), with: bool) {
        let k = Intrinsics { fx: 300.0, fy: 310.0, cx: 55.5, cy: 41.25 };
        let fitting = Fitting::new(original, target, with);
        let back = fitting.original_intrinsics(&fitting.intrinsics(&k));
        for (a, b) in [(back.fx, k.fx), (back.fy, k.fy), (back.cx, k.cx), (back.cy, k.cy)] {
            // Four roundings to single precision.
            prop_assert!((a - b).abs() < 2e-4 * (1.0 + 400.0 / a.min(1.0)).abs().max(1.0), "{back:?}");
        }
    }

    #[test]
    fn results_go_back_to_where_the_image_was(
        original in sides(), target in patches(), with: bool,
    ) {
        // Rows of the result, moved back, hold the row that the camera of the original gives.
        let fitting = Fitting::new(original, target, with);
        let rows = Raster::from_fn(target.0, target.1, |_, y| y as f32 + 1.0);
        let back = fitting.original_values(&rows).unwrap();
        prop_assert_eq!((back.width(), back.height()), original);
        let middle = original.0 / 2;
        for y in 0..original.1 {
            let found = f64::from(back.at(middle, y)) - 1.0;
            if found >= 0.0 {
                let [_, place] = fitting.original_pixel([0.0, found]);
                let half_pixel = 0.501 * (fitting.original_pixel([0.0, 1.0])[1]
                    - fitting.original_pixel([0.0, 0.0])[1]);
                prop_assert!((place - y as f64).abs() <= half_pixel, "{place} {y}");
            }
        }
        // What is cut to less than two pixels may lie between their centres.
        let corners = [[-0.5; 2], [target.0 as f64 - 0.5, target.1 as f64 - 0.5]];
        let [first, last] = corners.map(|corner| fitting.original_pixel(corner));
        let is_seen = back.values().iter().any(|&row| row > 0.0);
        prop_assert!(is_seen || last[0] - first[0] < 2.0 || last[1] - first[1] < 2.0);
    }

    #[test]
    fn the_depth_of_a_pixel_lies_where_the_camera_says(
        original in sides(), target in patches(), with: bool,
    ) {
        // A depth image that holds its own column comes out near the column that the cameras give.
        let fitting = Fitting::new(original, target, with);
        let columns = Raster::from_fn(original.0, original.1, |x, _| x as f32);
        let fitted = fitting.depth(&columns).unwrap();
        let k = Intrinsics { fx: 100.0, fy: 100.0, cx: 0.0, cy: 0.0 };
        let resized = fitting.intrinsics(&k);
        for x in [0, target.0 / 2, target.0 - 1] {
            let expected = (x as f64 - resized.cx) / resized.fx * k.fx;
            let found = f64::from(fitted.at(x, 0));
            // Half a pixel of the source for the rounding, one of the result for a cut to the left.
            let tolerance = 1.0 + k.fx / resized.fx * 1.01;
            prop_assert!((found - expected).abs() <= tolerance, "{found} {expected}");
        }
    }

    #[test]
    fn a_rotation_survives_its_quaternion(axis: [i8; 3], angle in -3.2_f32..3.2) {
        let axis = Vector3::from(axis.map(f32::from)) + Vector3::new(0.1, 0.2, 0.3);
        let rotation = UnitQuaternion::from_axis_angle(&Unit::new_normalize(axis), angle);
        let matrix = rotation.to_rotation_matrix();
        let found = quaternion_from_rotation(matrix.matrix());
        prop_assert!(found.w >= 0.0 && (found.norm() - 1.0).abs() < 1e-5);
        let back = rotation_from_quaternion(&found);
        prop_assert!((back - matrix.matrix()).abs().max() < 1e-5, "{back} {matrix}");
        let pose = Isometry3::from_parts(Vector3::zeros().into(), rotation.cast::<f64>());
        let prior = PosePrior::from_se3(&pose);
        prop_assert!((prior.rotation.coords - found.coords).norm() < 1e-5);
    }

    #[test]
    fn a_camera_survives_its_rays(
        focal in (20.0..900.0, 20.0..900.0), center in (-50.0..200.0, -50.0..200.0),
    ) {
        let k = Intrinsics { fx: focal.0, fy: focal.1, cx: center.0, cy: center.1 };
        let found = intrinsics_from_rays(&rays_from_intrinsics(&k, 98, 126));
        for (a, b) in [(found.fx, k.fx), (found.fy, k.fy), (found.cx, k.cx), (found.cy, k.cy)] {
            // Rays in single precision.
            prop_assert!((a - b).abs() < 1e-3 + 1e-4 * k.fx.max(k.fy), "{found:?} {k:?}");
        }
    }
}

#[test]
fn a_point_inside_both_frusta_makes_them_meet() {
    let k = Intrinsics { fx: 50.0, fy: 50.0, cx: 25.0, cy: 20.0 };
    let at = |x: f64, turn: f64| {
        let rotation = UnitQuaternion::from_scaled_axis(Vector3::y() * turn);
        Frustum::new(
            &k,
            &Isometry3::from_parts(Vector3::new(x, 0.0, 0.0).into(), rotation),
            (1.0, 3.0),
        )
    };
    let one = at(0.0, 0.0);
    let half_turn = std::f64::consts::PI;
    // Beside one another, through one another, behind one another's back, far apart.
    let cases = [(0.5, 0.0, true), (2.0, -1.0, true), (0.0, half_turn, false), (9.0, 0.0, false)];
    for (x, turn, expected) in cases {
        assert_eq!(one.meets(&at(x, turn)), expected, "{x} {turn}");
        assert_eq!(at(x, turn).meets(&one), expected, "{x} {turn}");
    }
}

#[test]
fn views_of_one_wall_agree_and_a_view_alone_is_sure() {
    let k = Intrinsics { fx: 30.0, fy: 30.0, cx: 19.5, cy: 14.5 };
    // A wall with one pixel nearer and one further, for a frustum that is not flat.
    let wall_at = |depth_m: f32| {
        Raster::from_fn(40, 30, |x, y| match (x, y) {
            (0, 0) => 1.0,
            (1, 0) => 3.0,
            _ => depth_m,
        })
    };
    let (wall, nearer, all) = (wall_at(2.0), wall_at(1.5), Raster::filled(40, 30, true));
    let placed = |depth_z_m, x: f64| PlacedDepth {
        depth_z_m,
        unambiguous: &all,
        intrinsics: k,
        world_from_camera: Isometry3::translation(x, 0.0, 0.0),
    };
    let thresholds = AgreementThresholds::default();
    let alone = multi_view_confidence(&[placed(&wall, 0.0)], &thresholds);
    assert!(alone[0].values().iter().all(|&c| c == 1.0));
    let three = [placed(&wall, 0.0), placed(&wall, 0.2), placed(&nearer, -0.2)];
    let found = multi_view_confidence(&three, &thresholds);
    assert!((found[0].at(20, 15) - 0.5).abs() < 1e-6, "{}", found[0].at(20, 15));
    assert_eq!(found[2].at(20, 15), 0.0);
}
