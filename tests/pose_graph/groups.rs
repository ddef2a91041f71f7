//! The inverse of the left Jacobian, against differences.

use nalgebra::SVector;
use proptest::prelude::*;
use recon_node::geometry::numeric::jacobian;
use recon_node::geometry::{LieGroup, Se3, Sim3, left_jacobian_inverse};

fn by_differences<G: LieGroup<D>, const D: usize>(
    tangent: &SVector<f64, D>,
) -> nalgebra::SMatrix<f64, D, D> {
    let middle = G::exp(tangent);
    jacobian(|x: &SVector<f64, D>| G::exp(x).compose(&middle).log(), &SVector::zeros(), 1e-6)
}

fn tangent<const D: usize>(turn: f64, move_m: f64) -> impl Strategy<Value = SVector<f64, D>> {
    prop::array::uniform7(-1.0..1.0_f64).prop_map(move |v| {
        SVector::from_fn(|i, _| {
            v[i] * if i < 3 {
                turn
            } else if i < 6 {
                move_m
            } else {
                0.5
            }
        })
    })
}

proptest! {
    #[test]
    fn of_rigid_motions(small in tangent::<6>(0.3, 2.0), large in tangent::<6>(1.7, 20.0)) {
        for x in [small, large] {
            let found = left_jacobian_inverse::<Se3, 6>(&x);
            prop_assert!((found - by_differences::<Se3, 6>(&x)).amax() < 1e-5 * (1.0 + x.amax()));
        }
    }

    #[test]
    fn of_similarities(small in tangent::<7>(0.3, 2.0), large in tangent::<7>(1.7, 20.0)) {
        for x in [small, large] {
            let found = left_jacobian_inverse::<Sim3, 7>(&x);
            prop_assert!((found - by_differences::<Sim3, 7>(&x)).amax() < 1e-5 * (1.0 + x.amax()));
        }
    }

    #[test]
    fn adjoints_move_tangents(x in tangent::<7>(1.0, 2.0), y in tangent::<7>(0.5, 1.0)) {
        let t = <Sim3 as LieGroup<7>>::exp(&y);
        let left = LieGroup::compose(&t, &<Sim3 as LieGroup<7>>::exp(&x));
        let moved = <Sim3 as LieGroup<7>>::exp(&(LieGroup::adjoint(&t) * x));
        let right = LieGroup::compose(&moved, &t);
        prop_assert!((left.matrix() - right.matrix()).amax() < 1e-9);
        prop_assert!((Sim3::from_similarity(&left.to_similarity()).matrix() - left.matrix()).amax() < 1e-12);
    }
}
