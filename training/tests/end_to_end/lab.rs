//! Runs the binary on a small part of the real data, and reads its output files.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use safetensors::SafeTensors;
use serde_json::Value;
use tch::Tensor;
use tempfile::TempDir;
use training::experiment::registry::{MODELS, ModelEntry, ModelKind};
use training::tasks::Forecasting;

/// Flags for a network of 25,000 weights with 20 batches per epoch. A run takes 0.5 s, most of it the start of the process.
pub const SMALL: [(&str, &str); 9] = [
    ("--fc1", "32"),
    ("--fc2", "16"),
    ("--limit_train_batches", "20"),
    ("--limit_val_batches", "2"),
    ("--limit_test_batches", "2"),
    ("--num_sanity_val_steps", "0"),
    ("--max_epochs", "2"),
    ("--threads", "1"),
    ("--device", "cpu"),
];

/// A folder for the runs of one test.
pub struct Lab {
    folder: TempDir,
}

impl Lab {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// Returns the path of a file of the test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the `--log_dir` of [`Lab::small`].
    pub fn logs(&self) -> PathBuf {
        self.path("logs")
    }

    /// Returns the command with these flags, and those of [`SMALL`] that `args` does not have.
    pub fn small(&self, args: &[&str]) -> Command {
        let mut command = binary(args);
        let logs = self.logs();
        let logs = [("--log_dir", logs.to_str().unwrap())];
        for (flag, value) in SMALL.iter().chain(&logs) {
            if !args.contains(flag) {
                command.args([flag, value]);
            }
        }
        command
    }

    /// Trains a small run to its end, and returns it.
    pub fn train(&self, args: &[&str]) -> Trained {
        Trained::of(self.small(args).arg("--json"))
    }
}

/// Returns the command that starts the binary in the workspace.
pub fn binary(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_run_experiment"));
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    command.args(args).current_dir(workspace).stdin(Stdio::null());
    command
}

/// Returns the command that resumes the run in `folder`.
pub fn resume(folder: &Path, args: &[&str]) -> Command {
    let mut command = binary(args);
    command.arg("--resume").arg(folder);
    command
}

/// Returns the names of all networks that forecast.
pub fn forecasting_networks() -> impl Iterator<Item = &'static str> {
    let is_network =
        |entry: &&ModelEntry| entry.task == Forecasting::NAME && matches!(entry.kind, ModelKind::Network(_));
    MODELS.iter().filter(is_network).map(|entry| entry.name)
}

/// A successful run.
pub struct Trained {
    /// The output of `--json`.
    pub json: Value,
    /// The run's folder.
    pub folder: PathBuf,
    /// The text on standard error.
    pub stderr: String,
}

impl Trained {
    /// Runs `command`, which must have `--json`, and checks that it succeeds.
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let stderr = text(&output.stderr);
        assert!(output.status.success(), "{command:?}\n{stderr}");
        let stdout = text(&output.stdout);
        let json: Value = serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}: {stdout}"));
        let folder = json["folder"].as_str().unwrap_or_default().into();
        Self { json, folder, stderr }
    }

    /// Resumes the run with these flags.
    pub fn resumed(&self, args: &[&str]) -> Self {
        Self::of(resume(&self.folder, args).arg("--json"))
    }

    /// Returns a metric of the results.
    pub fn metric(&self, name: &str) -> f64 {
        self.json["metrics"][name].as_f64().unwrap_or_else(|| panic!("no {name} in {}", self.json))
    }

    /// Returns the text of `metrics.jsonl`.
    pub fn metrics_text(&self) -> String {
        fs::read_to_string(self.folder.join("metrics.jsonl")).unwrap()
    }

    /// Returns the parsed lines of `metrics.jsonl`.
    pub fn metrics(&self) -> Vec<Value> {
        self.metrics_text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Returns a field of `metrics.jsonl`, of the lines that have it.
    pub fn column(&self, name: &str) -> Vec<f64> {
        self.metrics().iter().filter_map(|line| line[name].as_f64()).collect()
    }

    /// Returns the tensors of the best checkpoint.
    pub fn best(&self) -> Tensors {
        tensors(&self.folder.join("checkpoints/best.safetensors"))
    }

    /// Returns the tensors of the last checkpoint.
    pub fn last(&self) -> Tensors {
        tensors(&self.folder.join("checkpoints/last.safetensors"))
    }
}

/// The dtype, the shape and the bytes of each tensor, by name.
pub type Tensors = BTreeMap<String, (String, Vec<usize>, Vec<u8>)>;

/// Returns the tensors of a file, for comparisons bit by bit.
pub fn tensors(path: &Path) -> Tensors {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let each = file.tensors().into_iter().map(|(name, view)| {
        (name, (format!("{:?}", view.dtype()), view.shape().to_vec(), view.data().to_vec()))
    });
    each.collect()
}

/// Returns the sorted names in a folder; none if the folder does not exist.
pub fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Checks that `output` is an error with this exit code and these parts of the message, without a panic and without text on
/// standard output.
pub fn assert_error(label: &str, output: &Output, code: i32, parts: &[&str]) {
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{label}: {stderr}");
    assert!(!stderr.contains("panicked"), "{label}: {stderr}");
    assert_eq!(stdout, "", "{label}");
    for part in parts {
        assert!(stderr.contains(part), "{label}: no {part:?} in {stderr}");
    }
}

/// Checks `|got - expected| <= 1e-5 max(1, max |expected|)` for each element.
pub fn assert_close(got: &Tensor, expected: &Tensor, label: &str) {
    assert_eq!(got.size(), expected.size(), "{label}");
    let largest = expected.abs().max().double_value(&[]);
    let error = (got - expected).abs().max().double_value(&[]);
    assert!(
        error <= 1e-5 * largest.max(1.0),
        "{label}: the error is {error:e}, the largest value {largest:e}"
    );
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Prints a line directly to standard error, because the test harness hides the output of a passing test.
pub fn report(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Copies a folder with all in it.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for name in files(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}
