//! Cameras with every lens model: there and back, derivatives, other sizes, and the lens' end.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

use nalgebra::{Point3, SVector, Vector2, Vector3};
use proptest::prelude::*;
use recon_node::geometry::numeric::jacobian;
use recon_node::geometry::{Camera, Distortion, GeometryError, Intrinsics};

const INTRINSICS: Intrinsics = Intrinsics { fx: 520.0, fy: 515.0, cx: 321.5, cy: 242.25 };

/// Lens models of real cameras and some that bend harder, with mild random changes.
fn distortion() -> impl Strategy<Value = Distortion> {
    let change = prop::array::uniform8(-0.01..0.01_f64);
    let polynomial = prop_oneof![
        Just([0.2624, -0.9531, -0.0054, 0.0026, 1.1633, 0.0, 0.0, 0.0]),
        Just([-0.28, 0.07, 0.001, -0.0005, 0.0, 0.0, 0.0, 0.0]),
        Just([0.05, -0.02, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
    ];
    let rational = prop_oneof![
        Just([0.51, -2.6, 0.0009, -0.0003, 1.45, 0.38, -2.43, 1.38]),
        Just([8.0, 5.0, 0.0001, 0.0001, 0.2, 8.2, 8.0, 1.2]),
    ];
    let fisheye = prop_oneof![Just([-0.01, 0.02, -0.015, 0.003]), Just([0.05, -0.01, 0.004, 0.0])];
    prop_oneof![
        Just(Distortion::None),
        (polynomial, change.clone()).prop_map(|(k, c)| {
            Distortion::PlumbBob([
                k[0] + c[0],
                k[1] + c[1],
                k[2] + 0.1 * c[2],
                k[3] + 0.1 * c[3],
                k[4],
            ])
        }),
        (rational, change.clone()).prop_map(|(k, c)| {
            Distortion::RationalPolynomial(std::array::from_fn(|i| k[i] + 0.1 * c[i]))
        }),
        (fisheye, change)
            .prop_map(|(k, c)| Distortion::Equidistant(std::array::from_fn(|i| k[i] + 0.1 * c[i]))),
    ]
}

fn camera(distortion: Distortion) -> Camera {
    Camera::new(INTRINSICS, distortion, 640, 480).unwrap()
}

/// Points in front of the camera, within a share of the radius that the model is made for.
fn point(frac: f64) -> impl Strategy<Value = (Distortion, Point3<f64>)> {
    (distortion(), 0.0..frac, 0.0..std::f64::consts::TAU, 0.1..20.0_f64).prop_map(
        |(distortion, frac, angle, z)| {
            let radius = frac * distortion.max_radius().min(2.0);
            let ray = Vector3::new(radius * angle.cos(), radius * angle.sin(), 1.0);
            (distortion, Point3::from(ray * z))
        },
    )
}

proptest! {
    #[test]
    fn a_point_lies_on_the_ray_of_its_pixel((distortion, point) in point(0.9)) {
        let camera = camera(distortion);
        let pixel = camera.project(&point).unwrap();
        let ray = camera.ray(&pixel);
        prop_assert!(ray.is_some(), "{distortion:?} {point} {pixel}");
        let expected = point.coords / point.z;
        prop_assert!((ray.unwrap() - expected).norm() < 1e-7, "{distortion:?} {point} {ray:?}");
    }

    #[test]
    fn a_pixel_of_the_image_comes_back_from_its_ray(
        distortion in distortion(), x in -0.5..639.5_f64, y in -0.5..479.5_f64, z in 0.1..20.0_f64,
    ) {
        let camera = camera(distortion);
        let pixel = Vector2::new(x, y);
        if let Some(ray) = camera.ray(&pixel) {
            let back = camera.project(&Point3::from(ray * z)).unwrap();
            prop_assert!((back - pixel).norm() < 1e-5, "{distortion:?} {pixel} {back}");
        }
    }

    #[test]
    fn the_derivative_of_the_pixel_is_the_numeric_one((distortion, point) in point(0.95)) {
        let camera = camera(distortion);
        let (pixel, analytic) = camera.project_with_jacobian(&point).unwrap();
        prop_assert!((pixel - camera.project(&point).unwrap()).norm() < 1e-12);
        let project = |p: &SVector<f64, 3>| camera.project(&Point3::from(*p)).unwrap_or_default();
        let numeric = jacobian(project, &point.coords, 1e-6 * point.z);
        prop_assert!((numeric - analytic).amax() < 1e-4 * (1.0 + analytic.amax()), "{distortion:?}");
    }

    #[test]
    fn the_derivative_of_the_lens_is_the_numeric_one((distortion, point) in point(0.99)) {
        let at = point.coords.xy() / point.z;
        let numeric = jacobian(|p| distortion.distort(p), &at, 1e-6);
        let analytic = distortion.jacobian(&at);
        prop_assert!((numeric - analytic).amax() < 1e-6 * (1.0 + analytic.amax()), "{distortion:?}");
    }

    #[test]
    fn a_resized_camera_sees_the_same_view(
        (distortion, point) in point(0.9), width in 1_u32..2000, height in 1_u32..2000,
    ) {
        let camera = camera(distortion);
        let resized = camera.resized(width, height);
        prop_assert_eq!((resized.width(), resized.height()), (width, height));
        // Shares of the image from its corner, which is half a pixel before the first centre.
        let share = |camera: &Camera| {
            let pixel = camera.project(&point).unwrap();
            let size = Vector2::new(f64::from(camera.width()), f64::from(camera.height()));
            pixel.add_scalar(0.5).component_div(&size)
        };
        prop_assert!((share(&camera) - share(&resized)).norm() < 1e-12);
    }

    #[test]
    fn the_radial_part_grows_up_to_the_largest_radius(distortion in distortion()) {
        let largest = distortion.max_radius();
        let axis = |frac: f64| distortion.distort(&Vector2::new(frac * largest, 0.0)).x;
        let steps: Vec<f64> = (0..=50).map(|i| axis(f64::from(i) / 50.0)).collect();
        prop_assert!(largest > 0.1);
        // The tangential part may bend the last stretch by a little.
        prop_assert!(steps.windows(2).take(45).all(|w| w[1] > w[0]), "{distortion:?} {steps:?}");
    }

    #[test]
    fn no_input_gives_a_pixel_or_ray_that_is_not_a_number(
        distortion in distortion(), p in prop::array::uniform3(prop::num::f64::ANY),
        pixel in prop::array::uniform2(prop::num::f64::ANY),
    ) {
        let camera = camera(distortion);
        if let Some(pixel) = camera.project(&Point3::from(p)) {
            prop_assert!(pixel.iter().all(|c| c.is_finite()));
        }
        if let Some(ray) = camera.ray(&Vector2::from(pixel)) {
            prop_assert!(ray.iter().all(|c| c.is_finite()));
        }
    }
}

#[test]
fn beyond_the_fold_there_is_no_pixel() {
    // r (1 - 0.3 r²) turns at r = 1.054.
    let camera = camera(Distortion::PlumbBob([-0.3, 0.0, 0.0, 0.0, 0.0]));
    assert!((camera.distortion().max_radius() - 1.054).abs() < 0.01);
    for (radius, is_seen) in [(0.5, true), (1.04, true), (1.07, false), (1.8, false), (30.0, false)]
    {
        assert_eq!(camera.project(&Point3::new(radius, 0.0, 1.0)).is_some(), is_seen, "{radius}");
    }
    assert!(camera.ray(&Vector2::new(1e4, 0.0)).is_none());
}

#[test]
fn what_is_behind_or_nowhere_has_no_pixel() {
    let camera = camera(Distortion::None);
    let points = [[0.0, 0.0, 0.0], [0.0, 0.0, -1.0], [f64::NAN, 0.0, 1.0], [0.0, 0.0, f64::NAN]];
    for point in points {
        assert!(camera.project(&Point3::from(point)).is_none(), "{point:?}");
        assert!(camera.project_with_jacobian(&Point3::from(point)).is_none(), "{point:?}");
    }
    assert!(camera.ray(&Vector2::new(f64::NAN, 0.0)).is_none());
}

#[test]
fn rays_are_those_of_the_pixels_in_row_order() {
    let camera = camera(Distortion::PlumbBob([0.1, 0.0, 0.0, 0.0, 0.0])).resized(8, 6);
    let rays = camera.rays();
    assert_eq!(rays.len(), 48);
    let expected: Vector3<f32> = camera.ray(&Vector2::new(3.0, 2.0)).unwrap().cast();
    assert_eq!(rays[2 * 8 + 3], expected);
}

#[test]
fn parameters_that_are_no_camera_are_named() {
    let intrinsics = |fx, fy, cx, cy| Intrinsics { fx, fy, cx, cy };
    let bad = [
        (intrinsics(0.0, 1.0, 0.0, 0.0), 1, 1, "fx"),
        (intrinsics(1.0, -1.0, 0.0, 0.0), 1, 1, "fy"),
        (intrinsics(f64::NAN, 1.0, 0.0, 0.0), 1, 1, "fx"),
        (intrinsics(1.0, 1.0, f64::INFINITY, 0.0), 1, 1, "cx"),
        (intrinsics(1.0, 1.0, 0.0, f64::NAN), 1, 1, "cy"),
        (intrinsics(1.0, 1.0, 0.0, 0.0), 0, 1, "width"),
        (intrinsics(1.0, 1.0, 0.0, 0.0), 1, 0, "height"),
    ];
    for (intrinsics, width, height, field) in bad {
        let message = Camera::pinhole(intrinsics, width, height).unwrap_err().to_string();
        assert!(message.starts_with(&format!("camera {field} is")), "{message}");
    }
    for distortion in [
        Distortion::PlumbBob([0.0, f64::NAN, 0.0, 0.0, 0.0]),
        Distortion::RationalPolynomial([f64::INFINITY; 8]),
        Distortion::Equidistant([0.0, 0.0, 0.0, f64::NAN]),
    ] {
        let message = Camera::new(INTRINSICS, distortion, 4, 4).unwrap_err().to_string();
        assert!(message.starts_with("camera distortion is"), "{message}");
    }
}

/// Name and coefficients as ROS sends them, and the model that they mean.
fn ros_models() -> Vec<(&'static str, Vec<f64>, Option<Distortion>)> {
    let eight = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8];
    vec![
        ("plumb_bob", vec![0.0; 5], Some(Distortion::None)),
        ("", vec![], Some(Distortion::None)),
        ("rational_polynomial", vec![0.0; 8], Some(Distortion::None)),
        ("plumb_bob", vec![0.1; 5], Some(Distortion::PlumbBob([0.1; 5]))),
        ("plumb_bob", vec![0.1; 4], Some(Distortion::PlumbBob([0.1, 0.1, 0.1, 0.1, 0.0]))),
        ("rational_polynomial", eight.to_vec(), Some(Distortion::RationalPolynomial(eight))),
        ("equidistant", vec![0.0; 4], Some(Distortion::Equidistant([0.0; 4]))),
        ("fisheye", vec![0.1; 4], Some(Distortion::Equidistant([0.1; 4]))),
        ("equidistant", vec![0.1; 5], None),
        ("plumb_bob", vec![0.1; 3], None),
        ("magic", vec![0.1; 5], None),
    ]
}

#[test]
fn models_are_known_by_the_names_of_ros() {
    for (name, coefficients, expected) in ros_models() {
        match (Distortion::from_ros(name, &coefficients), expected) {
            (Ok(found), Some(expected)) => assert_eq!(found, expected),
            (Err(GeometryError::UnknownDistortion { model, count }), None) => {
                assert_eq!((model.as_str(), count), (name, coefficients.len()));
            }
            (found, expected) => panic!("{name} {coefficients:?}: {found:?}, not {expected:?}"),
        }
    }
}

#[test]
fn a_steep_lens_has_rays_far_outside_its_image() {
    // Found by the property above: Newton from the distorted point, 40 out, does not arrive.
    let camera = camera(Distortion::PlumbBob([0.2624, -0.9531, -0.0054, 0.0026, 1.1633]));
    let point = Point3::new(1.717465425417833, 0.0, 1.0);
    let ray = camera.ray(&camera.project(&point).unwrap()).unwrap();
    assert!((ray - point.coords).norm() < 1e-7, "{ray}");
}
