//! Runs the real binary on a little of the real data, and looks at what it leaves.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use safetensors::SafeTensors;
use serde_json::Value;
use tempfile::TempDir;

/// A network of 25,000 weights and twenty batches an epoch: a run takes half a second, most of it the process's start.
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

    /// A place for the test's own files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The `--log_dir` of [`Lab::small`].
    pub fn logs(&self) -> PathBuf {
        self.path("logs")
    }

    /// The binary with these flags and, where they do not say otherwise, those of [`SMALL`].
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

    /// Trains a small run to its end.
    pub fn train(&self, args: &[&str]) -> Trained {
        Trained::of(self.small(args).arg("--json"))
    }
}

/// The binary as a person starts it in the workspace.
pub fn binary(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_run_experiment"));
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    command.args(args).current_dir(workspace).stdin(Stdio::null());
    command
}

/// Continues the run in `folder`.
pub fn resume(folder: &Path, args: &[&str]) -> Command {
    let mut command = binary(args);
    command.arg("--resume").arg(folder);
    command
}

/// A run that ended well.
pub struct Trained {
    /// What `--json` printed.
    pub json: Value,
    /// The run's folder.
    pub folder: PathBuf,
    /// What it told a person.
    pub stderr: String,
}

impl Trained {
    /// Runs `command`, which must have `--json`, and expects it to end well.
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let stderr = text(&output.stderr);
        assert!(output.status.success(), "{command:?}\n{stderr}");
        let stdout = text(&output.stdout);
        let json: Value = serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}: {stdout}"));
        let folder = json["folder"].as_str().unwrap_or_default().into();
        Self { json, folder, stderr }
    }

    /// A number of the results.
    pub fn metric(&self, name: &str) -> f64 {
        self.json["metrics"][name].as_f64().unwrap_or_else(|| panic!("no {name} in {}", self.json))
    }

    /// `metrics.jsonl`, byte for byte.
    pub fn metrics_text(&self) -> String {
        fs::read_to_string(self.folder.join("metrics.jsonl")).unwrap()
    }

    /// The lines of `metrics.jsonl`.
    pub fn metrics(&self) -> Vec<Value> {
        self.metrics_text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// A column of `metrics.jsonl`, without the lines that have none.
    pub fn column(&self, name: &str) -> Vec<f64> {
        self.metrics().iter().filter_map(|line| line[name].as_f64()).collect()
    }

    /// The tensors of the best checkpoint.
    pub fn best(&self) -> Tensors {
        tensors(&self.folder.join("checkpoints/best.safetensors"))
    }

    /// The tensors of the last checkpoint.
    pub fn last(&self) -> Tensors {
        tensors(&self.folder.join("checkpoints/last.safetensors"))
    }
}

/// Name, kind, shape and bytes of each tensor.
pub type Tensors = BTreeMap<String, (String, Vec<usize>, Vec<u8>)>;

/// The tensors of a file, to be compared bit for bit.
pub fn tensors(path: &Path) -> Tensors {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let each = file.tensors().into_iter().map(|(name, view)| {
        (name, (format!("{:?}", view.dtype()), view.shape().to_vec(), view.data().to_vec()))
    });
    each.collect()
}

/// The names in a folder, sorted; empty where there is no folder.
pub fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Expects `output` to be a clean refusal: that exit code, nothing on standard output, no panic, and these parts of a
/// message.
pub fn assert_refused(what: &str, output: &Output, code: i32, parts: &[&str]) {
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{what}: {stderr}");
    assert!(!stderr.contains("panicked"), "{what}: {stderr}");
    assert_eq!(stdout, "", "{what}");
    for part in parts {
        assert!(stderr.contains(part), "{what}: no {part:?} in {stderr}");
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Prints past the test harness, which hides what a passing test says.
pub fn report(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
