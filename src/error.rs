//! The errors that a caller can act on. Each is one sentence: what, where and what to do.

use std::path::{Path, PathBuf};

use crate::geometry::GeometryError;

/// Everything that can end a run or refuse an input.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, e.g. `read the depth image`.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file whose content cannot be used.
    #[error("{}: {problem}; {remedy}", path.display())]
    Input {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, with its place in the file.
        problem: String,
        /// What the user can do.
        remedy: &'static str,
    },
    /// A configuration key or value that is not accepted.
    #[error("configuration key '{field}': {reason}")]
    InvalidConfig {
        /// Dotted path of the key.
        field: String,
        /// Why, and what is accepted.
        reason: String,
    },
    /// A command line option that does not fit the input.
    #[error("{0}")]
    Usage(String),
    /// Two things that must have the same shape have not.
    #[error("{what}: expected {expected}, found {found}")]
    ShapeMismatch {
        /// What was compared.
        what: &'static str,
        /// The shape that is needed.
        expected: String,
        /// The shape that came.
        found: String,
    },
    /// A frame lacks something that the chosen model needs.
    #[error("model {model} needs {missing}: {remedy}")]
    MissingInput {
        /// Name of the model.
        model: &'static str,
        /// What the frame lacks.
        missing: &'static str,
        /// What the user can do.
        remedy: &'static str,
    },
    /// A network that could not be computed.
    #[error("model {model} failed: {problem}; {remedy}")]
    Inference {
        /// Name of the model.
        model: &'static str,
        /// What went wrong.
        problem: String,
        /// What the user can do.
        remedy: &'static str,
    },
    /// An alignment with too little to go by.
    #[error("{what}: {got} correspondences, at least {need} are needed")]
    TooFewCorrespondences {
        /// What was being aligned.
        what: &'static str,
        /// How many there were.
        got: usize,
        /// How many are needed.
        need: usize,
    },
    /// A geometric input without an answer.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
}

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Returns an [`Error::Input`] about `path`.
    pub fn input(path: &Path, problem: impl Into<String>, remedy: &'static str) -> Self {
        Self::Input { path: path.to_owned(), problem: problem.into(), remedy }
    }

    /// Returns a conversion from the operating system's error to [`Error::Io`], for `map_err`.
    pub fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, action, source }
    }

    /// Returns an [`Error::InvalidConfig`] about the dotted key `field`.
    pub fn config(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::InvalidConfig { field: field.into(), reason: reason.into() }
    }
}
