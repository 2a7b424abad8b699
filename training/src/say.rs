//! What is said to a person or a shell, by a program that outlives its listeners: `2>&1 | head -1` or a closed terminal
//! ends no run.

use std::fmt::Display;
use std::io::{ErrorKind, Write, stderr, stdout};

use anyhow::{Context, Result};

/// A line on standard error, lost where nobody reads it.
pub fn note(line: impl Display) {
    let _ = writeln!(stderr(), "{line}");
}

/// A line on standard output.
///
/// # Errors
/// When it cannot be written, unless its reader has gone, having read enough.
pub fn result(line: impl Display) -> Result<()> {
    let mut out = stdout();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done.context("writing to standard output"),
    }
}
