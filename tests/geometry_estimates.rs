//! Alignment of points, robust kernels, stamps and trajectories.

use nalgebra::{Matrix3, Point3, UnitQuaternion, Vector3};
use proptest::prelude::*;
use recon_node::geometry::robust::{Kernel, mad_sigma};
use recon_node::geometry::{
    GeometryError, Se3, Sim3, align_rigid, align_similarity, nearest_rotation,
};
use recon_node::stamp::Stamp;
use recon_node::trajectory::{StampedPose, Trajectory};

fn vector(largest: f64) -> impl Strategy<Value = Vector3<f64>> {
    prop::array::uniform3(-largest..largest).prop_map(Vector3::from)
}

fn points() -> impl Strategy<Value = Vec<Point3<f64>>> {
    // Three fixed corners keep every set from being degenerate.
    let corners = [Point3::origin(), Point3::new(1.0, 0.0, 0.0), Point3::new(0.0, 1.0, 0.3)];
    prop::collection::vec(vector(5.0).prop_map(Point3::from), 0..20)
        .prop_map(move |more| corners.into_iter().chain(more).collect())
}

fn similarity() -> impl Strategy<Value = Sim3> {
    (vector(3.0), vector(10.0), 0.05..20.0_f64).prop_map(|(turn, translation, scale)| Sim3 {
        rotation: UnitQuaternion::from_scaled_axis(turn),
        translation,
        scale,
    })
}

fn rotation(turn: Vector3<f64>) -> Matrix3<f64> {
    UnitQuaternion::from_scaled_axis(turn).to_rotation_matrix().into_inner()
}

fn moved(transform: &Sim3, points: &[Point3<f64>]) -> Vec<Point3<f64>> {
    points.iter().map(|p| transform.transform_point(p)).collect()
}

fn differ(a: &Sim3, b: &Sim3) -> f64 {
    (a.matrix() - b.matrix()).amax() / (1.0 + b.matrix().amax())
}

