//! What can be wrong with geometric input.

/// A geometric input that has no answer, with the numbers that show why.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GeometryError {
    /// A camera parameter outside its domain.
    #[error("camera {field} is {value}: {expected}")]
    InvalidCamera {
        /// Name of the parameter, e.g. `fx`.
        field: &'static str,
        /// The value that was given.
        value: f64,
        /// What is accepted.
        expected: &'static str,
    },
    /// A distortion model name or coefficient count that is not supported.
    #[error(
        "distortion model '{model}' with {count} coefficients is not supported: use plumb_bob (4 or 5), rational_polynomial (8) or equidistant (4)"
    )]
    UnknownDistortion {
        /// The model name as given.
        model: String,
        /// How many coefficients came with it.
        count: usize,
    },
    /// Too few or badly spread points for the transform that was asked for.
    #[error("{what}: {count} points, spread (singular values) {singular_values:?}")]
    Degenerate {
        /// What could not be estimated.
        what: &'static str,
        /// Number of points given.
        count: usize,
        /// Singular values of the point covariance, largest first.
        singular_values: [f64; 3],
    },
}
