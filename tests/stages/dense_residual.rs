//! Dense residuals: derivatives against numbers, and sums that do not depend on threads.

use nalgebra::{Point3, Unit, Vector1, Vector2, Vector3, Vector6};
use recon_node::dense_residual::{
    Comparison, Exposure, ReferencePoint, RelativeView, ResidualScale, ResidualSettings, Vector8,
};
use recon_node::frame::Frame;
use recon_node::geometry::{Se3, numeric};
use recon_node::pyramid::{Level, Pyramid};
use recon_node::reference::Reference;
use recon_node::sensor::DepthNoise;

use crate::support::{Room, camera_of, frame_of, keyframe_of, on_threads, pose, repainted};

const SIZE: (u32, u32) = (80, 60);
const SCALE: ResidualScale = ResidualScale { intensity: 6.0, depth: 2.0 };
/// A step that moves the image by 0.01 pixels: far above single precision, far below a cell.
const STEP: f64 = 1e-4;
/// Interpolation in single precision, divided by the step.
const DERIVATIVE_TOLERANCE: f64 = 2e-3;

fn settings(geometric_weight: f64) -> ResidualSettings {
    ResidualSettings {
        depth_noise: DepthNoise { floor_m: 0.002, per_m2: 0.0025 },
        depth_gate_frac: 0.05,
        intensity_inlier: 25.0,
        depth_inlier_frac: 0.02,
        geometric_weight,
    }
}

fn level(frame: &Frame) -> Level {
    Pyramid::new(frame, &frame.camera.unwrap(), 1).levels()[0].clone()
}

/// A wall ahead, its paint an even ramp: interpolation, and so the cost, is smooth everywhere.
fn ramp_on_wall(depth_m: impl Fn(usize, usize) -> f32) -> Level {
    level(&frame_of(SIZE, |x, y| (x + 2 * y) as u8, depth_m))
}

/// Points about the middle of the image, `depth_m(ray)` away, painted like the ramp but for an
/// error that differs from point to point.
fn points(normal: Vector3<f64>, distance_m: f64) -> Vec<ReferencePoint> {
    let camera = camera_of(SIZE);
    let pixels = (10..50).step_by(3).flat_map(|y| (12..68).step_by(3).map(move |x| (x, y)));
    pixels
        .map(|(x, y)| {
            let ray = camera.ray(&Vector2::new(f64::from(x), f64::from(y))).unwrap();
            ReferencePoint {
                point_in_reference: (ray * (distance_m / normal.dot(&ray))).cast(),
                normal_in_reference: Some(-normal.cast()),
                intensity: (x + 2 * y + (x * y) % 13 - 6) as f32,
                depth_variance_m2: 1e-4,
            }
        })
        .collect()
}

fn at(base: &RelativeView, x: &Vector8) -> RelativeView {
    let exposure = Exposure { log_gain: x[6], offset: x[7] };
    base.stepped(&x.fixed_rows::<6>(0).into_owned(), &exposure)
}

/// Largest miss of the analytic gradient, relative to its size.
fn gradient_error(comparison: &Comparison<'_>, view: &RelativeView) -> f64 {
    let cost = |x: &Vector8| Vector1::new(comparison.linearize(&at(view, x), &SCALE).cost);
    let numeric = numeric::jacobian(cost, &Vector8::zeros(), STEP).transpose();
    let analytic = comparison.linearize(view, &SCALE).gradient;
    (numeric - analytic).amax() / analytic.amax()
}

#[test]
fn the_photometric_gradient_is_the_derivative_of_the_cost() {
    let target = ramp_on_wall(|_, _| 0.0);
    let points = points(Vector3::z(), 2.0);
    let comparison = Comparison { points: &points, target: &target, settings: settings(1.0) };
    let views = [
        (pose([0.0; 3], [0.0; 3]), Exposure::default()),
        (pose([1.0, -2.0, 1.5], [0.02, -0.03, 0.05]), Exposure { log_gain: 0.1, offset: -4.0 }),
        (pose([-2.0, 1.0, -3.0], [-0.05, 0.02, -0.1]), Exposure { log_gain: -0.2, offset: 9.0 }),
    ];
    for (target_from_reference, exposure) in views {
        let error = gradient_error(&comparison, &RelativeView { target_from_reference, exposure });
        assert!(error < DERIVATIVE_TOLERANCE, "{error}");
    }
}