proptest! {
    /// Found when a test of alignment failed once in some thousand runs: the decomposition that was
    /// used is wrong by percents where two singular values differ by a ten-thousandth.
    #[test]
    fn a_nearest_rotation_is_exact_however_near_the_singular_values_are(
        left in vector(3.0), right in vector(3.0), gap in -12.0..0.0_f64, least in 0.0..0.9_f64, mirrored: bool,
    ) {
        let (left, right) = (rotation(left), rotation(right));
        let least = if mirrored { -least } else { least };
        let values = Vector3::new(1.0, 1.0 - 0.1 * 10_f64.powf(gap), least);
        let found = nearest_rotation(&(left * Matrix3::from_diagonal(&values) * right)).unwrap();
        prop_assert!((found.rotation.to_rotation_matrix().matrix() - left * right).amax() < 1e-12);
        prop_assert!((found.trace - values.sum()).abs() < 1e-14);
        prop_assert!((Vector3::from(found.singular_values) - values.abs()).amax() < 1e-14);
    }

    #[test]
    fn alignment_finds_the_transform_that_moved_the_points(points in points(), truth in similarity()) {
        let found = align_similarity(&points, &moved(&truth, &points), None).unwrap();
        prop_assert!(differ(&found.transform, &truth) < 1e-9, "{found:?}");
        prop_assert!(found.rmse_m < 1e-9);
        let rigid = Sim3 { scale: 1.0, ..truth };
        let found = align_rigid(&points, &moved(&rigid, &points), None).unwrap();
        prop_assert!(differ(&found.transform, &rigid) < 1e-9, "{found:?}");
        prop_assert!((found.transform.scale - 1.0).abs() < 1e-15);
    }

    #[test]
    fn alignment_backwards_is_the_inverse(points in points(), truth in similarity()) {
        let there = moved(&truth, &points);
        let back = align_similarity(&there, &points, None).unwrap();
        prop_assert!(differ(&back.transform, &truth.inverse()) < 1e-9);
    }

    #[test]
    fn points_without_weight_do_not_count(
        points in points(), truth in similarity(), wrong in prop_oneof![Just(f64::NAN), -1e6..1e6_f64],
    ) {
        let mut there = moved(&truth, &points);
        let (mut here, mut weights) = (points.clone(), vec![0.7; points.len()]);
        here.push(Point3::new(wrong, 1.0, 2.0));
        there.push(Point3::new(3.0, wrong, 2.0));
        weights.push(0.0);
        let found = align_similarity(&here, &there, Some(&weights)).unwrap();
        prop_assert!(differ(&found.transform, &truth) < 1e-9);
        prop_assert!(found.rmse_m < 1e-9);
    }

    #[test]
    fn a_weight_of_two_is_the_point_twice(points in points(), noise in prop::collection::vec(vector(0.1), 23)) {
        let there: Vec<_> = points.iter().zip(&noise).map(|(p, n)| p + n).collect();
        let mut weights = vec![1.0; points.len()];
        weights[0] = 2.0;
        let weighted = align_rigid(&points, &there, Some(&weights)).unwrap();
        let twice = |list: &[Point3<f64>]| [&list[..1], list].concat();
        let doubled = align_rigid(&twice(&points), &twice(&there), None).unwrap();
        prop_assert!(differ(&weighted.transform, &doubled.transform) < 1e-9);
        prop_assert!((weighted.rmse_m - doubled.rmse_m).abs() < 1e-12);
    }

    #[test]
    fn no_transform_nearby_is_better(points in points(), noise in prop::collection::vec(vector(0.2), 23), turn in vector(0.05), shift in vector(0.05)) {
        let there: Vec<_> = points.iter().zip(&noise).map(|(p, n)| p + n).collect();
        let found = align_rigid(&points, &there, None).unwrap();
        let near = Sim3::from(Se3::new(shift, turn)) * found.transform;
        let squares: f64 = points.iter().zip(&there)
            .map(|(p, q)| (near.transform_point(p) - q).norm_squared()).sum();
        prop_assert!((squares / points.len() as f64).sqrt() >= found.rmse_m - 1e-12);
    }

    #[test]
    fn mirrored_points_still_give_a_rotation(points in points()) {
        let mirrored: Vec<_> = points.iter().map(|p| Point3::new(-p.x, p.y, p.z)).collect();
        for align in [align_rigid, align_similarity] {
            let found = align(&points, &mirrored, None).unwrap();
            let rotation = found.transform.rotation.to_rotation_matrix();
            prop_assert!((rotation.matrix().determinant() - 1.0).abs() < 1e-9);
            prop_assert!(found.transform.scale > 0.0 && found.rmse_m.is_finite());
        }
    }

    #[test]
    fn any_numbers_give_a_finite_transform_or_an_error(
        source in prop::collection::vec(prop::array::uniform3(prop::num::f64::ANY), 0..6),
        destination in prop::collection::vec(prop::array::uniform3(prop::num::f64::ANY), 0..6),
        weights in prop::option::of(prop::collection::vec(prop::num::f64::ANY, 0..6)),
    ) {
        let source: Vec<_> = source.into_iter().map(Point3::from).collect();
        let destination: Vec<_> = destination.into_iter().map(Point3::from).collect();
        for align in [align_rigid, align_similarity] {
            if let Ok(found) = align(&source, &destination, weights.as_deref()) {
                prop_assert!(found.transform.matrix().iter().all(|v| v.is_finite()), "{found:?}");
                prop_assert!(found.rmse_m.is_finite() && found.transform.scale > 0.0);
            }
        }
    }

    #[test]
    fn weights_are_the_slope_of_the_cost_over_the_residual(residual in -8.0..8.0_f64, threshold in 0.2..4.0_f64) {
        for kernel in kernels(threshold) {
            prop_assume!(residual.abs() > 1e-3 && (residual.abs() - threshold).abs() > 1e-4);
            let step = 1e-6;
            let slope = (kernel.cost(residual + step) - kernel.cost(residual - step)) / (2.0 * step);
            let weight = kernel.weight(residual);
            prop_assert!((weight - slope / residual).abs() < 1e-5, "{kernel:?} {weight} {slope}");
        }
    }

    #[test]
    fn kernels_never_give_nan(residual in prop::num::f64::ANY, threshold in 1e-6..1e6_f64) {
        for kernel in kernels(threshold) {
            let (weight, cost) = (kernel.weight(residual), kernel.cost(residual));
            prop_assert!((0.0..=1.0).contains(&weight), "{kernel:?} {residual} {weight}");
            prop_assert!(cost >= 0.0, "{kernel:?} {residual} {cost}");
        }
    }

    #[test]
    fn the_spread_of_the_bulk_ignores_what_is_no_number(values in prop::collection::vec(prop::num::f32::ANY, 0..40)) {
        let mut finite: Vec<f32> = values.iter().copied().filter(|v| v.is_finite()).map(f32::abs).collect();
        finite.sort_unstable_by(f32::total_cmp);
        let expected = finite.get(finite.len() / 2).map(|m| 1.4826 * m).filter(|s| s.is_finite());
        prop_assert_eq!(mad_sigma(&mut values.clone()), expected);
    }

    #[test]
    fn a_stamp_is_read_as_it_was_written(nanos in -9_000_000_000_000_000_000_i64 + 1..9_000_000_000_000_000_000) {
        let stamp = Stamp::from_nanos(nanos);
        prop_assert_eq!(stamp.to_string().parse::<Stamp>(), Ok(stamp));
    }

    #[test]
    fn no_text_makes_the_reader_of_stamps_panic(text in "[-+0-9.eE na]{0,24}") {
        if let Ok(stamp) = text.parse::<Stamp>() {
            prop_assert!(stamp.secs().abs() < 9.1e9);
        }
    }

    #[test]
    fn stamps_add_up(nanos in -4_000_000_000_000_000_000_i64..4_000_000_000_000_000_000, secs in -1e6..1e6_f64) {
        let stamp = Stamp::from_nanos(nanos);
        prop_assert!((stamp.plus_secs(secs).secs_since(stamp) - secs).abs() < 1e-9);
    }

    #[test]
    fn the_nearest_pose_is_the_nearest(
        nanos in prop::collection::vec(-1000..1000_i64, 0..20), wanted in -1200..1200_i64, limit in 0..300_i64,
    ) {
        let pose = |n: &i64| StampedPose { stamp: Stamp::from_nanos(*n), world_from_camera: Se3::identity() };
        let trajectory = Trajectory::new(nanos.iter().map(pose).collect());
        let found = trajectory.nearest(Stamp::from_nanos(wanted), (limit as f64 + 0.5) * 1e-9);
        let least = nanos.iter().map(|n| (n - wanted).abs()).min().filter(|&d| d <= limit);
        prop_assert_eq!(found.map(|p| (p.stamp.nanos() - wanted).abs()), least);
    }
}

