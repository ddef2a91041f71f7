//! The cameras' linear system: which unknowns are free, which are one and the same, and the sparse
//! Cholesky factorisation (faer, one thread), whose pattern is analysed once.

use std::collections::BTreeMap;

use faer::Side;
use faer::linalg::solvers::Solve;
use faer::sparse::linalg::solvers::{Llt, SymbolicLlt};
use faer::sparse::{SparseColMat, Triplet};

use super::factor::ViewBlock;
use super::normal::Normal;
use super::state::{VIEW_DIM, ViewStep};

/// Where each view's unknowns are in the system: columns that two views share are one unknown,
/// and those without a column stand still.
#[derive(Debug, Clone)]
pub struct Columns {
    columns: Vec<[Option<usize>; VIEW_DIM]>,
    count: usize,
}

impl Columns {
    /// Returns columns for the unknowns that `free` says are free; those of `shared` get one column
    /// for all views.
    pub fn new(
        views: usize,
        free: impl Fn(usize, usize) -> bool,
        shared: impl Fn(usize) -> bool,
    ) -> Self {
        let mut of_all: BTreeMap<usize, usize> = BTreeMap::new();
        let mut count = 0;
        let mut columns = vec![[None; VIEW_DIM]; views];
        for (view, row) in columns.iter_mut().enumerate() {
            for (unknown, column) in row.iter_mut().enumerate().filter(|(u, _)| free(view, *u)) {
                let known = of_all.get(&unknown).copied().filter(|_| shared(unknown));
                *column = Some(known.unwrap_or(count));
                if known.is_none() {
                    of_all.insert(unknown, count);
                    count += 1;
                }
            }
        }
        Self { columns, count }
    }

    /// Returns the number of unknowns.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns the column of an unknown of a view.
    pub fn of(&self, view: usize, unknown: usize) -> Option<usize> {
        self.columns[view][unknown]
    }
}

/// The cameras' system, its pattern kept from one solution to the next.
pub struct ReducedSolver {
    columns: Columns,
    symbolic: Option<(usize, SymbolicLlt<usize>)>,
}

impl ReducedSolver {
    /// Returns a solver for the given unknowns.
    pub fn new(columns: Columns) -> Self {
        Self { columns, symbolic: None }
    }

    /// Returns the step of every view that solves the system, zero where an unknown stands still;
    /// `pinned` columns stand still as well. `None` where the matrix is not positive definite.
    pub fn solve(&mut self, reduced: &Normal, pinned: &[usize]) -> Option<Vec<ViewStep>> {
        let factor = self.factorize(reduced, pinned)?;
        let mut right = faer::Col::zeros(self.columns.count);
        for (view, gradient) in reduced.gradients.iter().enumerate() {
            for (unknown, column) in self.free(view) {
                right[column] -= gradient[unknown];
            }
        }
        for &column in pinned {
            right[column] = 0.0;
        }
        let solution = factor.solve(&right);
        let finite = (0..self.columns.count).all(|i| solution[i].is_finite());
        let value = |view, unknown| self.columns.of(view, unknown).map_or(0.0, |c| solution[c]);
        let step = |view| ViewStep::from_fn(|unknown, _| value(view, unknown));
        finite.then(|| (0..reduced.gradients.len()).map(step).collect())
    }

    /// Returns the Cholesky factor, or `None` where there is none.
    pub fn factorize(&mut self, reduced: &Normal, pinned: &[usize]) -> Option<Llt<usize, f64>> {
        let matrix = self.matrix(reduced, pinned)?;
        let entries = matrix.compute_nnz();
        if self.symbolic.as_ref().is_none_or(|(count, _)| *count != entries) {
            self.symbolic =
                Some((entries, SymbolicLlt::try_new(matrix.symbolic(), Side::Lower).ok()?));
        }
        let symbolic = self.symbolic.as_ref()?.1.clone();
        Llt::try_new_with_symbolic(symbolic, matrix.as_ref(), Side::Lower).ok()
    }

    fn matrix(&self, reduced: &Normal, pinned: &[usize]) -> Option<SparseColMat<usize, f64>> {
        let mut triplets = Vec::new();
        for (views, block) in &reduced.blocks {
            self.push_block(*views, block, pinned, &mut triplets);
        }
        let n = self.columns.count;
        SparseColMat::try_new_from_triplets(n, n, &triplets).ok()
    }

    /// Appends the part of a block that is in the lower triangle. Rows and columns that are pinned
    /// become those of the identity.
    fn push_block(
        &self,
        (row_view, column_view): (usize, usize),
        block: &ViewBlock,
        pinned: &[usize],
        triplets: &mut Vec<Triplet<usize, usize, f64>>,
    ) {
        for (c, column) in self.free(column_view) {
            for (r, row) in self.free(row_view) {
                let still = pinned.contains(&row) || pinned.contains(&column);
                let identity = if row == column { 1.0 } else { 0.0 };
                let value = if still { identity } else { block[(r, c)] };
                if row >= column {
                    triplets.push(Triplet::new(row, column, value));
                }
                // Off the diagonal a block stands for its transpose too.
                if row_view != column_view && column >= row {
                    triplets.push(Triplet::new(column, row, value));
                }
            }
        }
    }

    fn free(&self, view: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let columns = self.columns.columns[view].iter().enumerate();
        columns.filter_map(|(unknown, column)| column.map(|c| (unknown, c)))
    }
}