#[test]
fn the_geometric_gradient_is_the_derivative_of_the_cost() {
    // Nothing to see, so the depth alone counts.
    let target = level(&frame_of(SIZE, |_, _| 0, |_, _| 2.0));
    let mut points = points(Vector3::z(), 2.0);
    points.iter_mut().for_each(|p| p.intensity = 0.0);
    let comparison = Comparison { points: &points, target: &target, settings: settings(2.5) };
    for shift in [[0.0, 0.0, 0.01], [0.02, -0.01, -0.015], [-0.03, 0.02, 0.02]] {
        let error = gradient_error(&comparison, &RelativeView::at(pose([0.0; 3], shift)));
        assert!(error < DERIVATIVE_TOLERANCE, "{shift:?}: {error}");
    }
}

/// On an oblique wall the target's depth changes as the point moves along it.
#[test]
fn the_geometric_gradient_holds_on_oblique_walls() {
    let normal = Unit::new_normalize(Vector3::new(0.5, -0.2, 1.0)).into_inner();
    let camera = camera_of(SIZE);
    let depth_m = |x: usize, y: usize| {
        let ray = camera.ray(&Vector2::new(x as f64, y as f64)).unwrap();
        (2.0 / normal.dot(&ray)) as f32
    };
    let target = level(&frame_of(SIZE, |_, _| 0, depth_m));
    let mut points = points(normal, 2.0);
    points.iter_mut().for_each(|p| p.intensity = 0.0);
    let comparison = Comparison { points: &points, target: &target, settings: settings(1.0) };
    let view = RelativeView::at(pose([0.0; 3], [0.004, 0.003, 0.006]));
    let error = gradient_error(&comparison, &view);
    // The miss of 6 mm in two metres, and a bilinear depth between pixels that is not quite flat;
    // the sigma's own derivative is left out on purpose.
    assert!(error < 0.03, "{error}");
}

#[test]
fn there_is_no_residual_at_the_true_pose() {
    let points: Vec<_> = points(Vector3::z(), 2.0)
        .into_iter()
        .map(|p| {
            let pixel =
                camera_of(SIZE).project(&Point3::from(p.point_in_reference.cast())).unwrap();
            ReferencePoint { intensity: (pixel.x + 2.0 * pixel.y) as f32, ..p }
        })
        .collect();
    let target = ramp_on_wall(|_, _| 2.0);
    let comparison = Comparison { points: &points, target: &target, settings: settings(1.0) };
    let normal = comparison.linearize(&RelativeView::identity(), &SCALE);
    assert!(normal.mean_cost() < 1e-6, "{}", normal.mean_cost());
    assert_eq!([normal.visible, normal.inliers, normal.depth_inliers], [points.len(); 3]);
    assert_eq!(normal.contradicting, 0);
}

/// Points and target of a room seen from two places.
fn two_views() -> (Vec<ReferencePoint>, Level, RelativeView) {
    let room = Room { size: (160, 120), ..Room::new() };
    let keyframe = room.keyframe(0, &Se3::identity());
    let world_from_target = pose([1.0, 3.0, 0.0], [0.1, 0.0, 0.05]);
    let target = level(&room.frame(&world_from_target));
    let reference = Reference::new(&keyframe.pyramid, &keyframe.pointmap, 5000);
    let points = reference.levels()[0].clone();
    (points, target, RelativeView::at(world_from_target.inverse()))
}

#[test]
fn sums_are_the_same_bits_on_any_number_of_threads() {
    let (points, target, view) = two_views();
    let comparison = Comparison { points: &points, target: &target, settings: settings(1.0) };
    let sums = [1, 2, 3].map(|n| on_threads(n, || comparison.linearize(&view, &SCALE)));
    assert!(sums[0].residuals > 3 * 1024, "one chunk proves nothing");
    assert_eq!((sums[0], sums[0]), (sums[1], sums[2]));
}