fn kernels(threshold: f64) -> [Kernel; 4] {
    [
        Kernel::Quadratic,
        Kernel::Huber(threshold),
        Kernel::Cauchy(threshold),
        Kernel::Tukey(threshold),
    ]
}

/// What is wrong, the source, and the destination.
type Degenerate = (&'static str, Vec<Point3<f64>>, Vec<Point3<f64>>);

fn degenerate_sets() -> Vec<Degenerate> {
    let corners = vec![Point3::origin(), Point3::new(1.0, 0.0, 0.0), Point3::new(0.0, 1.0, 0.0)];
    let with = |index: usize, value: f64| {
        let mut points = corners.clone();
        points[index].y = value;
        points
    };
    let same = vec![Point3::new(1.0, 2.0, 3.0); 5];
    vec![
        ("nothing", vec![], vec![]),
        ("two points", corners[..2].to_vec(), corners[..2].to_vec()),
        ("NaN in the source", with(1, f64::NAN), corners.clone()),
        ("NaN in the destination", corners.clone(), with(2, f64::NAN)),
        ("infinity", with(0, f64::INFINITY), corners.clone()),
        ("beyond the range of squares", with(0, 1e200), corners.clone()),
        (
            "one source point",
            same.clone(),
            corners.iter().chain(&corners).copied().take(5).collect(),
        ),
        ("one destination point", corners.iter().chain(&corners).copied().take(5).collect(), same),
    ]
}

#[test]
fn what_gives_no_similarity_is_an_error_with_its_count() {
    for (case, source, destination) in degenerate_sets() {
        let error = align_similarity(&source, &destination, None).expect_err(case);
        let GeometryError::Degenerate { count, singular_values, .. } = error else {
            panic!("{case}: {error}")
        };
        assert_eq!(count, source.len(), "{case}");
        assert!(singular_values.iter().all(|d| !d.is_nan()), "{case}");
    }
}

#[test]
fn points_on_a_line_show_it_in_their_singular_values() {
    let line: Vec<_> = (0..9).map(|i| Point3::new(f64::from(i), 2.0 * f64::from(i), 1.0)).collect();
    let truth = Sim3::from(Se3::new(Vector3::new(1.0, 2.0, 3.0), Vector3::new(0.3, 0.2, -0.5)));
    let found = align_rigid(&line, &moved(&truth, &line), None).unwrap();
    assert!(found.rmse_m < 1e-9 && found.singular_values[0] > 1.0);
    assert!(found.singular_values[1] < 1e-9 && found.singular_values[2] < 1e-9);
}

#[test]
fn weights_that_leave_too_few_points_are_an_error() {
    let points = vec![Point3::origin(), Point3::new(1.0, 0.0, 0.0), Point3::new(0.0, 1.0, 0.0)];
    for weights in
        [[1.0, 1.0, 0.0], [1.0, -5.0, 1.0], [1.0, f64::NAN, 1.0], [1.0, f64::INFINITY, 1.0]]
    {
        assert!(align_rigid(&points, &points, Some(&weights)).is_err(), "{weights:?}");
    }
    assert!(align_rigid(&points, &points, Some(&[1.0, 1.0])).is_err());
}

#[test]
fn a_trajectory_keeps_the_first_of_poses_with_one_stamp() {
    let pose = |nanos, x| StampedPose {
        stamp: Stamp::from_nanos(nanos),
        world_from_camera: Se3::translation(x, 0.0, 0.0),
    };
    let trajectory = Trajectory::new(vec![pose(5, 1.0), pose(2, 2.0), pose(5, 3.0), pose(2, 4.0)]);
    assert_eq!(trajectory.poses(), [pose(2, 2.0), pose(5, 1.0)]);
}

#[test]
fn texts_that_are_no_stamp_are_refused() {
    for text in [
        "",
        "-",
        ".",
        ".5",
        "1.2.3",
        "1,5",
        "abc",
        "nan",
        "inf",
        "1e300",
        "9999999999999",
        "1 2",
        "+-1",
    ] {
        assert!(text.parse::<Stamp>().is_err(), "{text}");
    }
    for (text, nanos) in
        [("1", 1_000_000_000), ("-0.5", -500_000_000), ("1e-3", 1_000_000), ("7.", 7_000_000_000)]
    {
        assert_eq!(text.parse(), Ok(Stamp::from_nanos(nanos)), "{text}");
    }
}
