//! Sparse symmetric linear systems whose unknowns are poses: blocks of `D` by `D`, their pattern
//! and an order of little fill found once, the Cholesky factorisation by faer on one thread, so
//! that results do not depend on the number of cores.

mod pattern;

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::LltRegularization;
use faer::sparse::SparseColMatRef;
use faer::sparse::linalg::cholesky::LltRef;
use faer::{Conj, MatMut, Par, Side, Spec};
use nalgebra::{SMatrix, SVector};

use pattern::Pattern;

/// A system `matrix · x = right` with a block for each unknown and for each pair of unknowns.
pub struct BlockSystem<const D: usize> {
    pattern: Pattern,
    values: Vec<f64>,
    right: Vec<f64>,
    damped: Vec<f64>,
    factor: Vec<f64>,
    memory: MemBuffer,
}

impl<const D: usize> BlockSystem<D> {
    /// Returns a system of zeros: `count` unknowns, with a block for each of `pairs` (given twice
    /// or turned around they share one); `None` where memory does not suffice.
    pub fn new(count: usize, pairs: &[[usize; 2]]) -> Option<Self> {
        let pattern = Pattern::new(D, count, pairs)?;
        let factor = &pattern.factor;
        let scratch = factor
            .factorize_numeric_llt_scratch::<f64>(Par::Seq, Spec::default())
            .or(factor.solve_in_place_scratch::<f64>(D, Par::Seq));
        Some(Self {
            values: vec![0.0; pattern.values()],
            damped: vec![0.0; pattern.values()],
            right: vec![0.0; D * count],
            factor: vec![0.0; factor.len_val()],
            memory: MemBuffer::try_new(scratch).ok()?,
            pattern,
        })
    }

    /// Sets matrix and right side to zero; the pattern stays.
    pub fn clear(&mut self) {
        self.values.fill(0.0);
        self.right.fill(0.0);
    }

    /// Adds to the block of an unknown, a symmetric one.
    pub fn add_diagonal(&mut self, unknown: usize, block: &SMatrix<f64, D, D>) {
        let column = self.pattern.position[unknown];
        for c in 0..D {
            let at = self.pattern.diagonal(column, c);
            for r in c..D {
                self.values[at + r - c] += block[(r, c)];
            }
        }
    }

    /// Adds to the block of a pair, by the pair's number; its rows are those of the pair's first.
    pub fn add_pair(&mut self, pair: usize, block: &SMatrix<f64, D, D>) {
        let place = self.pattern.places[pair];
        for c in 0..D {
            let at = self.pattern.below_diagonal(place, c);
            for r in 0..D {
                let entry = if place.transposed { (c, r) } else { (r, c) };
                self.values[at + r] += block[entry];
            }
        }
    }

    /// Adds to the right side.
    pub fn add_right(&mut self, unknown: usize, part: &SVector<f64, D>) {
        let at = D * self.pattern.position[unknown];
        self.right[at..at + D].iter_mut().zip(part.iter()).for_each(|(r, p)| *r += p);
    }

    /// Factorises the matrix with each diagonal entry raised by the share `damping`, and returns
    /// whether it is positive definite.
    pub fn factorize(&mut self, damping: f64) -> bool {
        self.damped.copy_from_slice(&self.values);
        for column in 0..self.pattern.position.len() {
            for c in 0..D {
                self.damped[self.pattern.diagonal(column, c)] *= 1.0 + damping;
            }
        }
        let matrix = SparseColMatRef::new(self.pattern.matrix.as_ref(), &self.damped);
        let factor = self.pattern.factor.factorize_numeric_llt(
            &mut self.factor,
            matrix,
            Side::Lower,
            LltRegularization::default(),
            Par::Seq,
            MemStack::new(&mut self.memory),
            Spec::default(),
        );
        factor.is_ok()
    }

    /// Returns what each unknown is in the solution by the last factorisation; `None` where a
    /// number is not finite.
    pub fn solve(&mut self) -> Option<Vec<SVector<f64, D>>> {
        self.solve_flat(self.right.clone())
    }

    /// The same for another right side.
    pub fn solve_for(&mut self, right: &[SVector<f64, D>]) -> Option<Vec<SVector<f64, D>>> {
        let mut flat = vec![0.0; self.right.len()];
        for (part, &p) in right.iter().zip(&self.pattern.position) {
            flat[D * p..D * (p + 1)].copy_from_slice(part.as_slice());
        }
        self.solve_flat(flat)
    }

    fn solve_flat(&mut self, mut solution: Vec<f64>) -> Option<Vec<SVector<f64, D>>> {
        self.substitute(&mut solution, 1);
        let unknown = |&p: &usize| SVector::from_column_slice(&solution[D * p..D * (p + 1)]);
        let finite = solution.iter().all(|v| v.is_finite());
        finite.then(|| self.pattern.position.iter().map(unknown).collect())
    }

    /// Returns the block of an unknown in the inverse of the matrix, by the last factorisation.
    pub fn inverse_block(&mut self, unknown: usize) -> SMatrix<f64, D, D> {
        let n = self.right.len();
        let at = D * self.pattern.position[unknown];
        let mut columns = vec![0.0; D * n];
        for c in 0..D {
            columns[c * n + at + c] = 1.0;
        }
        self.substitute(&mut columns, D);
        SMatrix::from_fn(|r, c| columns[c * n + at + r])
    }

    /// Returns each unknown's diagonal of the matrix times the square of `step`, all added up.
    pub fn diagonal_norm(&self, step: &[SVector<f64, D>]) -> f64 {
        let of_unknown = |(step, &column): (&SVector<f64, D>, &usize)| -> f64 {
            (0..D).map(|c| self.values[self.pattern.diagonal(column, c)] * step[c] * step[c]).sum()
        };
        step.iter().zip(&self.pattern.position).map(of_unknown).sum()
    }

    /// Returns the right side times `step`.
    pub fn right_dot(&self, step: &[SVector<f64, D>]) -> f64 {
        let of_unknown = |(step, &p): (&SVector<f64, D>, &usize)| -> f64 {
            self.right[D * p..D * (p + 1)].iter().zip(step.iter()).map(|(r, s)| r * s).sum()
        };
        step.iter().zip(&self.pattern.position).map(of_unknown).sum()
    }

    fn substitute(&mut self, columns: &mut [f64], count: usize) {
        let rows = self.right.len();
        LltRef::new(&self.pattern.factor, &self.factor).solve_in_place_with_conj(
            Conj::No,
            MatMut::from_column_major_slice_mut(columns, rows, count),
            Par::Seq,
            MemStack::new(&mut self.memory),
        );
    }
}
