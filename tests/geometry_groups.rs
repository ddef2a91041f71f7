//! Laws of SE(3) and Sim(3), near zero, near half a turn and far from both.

use std::f64::consts::PI;

use nalgebra::{Matrix4, Point3, SMatrix, SVector, Vector3, Vector6};
use proptest::prelude::*;
use recon_node::geometry::numeric::jacobian;
use recon_node::geometry::{Se3, Sim3, se3};

type Tangent7 = SVector<f64, 7>;

/// Magnitudes from nothing over tiny to `largest`.
fn magnitude(largest: f64) -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(0.0),
        (-16.0..0.0_f64).prop_map(move |exponent| largest * 10_f64.powf(exponent)),
        (0.0..1.0_f64).prop_map(move |frac| largest * frac),
        (-12.0..-6.0_f64).prop_map(move |exponent| largest - 10_f64.powf(exponent)),
    ]
}

fn vector(largest: f64) -> impl Strategy<Value = Vector3<f64>> {
    let direction = prop::array::uniform3(-1.0..1.0_f64)
        .prop_filter_map("too short", |v| Vector3::from(v).try_normalize(0.1));
    (direction, magnitude(largest)).prop_map(|(direction, length)| direction * length)
}

fn tangent6() -> impl Strategy<Value = Vector6<f64>> {
    (vector(PI - 1e-5), vector(10.0))
        .prop_map(|(omega, nu)| Vector6::new(omega.x, omega.y, omega.z, nu.x, nu.y, nu.z))
}

fn tangent7() -> impl Strategy<Value = Tangent7> {
    let sigma = (magnitude(4.0), any::<bool>()).prop_map(|(s, up)| if up { s } else { -s });
    (tangent6(), sigma).prop_map(|(rigid, sigma)| rigid.push(sigma))
}

fn rigid() -> impl Strategy<Value = Se3> {
    tangent6().prop_map(|x| se3::exp(&x))
}

fn similarity() -> impl Strategy<Value = Sim3> {
    tangent7().prop_map(|x| Sim3::exp(&x))
}

/// The matrix whose exponential a similarity is: `[sigma I + omega^, nu; 0, 0]`.
fn generator(x: &Tangent7) -> Matrix4<f64> {
    let mut generator = Matrix4::zeros();
    let hat = se3::skew(&Vector3::new(x[0], x[1], x[2])) + nalgebra::Matrix3::identity() * x[6];
    generator.fixed_view_mut::<3, 3>(0, 0).copy_from(&hat);
    generator.fixed_view_mut::<3, 1>(0, 3).copy_from(&Vector3::new(x[3], x[4], x[5]));
    generator
}

fn differ<const R: usize, const C: usize>(a: SMatrix<f64, R, C>, b: SMatrix<f64, R, C>) -> f64 {
    (a - b).amax() / (1.0 + b.amax())
}

fn differ_sim3(a: Sim3, b: Sim3) -> f64 {
    differ(a.matrix(), b.matrix())
}

fn differ_se3(a: Se3, b: Se3) -> f64 {
    differ(a.to_homogeneous(), b.to_homogeneous())
}

