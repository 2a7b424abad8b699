//! What can go wrong, said so that a person knows what to do about it.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every error names the thing it is about, what was found there, and what was expected.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on a path.
    #[error("{action} {path}: {source}", path = path.display())]
    Io {
        /// What was attempted, as in "reading".
        action: &'static str,
        /// The path it was attempted on.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },

    /// A file is there but is not what its name promises.
    #[error("{path}: {what}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong in it, where, and what was expected.
        what: String,
    },

    /// A file's content is not the published one.
    #[error(
        "{path}: SHA-256 is {got}, expected {expected}; the file is damaged or not the one published: delete it and run again",
        path = path.display()
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The published digest, in hexadecimal.
        expected: String,
        /// The digest of what is there.
        got: String,
    },

    /// No mirror delivered a file.
    #[error(
        "downloading {name} failed:{attempts}\nPut the file at {path} by hand, or try again later",
        attempts = attempts.iter().map(|line| format!("\n  {line}")).collect::<String>(),
        path = path.display()
    )]
    Download {
        /// The file's name.
        name: String,
        /// Where it was to be stored.
        path: PathBuf,
        /// One line for each address that was tried.
        attempts: Vec<String>,
    },

    /// A data set is in none of the folders where it is looked for.
    #[error("{0}")]
    NotFound(String),

    /// Two shapes that must agree do not.
    #[error("{op}: expected shape {expected}, got {got:?}")]
    Shape {
        /// The operation or layer.
        op: String,
        /// The expected shape, names for free dimensions.
        expected: String,
        /// The shape that came.
        got: Vec<i64>,
    },

    /// A value outside of what is possible.
    #[error("{name} is {value}: expected {expected}")]
    Invalid {
        /// The parameter's name, as the user knows it.
        name: String,
        /// The refused value.
        value: String,
        /// What would have been accepted.
        expected: String,
    },

    /// A configuration that cannot be parsed.
    #[error("{what}: {source}")]
    Json {
        /// What was being read or written.
        what: String,
        /// The parser's answer.
        source: serde_json::Error,
    },

    /// libtorch refused an operation.
    #[error("libtorch: {}", first_line(.0))]
    Torch(#[from] tch::TchError),
}

impl Error {
    /// Wraps an I/O error with what was attempted, for use with `map_err`.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// A file whose content is wrong.
    pub fn malformed(path: impl AsRef<Path>, what: impl Into<String>) -> Self {
        Self::Malformed { path: path.as_ref().to_owned(), what: what.into() }
    }

    /// A value that was refused.
    pub fn invalid(name: impl Into<String>, value: impl ToString, expected: impl Into<String>) -> Self {
        Self::Invalid { name: name.into(), value: value.to_string(), expected: expected.into() }
    }

    /// A shape that does not match.
    pub fn shape(op: impl Into<String>, expected: impl Into<String>, got: &[i64]) -> Self {
        Self::Shape { op: op.into(), expected: expected.into(), got: got.to_vec() }
    }
}

/// libtorch appends a C++ stack trace to its messages; only the first line speaks to a user.
fn first_line(error: &tch::TchError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
