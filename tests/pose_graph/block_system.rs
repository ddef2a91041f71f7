//! Sparse systems of blocks against dense ones.

use nalgebra::{DMatrix, DVector, Matrix3, SMatrix, SVector, Vector3};
use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use recon_node::block_system::BlockSystem;

/// A system of random blocks with its dense twin.
struct Twins {
    sparse: BlockSystem<3>,
    matrix: DMatrix<f64>,
    right: DVector<f64>,
}

fn random_block(random: &mut SmallRng) -> Matrix3<f64> {
    Matrix3::from_fn(|_, _| random.random_range(-1.0..1.0))
}

/// Unknowns tied at random; some pairs come twice, or turned around.
fn twins(count: usize, ties: usize, seed: u64) -> Twins {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut pairs = Vec::new();
    for _ in 0..ties {
        let (a, b) = (random.random_range(0..count), random.random_range(0..count));
        if a != b {
            pairs.push([a, b]);
        }
    }
    let mut sparse = BlockSystem::<3>::new(count, &pairs).unwrap();
    let mut matrix = DMatrix::zeros(3 * count, 3 * count);
    let mut right = DVector::zeros(3 * count);
    for (number, &[a, b]) in pairs.iter().enumerate() {
        let block = random_block(&mut random);
        sparse.add_pair(number, &block);
        let mut upper = matrix.fixed_view_mut::<3, 3>(3 * a, 3 * b);
        upper += block;
        let mut lower = matrix.fixed_view_mut::<3, 3>(3 * b, 3 * a);
        lower += block.transpose();
    }
    for unknown in 0..count {
        let root = random_block(&mut random);
        // Heavy enough for the whole to be positive definite.
        let block = root * root.transpose() + Matrix3::identity() * 6.0 * (1.0 + ties as f64);
        sparse.add_diagonal(unknown, &block);
        let mut view = matrix.fixed_view_mut::<3, 3>(3 * unknown, 3 * unknown);
        view += block;
        let part = Vector3::from_fn(|_, _| random.random_range(-1.0..1.0));
        sparse.add_right(unknown, &part);
        right.fixed_rows_mut::<3>(3 * unknown).copy_from(&part);
    }
    Twins { sparse, matrix, right }
}

fn flat<const D: usize>(parts: &[SVector<f64, D>]) -> DVector<f64> {
    DVector::from_iterator(D * parts.len(), parts.iter().flat_map(|p| p.iter().copied()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn solutions_and_inverses_are_those_of_the_dense_system(
        count in 1usize..30, ties in 0usize..80, seed in 0u64..1000, damping in 0.0f64..1.0,
    ) {
        let Twins { mut sparse, mut matrix, right } = twins(count, ties, seed);
        for i in 0..3 * count {
            matrix[(i, i)] *= 1.0 + damping;
        }
        let inverse = matrix.try_inverse().unwrap();
        prop_assert!(sparse.factorize(damping));
        let solution = flat(&sparse.solve().unwrap());
        prop_assert!((solution - &inverse * &right).amax() < 1e-10);
        for unknown in 0..count {
            let block: Matrix3<f64> = inverse.fixed_view::<3, 3>(3 * unknown, 3 * unknown).into();
            prop_assert!((sparse.inverse_block(unknown) - block).amax() < 1e-12);
        }
    }
}

#[test]
fn products_are_those_of_the_dense_system() {
    let Twins { mut sparse, matrix, right } = twins(12, 30, 5);
    let step: Vec<SVector<f64, 3>> =
        (0..12).map(|i| Vector3::new(1.0, -0.5, 0.1 * f64::from(i))).collect();
    let flat_step = flat(&step);
    let weighted: f64 =
        matrix.diagonal().iter().zip(flat_step.iter()).map(|(d, s)| d * s * s).sum();
    assert!((sparse.diagonal_norm(&step) - weighted).abs() < 1e-9 * weighted);
    assert!((sparse.right_dot(&step) - right.dot(&flat_step)).abs() < 1e-12);
    assert!(sparse.factorize(0.0));
    let solved = flat(&sparse.solve_for(&step).unwrap());
    assert!((matrix * solved - flat_step).amax() < 1e-10);
}

#[test]
fn a_matrix_that_is_not_positive_definite_is_refused() {
    let mut system = BlockSystem::<6>::new(2, &[[0, 1]]).unwrap();
    system.add_diagonal(0, &SMatrix::identity());
    assert!(!system.factorize(0.0));
    system.add_diagonal(1, &SMatrix::identity());
    assert!(system.factorize(0.0));
    system.clear();
    assert!(!system.factorize(0.0));
}
