//! Depths out of the normal equations: each touches only its own view and those that see it, so the
//! Schur complement onto the cameras is a sum over depths.

use nalgebra::SMatrix;
use rayon::prelude::*;

use super::factor::Coupling;
use super::normal::{DepthNormal, Normal};
use super::state::{CAMERA_DIM, ViewStep};

type CameraBlock = SMatrix<f64, CAMERA_DIM, CAMERA_DIM>;

/// What a view's depths take from the cameras' equations.
struct Elimination {
    views: Vec<usize>,
    /// Upper triangle over `views`, row by row.
    blocks: Vec<CameraBlock>,
    gradients: Vec<Coupling>,
}

/// Returns the normal equations of the cameras alone, with `damping` (a share of each diagonal
/// entry) on cameras and depths.
pub fn reduce(normal: &Normal, damping: f64) -> Normal {
    let parts: Vec<Elimination> =
        normal.depths.par_iter().map(|depths| Elimination::of(depths, damping)).collect();
    let mut reduced = Normal {
        blocks: normal.blocks.clone(),
        gradients: normal.gradients.clone(),
        depths: Vec::new(),
    };
    for view in 0..reduced.gradients.len() {
        if let Some(block) = reduced.blocks.get_mut(&(view, view)) {
            for i in 0..block.nrows() {
                block[(i, i)] *= 1.0 + damping;
            }
        }
    }
    for part in &parts {
        part.subtract_from(&mut reduced);
    }
    reduced
}

/// Returns the steps of all depths, in shares of their view's median depth, that go with the
/// cameras' step.
pub fn depth_steps(normal: &Normal, damping: f64, step: &[ViewStep]) -> Vec<Vec<f64>> {
    normal.depths.par_iter().map(|depths| depths.step(damping, step)).collect()
}

impl DepthNormal {
    /// Depths with no more than this are tied to nothing, but for rounding.
    fn least_hessian(&self) -> f64 {
        1e-12 * self.hessian.iter().copied().fold(0.0, f64::max)
    }

    fn step(&self, damping: f64, step: &[ViewStep]) -> Vec<f64> {
        let mut slopes = self.gradient.clone();
        for (view, couplings) in &self.couplings {
            let camera = step[*view].fixed_rows::<CAMERA_DIM>(0);
            for (slope, coupling) in slopes.iter_mut().zip(couplings) {
                *slope += coupling.dot(&camera);
            }
        }
        let least = self.least_hessian();
        let rows = slopes.iter().zip(&self.hessian);
        rows.map(|(slope, h)| if *h > least { -slope / (h * (1.0 + damping)) } else { 0.0 })
            .collect()
    }
}

impl Elimination {
    fn of(depths: &DepthNormal, damping: f64) -> Self {
        let views: Vec<usize> = depths.couplings.iter().map(|(view, _)| *view).collect();
        let n = views.len();
        let mut out = Self {
            blocks: vec![CameraBlock::zeros(); n * (n + 1) / 2],
            gradients: vec![Coupling::zeros(); n],
            views,
        };
        let mut active = Vec::with_capacity(n);
        let least = depths.least_hessian();
        for (anchor, hessian) in depths.hessian.iter().enumerate().filter(|(_, h)| **h > least) {
            active.clear();
            let couplings = depths.couplings.iter().map(|(_, c)| &c[anchor]).enumerate();
            active.extend(couplings.filter(|(_, c)| c.iter().any(|v| v.abs() > 0.0)));
            out.add(&active, 1.0 / (hessian * (1.0 + damping)), depths.gradient[anchor]);
        }
        out
    }

    fn add(&mut self, active: &[(usize, &Coupling)], inverse: f64, gradient: f64) {
        let n = self.views.len();
        for (i, (a, left)) in active.iter().enumerate() {
            let left = *left * inverse;
            self.gradients[*a] += left * gradient;
            for (b, right) in &active[i..] {
                self.blocks[upper_index(n, *a, *b)].ger(1.0, &left, right, 1.0);
            }
        }
    }

    fn subtract_from(&self, normal: &mut Normal) {
        let n = self.views.len();
        for a in 0..n {
            let mut gradient = normal.gradients[self.views[a]].fixed_rows_mut::<CAMERA_DIM>(0);
            gradient -= self.gradients[a];
            for b in a..n {
                let block = &self.blocks[upper_index(n, a, b)];
                let (row, column) = (self.views[a], self.views[b]);
                let key = (row.min(column), row.max(column));
                let entry =
                    normal.blocks.entry(key).or_insert_with(super::factor::ViewBlock::zeros);
                let mut view = entry.fixed_view_mut::<CAMERA_DIM, CAMERA_DIM>(0, 0);
                if row <= column { view -= block } else { view -= block.transpose() }
            }
        }
    }
}

/// The place of (row, column), row at most column, in an upper triangle stored row by row.
fn upper_index(n: usize, row: usize, column: usize) -> usize {
    row * (2 * n - row + 1) / 2 + column - row
}