#[test]
fn eliminating_the_exposure_solves_the_whole_system() {
    let (points, target, view) = two_views();
    let comparison = Comparison { points: &points, target: &target, settings: settings(1.0) };
    let normal = comparison.linearize(
        &view.stepped(&Vector6::repeat(0.004), &Exposure { log_gain: 0.1, offset: 5.0 }),
        &SCALE,
    );
    let mut whole = normal.hessian;
    whole.fill_lower_triangle_with_upper_triangle();
    // What holds the exposure on plain walls, as documented there.
    whole[(6, 6)] += 1.0;
    whole[(7, 7)] += 1e-4;
    let step = -whole.cholesky().unwrap().solve(&normal.gradient);
    let (hessian, gradient) = normal.pose_only();
    let pose_step = -hessian.cholesky().unwrap().solve(&gradient);
    let exposure_step = normal.exposure_step(&pose_step);
    assert!((pose_step - step.fixed_rows::<6>(0)).norm() < 1e-9 * step.norm());
    assert!((exposure_step.log_gain - step[6]).abs() < 1e-9 * step.norm());
    assert!((exposure_step.offset - step[7]).abs() < 1e-9 * step.norm());
}

#[test]
fn gain_and_offset_are_read_off_the_images() {
    let room = Room { size: (160, 120), ..Room::new() };
    // Pale enough that nothing saturates.
    let frame = repainted(&room.frame(&Se3::identity()), |v| v / 2 + 40);
    let keyframe = keyframe_of(0, &frame, Se3::identity());
    let reference = Reference::new(&keyframe.pyramid, &keyframe.pointmap, 5000);
    let target = level(&repainted(&frame, |v| (1.2 * f64::from(v) - 7.0).round() as u8));
    let settings = settings(1.0);
    let comparison = Comparison { points: &reference.levels()[0], target: &target, settings };
    let mut view = RelativeView::identity();
    for _ in 0..20 {
        let normal = comparison.linearize(&view, &SCALE);
        view = view.stepped(&Vector6::zeros(), &normal.exposure_step(&Vector6::zeros()));
    }
    // Grey values are whole numbers; their mean over thousands of points is far surer than that.
    assert!((view.exposure.log_gain - 1.2f64.ln()).abs() < 0.003, "{:?}", view.exposure);
    assert!((view.exposure.offset + 7.0).abs() < 0.4, "{:?}", view.exposure);
}

#[test]
fn without_anything_in_common_the_cost_is_infinite_and_nothing_is_nan() {
    let (points, target, _) = two_views();
    let away = RelativeView::at(pose([0.0, 180.0, 0.0], [0.0; 3]));
    for (points, view) in [(&points[..], away), (&[][..], RelativeView::identity())] {
        let comparison = Comparison { points, target: &target, settings: settings(1.0) };
        let scale = comparison.scale(&view);
        let normal = comparison.linearize(&view, &scale);
        assert!(scale.intensity.is_finite() && scale.depth.is_finite());
        assert_eq!((normal.visible, normal.mean_cost()), (0, f64::INFINITY));
        assert!(normal.hessian.iter().chain(normal.gradient.iter()).all(|v| *v == 0.0));
    }
}

#[test]
fn what_hides_behind_a_surface_is_counted_against_the_view() {
    let (points, target, view) = two_views();
    let comparison = Comparison { points: &points, target: &target, settings: settings(1.0) };
    let there = comparison.linearize(&view, &SCALE);
    // Half a metre back, everything should lie half a metre deeper than it does.
    let back = RelativeView::at(pose([0.0; 3], [0.0, 0.0, 0.5]) * view.target_from_reference);
    let behind = comparison.linearize(&back, &SCALE);
    assert!(behind.contradicting > behind.visible / 2 && there.contradicting < there.visible / 20);
    assert!(behind.mean_cost() > 3.0 * there.mean_cost());
}
