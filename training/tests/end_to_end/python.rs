//! Reads the files of a run with Python tools: TensorBoard, pandas and PyTorch. The interpreter is that of the variable PYTHON,
//! or python3. If it lacks a package, the tests print a line and pass.

use std::path::Path;
use std::process::Command;

use crate::lab::{Lab, Trained, report, resume, text};

/// Runs a script of `tests/python`. Its exit code is 77 if a package is missing.
fn python(script: &str, args: &[&Path]) {
    let interpreter = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(script);
    // The PYTHONPATH of Cargo has a module `torch` that is not PyTorch.
    let Ok(output) = Command::new(&interpreter).arg(path).args(args).env_remove("PYTHONPATH").output() else {
        return report(&format!("skipped: {script}: found no {interpreter}"));
    };
    let stdout = text(&output.stdout);
    assert!(matches!(output.status.code(), Some(0 | 77)), "{script}: {stdout}{}", text(&output.stderr));
    report(&format!("{script}: {}", stdout.trim_end()));
}

#[test]
fn metrics_of_a_run_are_the_same_in_tensorboard_and_pandas() {
    let lab = Lab::new();
    let run =
        lab.train(&["--log_every_n_steps", "7", "--lr_schedule", "cosine", "--check_val_every_n_epoch", "2"]);
    python("read_events.py", &[&run.folder]);
}

#[test]
fn metrics_of_a_resumed_run_have_no_duplicates_in_tensorboard() {
    let lab = Lab::new();
    let logs = lab.logs();
    // The kill comes at any time after the first checkpoint. The resumed run logs the steps after its checkpoint again.
    let explode = ["--log_every_n_steps", "3", "--checkpoint_every_n_steps", "10", "--max_epochs", "4"];
    let mut child = lab
        .small(&explode)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let folder = logs.join("mlp-mnist/version_0");
    while !folder.join("checkpoints/last.safetensors").exists() {
        std::thread::sleep(std::time::Duration::from_micros(100));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let run = Trained::of(resume(&folder, &["--json"]).arg("--quiet"));
    python("read_events.py", &[&run.folder]);
}

#[test]
fn weights_in_pytorch_have_the_same_test_accuracy() {
    let lab = Lab::new();
    let run = lab.train(&["--limit_test_batches", "1.0", "--limit_train_batches", "100"]);
    let mnist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/raw/mnist");
    python("load_checkpoint.py", &[&run.folder, &mnist]);
}
