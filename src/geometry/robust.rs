//! Robust kernels: how much a residual counts, as a weight for iteratively reweighted least squares.

/// A robust kernel over residuals already divided by their standard deviation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kernel {
    /// Every residual counts in full.
    Quadratic,
    /// Quadratic up to the threshold, linear beyond it (Huber, 1964).
    Huber(f64),
    /// Cauchy: weight `1 / (1 + (r/c)²)`.
    Cauchy(f64),
    /// Tukey's biweight: no influence at all beyond the threshold.
    Tukey(f64),
}

impl Kernel {
    /// Returns the weight `rho'(r) / r`, between 0 and 1; 0 for a residual that is not finite.
    pub fn weight(&self, residual: f64) -> f64 {
        let r = residual.abs();
        if !r.is_finite() {
            return 0.0;
        }
        match *self {
            Kernel::Quadratic => 1.0,
            Kernel::Huber(k) if r <= k => 1.0,
            Kernel::Huber(k) => k / r,
            Kernel::Cauchy(c) => 1.0 / (1.0 + (r / c).powi(2)),
            Kernel::Tukey(c) if r >= c => 0.0,
            Kernel::Tukey(c) => (1.0 - (r / c).powi(2)).powi(2),
        }
    }

    /// Returns the cost `rho(r)`, which is `r²/2` near zero; 0 for a residual that is not finite,
    /// since it has no weight.
    pub fn cost(&self, residual: f64) -> f64 {
        let r = residual.abs();
        if !r.is_finite() {
            return 0.0;
        }
        match *self {
            Kernel::Quadratic => 0.5 * r * r,
            Kernel::Huber(k) if r <= k => 0.5 * r * r,
            Kernel::Huber(k) => k * (r - 0.5 * k),
            Kernel::Cauchy(c) => 0.5 * c * c * (r / c).powi(2).ln_1p(),
            Kernel::Tukey(c) if r >= c => c * c / 6.0,
            Kernel::Tukey(c) => c * c / 6.0 * (1.0 - (1.0 - (r / c).powi(2)).powi(3)),
        }
    }
}

/// Returns the standard deviation of the bulk of the finite `residuals` by their median absolute
/// value (1.4826 × MAD about zero), or `None` without a finite residual. Reorders the slice.
pub fn mad_sigma(residuals: &mut [f32]) -> Option<f32> {
    let mut finite = 0;
    for r in residuals.iter_mut() {
        *r = r.abs();
        finite += usize::from(r.is_finite());
    }
    // In the total order whatever is not finite comes last, behind the median of the rest.
    (finite > 0)
        .then(|| 1.4826 * *residuals.select_nth_unstable_by(finite / 2, f32::total_cmp).1)
        .filter(|sigma| sigma.is_finite())
}
