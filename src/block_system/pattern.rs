//! Where the blocks of a sparse symmetric matrix lie: an order of little fill, and the lower
//! triangle's entries by column in that order.

use std::collections::BTreeSet;

use faer::Side;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::sparse::linalg::amd;
use faer::sparse::linalg::cholesky::{
    CholeskySymbolicParams, SymbolicCholesky, SymmetricOrdering, factorize_symbolic_cholesky,
};
use faer::sparse::{SymbolicSparseColMat, SymbolicSparseColMatRef};

/// Where a pair's block is kept: below the diagonal, in the column of one of the two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    /// Column of blocks, in the order of little fill.
    pub column: usize,
    /// Number of the block among those below the diagonal of its column.
    pub number: usize,
    /// Whether the pair's first is the column, so that its block is kept transposed.
    pub transposed: bool,
}

/// The places of all blocks of `dim` rows and columns, and the factor's pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    pub dim: usize,
    /// Place of each unknown in the order of little fill.
    pub position: Vec<usize>,
    /// Place of each pair's block.
    pub places: Vec<Place>,
    /// Blocks below the diagonal, by column.
    below: Vec<usize>,
    /// Where a column of blocks begins among the values.
    start: Vec<usize>,
    pub matrix: SymbolicSparseColMat<usize>,
    pub factor: SymbolicCholesky<usize>,
}

impl Pattern {
    /// Returns the pattern of `count` unknowns of `dim` numbers each, tied by `pairs`; `None`
    /// where memory does not suffice.
    pub fn new(dim: usize, count: usize, pairs: &[[usize; 2]]) -> Option<Self> {
        let position = little_fill(count, pairs)?;
        let rows = rows_by_column(count, pairs, &position);
        let place = |&[first, second]: &[usize; 2]| {
            let (a, b) = (position[first], position[second]);
            let (column, row) = (a.min(b), a.max(b));
            let number = rows[column].binary_search(&row).unwrap_or_default();
            Place { column, number, transposed: a < b }
        };
        let places = pairs.iter().map(place).collect();
        let below: Vec<usize> = rows.iter().map(Vec::len).collect();
        let triangle = dim * (dim + 1) / 2;
        let mut start = vec![0];
        start.extend(below.iter().scan(0, |sum, &n| {
            *sum += triangle + n * dim * dim;
            Some(*sum)
        }));
        let matrix = entries(dim, &rows);
        // In an order as it is given, the symbolic factorisation reads the upper triangle.
        let factor = factorize_symbolic_cholesky(
            upper_entries(dim, &rows).as_ref(),
            Side::Upper,
            SymmetricOrdering::Identity,
            CholeskySymbolicParams::default(),
        );
        Some(Self { dim, position, places, below, start, matrix, factor: factor.ok()? })
    }

    /// Returns how many values the lower triangle has.
    pub fn values(&self) -> usize {
        self.start.last().copied().unwrap_or(0)
    }

    /// Returns where the diagonal entry of a scalar column is among the values; the block's other
    /// entries of that column follow.
    pub fn diagonal(&self, column: usize, c: usize) -> usize {
        let full = self.dim * (1 + self.below[column]);
        // Each column of the triangle on the diagonal is one entry shorter than the one before.
        self.start[column] + c * full - (c * c - c) / 2
    }

    /// Returns where a scalar column of a block below the diagonal begins among the values.
    pub fn below_diagonal(&self, place: Place, c: usize) -> usize {
        self.diagonal(place.column, c) + self.dim - c + place.number * self.dim
    }
}

/// The place of each unknown in an order by approximate minimum degree, found on whole blocks.
fn little_fill(count: usize, pairs: &[[usize; 2]]) -> Option<Vec<usize>> {
    let identity: Vec<usize> = (0..count).collect();
    let rows = rows_by_column(count, pairs, &identity);
    let (starts, entries) = compressed(&rows);
    let upper = SymbolicSparseColMatRef::new_checked(count, count, &starts, None, &entries);
    let mut memory = MemBuffer::try_new(amd::order_scratch::<usize>(count, entries.len())).ok()?;
    let (mut order, mut position) = (vec![0; count], vec![0; count]);
    amd::order(
        &mut order,
        &mut position,
        upper,
        amd::Control::default(),
        MemStack::new(&mut memory),
    )
    .ok()?;
    Some(position)
}

/// The rows of blocks below the diagonal, by column, ascending.
fn rows_by_column(count: usize, pairs: &[[usize; 2]], position: &[usize]) -> Vec<Vec<usize>> {
    let ends = |&[a, b]: &[usize; 2]| {
        let (a, b) = (position[a], position[b]);
        (a.min(b), a.max(b))
    };
    let all: BTreeSet<(usize, usize)> = pairs.iter().map(ends).filter(|(a, b)| a != b).collect();
    let mut rows = vec![Vec::new(); count];
    for (column, row) in all {
        rows[column].push(row);
    }
    rows
}

fn compressed(rows: &[Vec<usize>]) -> (Vec<usize>, Vec<usize>) {
    let mut starts = vec![0];
    let mut entries = Vec::new();
    for rows in rows {
        entries.extend_from_slice(rows);
        starts.push(entries.len());
    }
    (starts, entries)
}

/// The pattern of the upper triangle entry by entry.
fn upper_entries(dim: usize, rows: &[Vec<usize>]) -> SymbolicSparseColMat<usize> {
    let n = dim * rows.len();
    let mut columns = vec![Vec::new(); rows.len()];
    for (column, rows) in rows.iter().enumerate() {
        rows.iter().for_each(|&row| columns[row].push(column));
    }
    let (mut starts, mut entries) = (vec![0], Vec::new());
    for (column, above) in columns.iter().enumerate() {
        for c in 0..dim {
            entries.extend(above.iter().flat_map(|row| dim * row..dim * (row + 1)));
            entries.extend(dim * column..=dim * column + c);
            starts.push(entries.len());
        }
    }
    SymbolicSparseColMat::new_checked(n, n, starts, None, entries)
}

/// The pattern of the lower triangle entry by entry.
fn entries(dim: usize, rows: &[Vec<usize>]) -> SymbolicSparseColMat<usize> {
    let n = dim * rows.len();
    let (mut starts, mut entries) = (vec![0], Vec::new());
    for (column, rows) in rows.iter().enumerate() {
        for c in 0..dim {
            entries.extend(dim * column + c..dim * (column + 1));
            entries.extend(rows.iter().flat_map(|row| dim * row..dim * (row + 1)));
            starts.push(entries.len());
        }
    }
    SymbolicSparseColMat::new_checked(n, n, starts, None, entries)
}