proptest! {
    /// 1e-6: the reference's series near zero is good to 1e-8 of a translation of 10 m.
    #[test]
    fn exp_and_log_agree_with_sophus(x in tangent6()) {
        let theirs: Se3 = sophus_lie::Isometry3F64::exp(x).into();
        prop_assert!(differ(se3::exp(&x).to_homogeneous(), theirs.to_homogeneous()) < 1e-6);
        // Near half a turn the axis is found from a small difference, by both.
        if x.fixed_rows::<3>(0).norm() < 3.0 {
            let log = sophus_lie::Isometry3F64::from(se3::exp(&x)).log();
            prop_assert!(differ(log, x) < 1e-6);
        }
    }

    #[test]
    fn sim3_is_a_group(a in similarity(), b in similarity(), c in similarity()) {
        let e = Sim3::identity();
        prop_assert!(differ_sim3((a * b) * c, a * (b * c)) < 1e-9);
        prop_assert!(differ_sim3(a * e, a) < 1e-14 && differ_sim3(e * a, a) < 1e-14);
        prop_assert!(differ_sim3(a * a.inverse(), e) < 1e-9);
        prop_assert!(differ_sim3(a.inverse() * a, e) < 1e-9);
        prop_assert!(differ((a * b).matrix(), a.matrix() * b.matrix()) < 1e-12);
    }

    #[test]
    fn sim3_acts_as_its_matrix_does(a in similarity(), p in vector(10.0)) {
        let by_matrix = a.matrix() * Point3::from(p).to_homogeneous();
        let moved = a.transform_point(&Point3::from(p));
        prop_assert!(differ(moved.to_homogeneous(), by_matrix) < 1e-12);
        let back = a.inverse().transform_point(&moved);
        prop_assert!((back.coords - p).norm() < 1e-9 * (1.0 + a.translation.norm() / a.scale));
    }

    #[test]
    fn sim3_exp_is_the_exponential_of_its_generator(x in tangent7()) {
        let difference = differ(Sim3::exp(&x).matrix(), generator(&x).exp());
        prop_assert!(difference < 1e-10, "{difference}");
    }

    #[test]
    fn sim3_log_undoes_exp(x in tangent7()) {
        let difference = differ(Sim3::exp(&x).log(), x);
        prop_assert!(difference < 1e-9, "{difference} {}", Sim3::exp(&x).log());
    }

    #[test]
    fn sim3_exp_undoes_log(a in similarity()) {
        prop_assert!(differ_sim3(Sim3::exp(&a.log()), a) < 1e-10);
    }

    #[test]
    fn sim3_adjoint_moves_tangents(a in similarity(), x in tangent7()) {
        let small = x * 0.1;
        let moved = Sim3::exp(&(a.adjoint() * small)) * a;
        prop_assert!(differ_sim3(moved, a * Sim3::exp(&small)) < 1e-9);
    }

    #[test]
    fn sim3_adjoint_is_a_homomorphism(a in similarity(), b in similarity()) {
        prop_assert!(differ((a * b).adjoint(), a.adjoint() * b.adjoint()) < 1e-10);
    }

    #[test]
    fn sim3_without_scale_is_se3(x in tangent6()) {
        let scaled = Sim3::exp(&x.push(0.0));
        prop_assert!((scaled.scale - 1.0).abs() < 1e-15);
        prop_assert!(differ_se3(scaled.rigid(), se3::exp(&x)) < 1e-10);
        prop_assert!(differ_sim3(Sim3::from(scaled.rigid()), scaled) < 1e-15);
        let halved = Sim3::from_parts(&scaled.rigid(), 0.5);
        prop_assert!((halved.scale - 0.5).abs() < 1e-15);
    }

    #[test]
    fn se3_exp_is_the_exponential_of_its_generator(x in tangent6()) {
        let difference = differ(se3::exp(&x).to_homogeneous(), generator(&x.push(0.0)).exp());
        prop_assert!(difference < 1e-10, "{difference}");
    }

    #[test]
    fn se3_log_undoes_exp(x in tangent6()) {
        let difference = differ(se3::log(&se3::exp(&x)), x);
        prop_assert!(difference < 1e-9, "{difference} {}", se3::log(&se3::exp(&x)));
    }

    #[test]
    fn se3_adjoint_moves_tangents(a in rigid(), x in tangent6()) {
        let moved = se3::exp(&(se3::adjoint(&a) * x)) * a;
        prop_assert!(differ_se3(moved, a * se3::exp(&x)) < 1e-8);
    }

    #[test]
    fn se3_adjoint_is_a_homomorphism(a in rigid(), b in rigid()) {
        let product = se3::adjoint(&a) * se3::adjoint(&b);
        prop_assert!(differ(se3::adjoint(&(a * b)), product) < 1e-12);
        let inverse = se3::adjoint(&a) * se3::adjoint(&a.inverse());
        prop_assert!(differ(inverse, SMatrix::identity()) < 1e-10);
    }

    #[test]
    fn interpolation_goes_straight_from_start_to_end(a in rigid(), x in tangent6(), t in 0.0..1.0_f64) {
        let b = se3::exp(&x) * a;
        prop_assert!(differ_se3(se3::interpolate(&a, &b, 0.0), a) < 1e-9);
        prop_assert!(differ_se3(se3::interpolate(&a, &b, 1.0), b) < 1e-8);
        let between = se3::interpolate(&a, &b, t);
        prop_assert!((se3::angle_rad(&(between * a.inverse())) - t * x.fixed_rows::<3>(0).norm()).abs() < 1e-7);
    }

    #[test]
    fn a_left_perturbation_moves_points_as_its_jacobian_says(a in similarity(), p in vector(3.0)) {
        let moved = a.transform_point(&Point3::from(p)).coords;
        let perturbed = |x: &SVector<f64, 7>| (Sim3::exp(x) * a).transform_point(&Point3::from(p)).coords;
        let mut expected = SMatrix::<f64, 3, 7>::zeros();
        expected.fixed_view_mut::<3, 3>(0, 0).copy_from(&-se3::skew(&moved));
        expected.fixed_view_mut::<3, 3>(0, 3).fill_with_identity();
        expected.set_column(6, &moved);
        let numeric = jacobian(perturbed, &SVector::zeros(), 1e-6);
        prop_assert!(differ(numeric, expected) < 1e-6);
    }
}

#[test]
fn the_half_turn_itself_survives_log_and_exp() {
    for axis in [Vector3::x(), Vector3::y(), Vector3::z(), Vector3::new(0.6, 0.0, -0.8)] {
        let turn = Se3::new(Vector3::new(1.0, -2.0, 3.0), axis * PI);
        assert!(differ_se3(se3::exp(&se3::log(&turn)), turn) < 1e-9, "{axis}");
        let scaled = Sim3::from_parts(&turn, 2.0);
        assert!(differ_sim3(Sim3::exp(&scaled.log()), scaled) < 1e-9, "{axis}");
    }
}

#[test]
fn skew_is_the_cross_product() {
    let (a, b) = (Vector3::new(1.0, -2.0, 3.0), Vector3::new(0.5, 4.0, -1.0));
    assert!((se3::skew(&a) * b - a.cross(&b)).norm() < 1e-15);
}
