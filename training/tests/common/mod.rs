//! Running the real binary in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A folder for runs, removed with the test.
pub struct Logs(TempDir);

impl Logs {
    /// An empty one.
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A command line whose runs go here.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_run_experiment"));
        command.args(args).arg("--log_dir").arg(self.path()).env_remove("RUST_BACKTRACE");
        command
    }

    /// Runs it to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs it, which must succeed, and gives its folder.
    pub fn succeed(&self, args: &[&str]) -> PathBuf {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?} failed: {}", stderr(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        PathBuf::from(text.lines().last().unwrap_or_default())
    }
}

/// What a process said on standard error.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
