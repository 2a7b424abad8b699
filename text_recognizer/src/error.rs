//! The errors of the library.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error, with fields to match on: its message names the object, the value found and the value expected.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation on a path failed.
    #[error("{action} {path}: {source}", path = path.display())]
    Io {
        /// The attempt, such as "cannot read".
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },

    /// A file has a content that cannot be used.
    #[error("{path}: {what}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The fault, its place, and the expected content.
        what: String,
    },

    /// A file has another content than the published one.
    #[error(
        "{path}: SHA-256 is {got}, expected {expected}; the file is damaged or not the published one; delete it and run again",
        path = path.display()
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The published digest, in hexadecimal.
        expected: String,
        /// The digest of the file, in hexadecimal.
        got: String,
    },

    /// A file cannot be downloaded from any mirror.
    #[error(
        "cannot download {name}:{attempts}\nTry again later, or copy the file to {path}",
        attempts = attempts.iter().map(|line| format!("\n  {line}")).collect::<String>(),
        path = path.display()
    )]
    Download {
        /// The file's name.
        name: String,
        /// The path that it was downloaded to.
        path: PathBuf,
        /// One line for each attempt: the URL and the failure.
        attempts: Vec<String>,
    },

    /// A data set is in none of the folders of the search; the message lists them.
    #[error("{0}")]
    NotFound(String),

    /// A tensor has an unexpected shape.
    #[error("{op}: expected shape {expected}, got {got:?}")]
    Shape {
        /// The operation or layer.
        op: String,
        /// The expected shape, with names for free dimensions.
        expected: String,
        /// The shape of the tensor.
        got: Vec<i64>,
    },

    /// A value is not allowed.
    #[error("{name} is {value}: expected {expected}")]
    Invalid {
        /// The name of the parameter or object.
        name: String,
        /// The value.
        value: String,
        /// The allowed values.
        expected: String,
    },

    /// JSON cannot be read or written.
    #[error("{what}: {source}")]
    Json {
        /// The attempt, such as "cannot read the configuration of the model".
        what: String,
        /// The error of the parser.
        source: serde_json::Error,
    },

    /// An operation of libtorch failed.
    #[error("libtorch: {}", first_line(.0))]
    Torch(#[from] tch::TchError),
}

impl Error {
    /// Returns a function that adds the attempt and the path to an I/O error, for `map_err`.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// Creates an [`Error::Malformed`].
    pub fn malformed(path: impl AsRef<Path>, what: impl Into<String>) -> Self {
        Self::Malformed { path: path.as_ref().to_owned(), what: what.into() }
    }

    /// Creates an [`Error::Invalid`].
    pub fn invalid(name: impl Into<String>, value: impl ToString, expected: impl Into<String>) -> Self {
        Self::Invalid { name: name.into(), value: value.to_string(), expected: expected.into() }
    }

    /// Creates an [`Error::Shape`].
    pub fn shape(op: impl Into<String>, expected: impl Into<String>, got: &[i64]) -> Self {
        Self::Shape { op: op.into(), expected: expected.into(), got: got.to_vec() }
    }
}

/// Returns the first line of a message of libtorch; a C++ stack trace follows it.
fn first_line(error: &tch::TchError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
