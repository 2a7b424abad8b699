//! What a run leaves, read by the Python tools that it is written for. The interpreter is that of the variable PYTHON,
//! else python3; where it lacks the packages the tests say so and pass.

use std::path::Path;
use std::process::Command;

use crate::lab::{Lab, Trained, report, resume, text};

/// Runs a script of `tests/python`, which ends with code 77 where a package is missing.
fn python(script: &str, args: &[&Path]) {
    let interpreter = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(script);
    // Cargo's own PYTHONPATH has a module `torch` that is no PyTorch.
    let Ok(output) = Command::new(&interpreter).arg(path).args(args).env_remove("PYTHONPATH").output() else {
        return report(&format!("skipped: {script}: there is no {interpreter}"));
    };
    let said = text(&output.stdout);
    assert!(matches!(output.status.code(), Some(0 | 77)), "{script}: {said}{}", text(&output.stderr));
    report(&format!("{script}: {}", said.trim_end()));
}

#[test]
fn tensorboard_and_pandas_read_the_metrics() {
    let lab = Lab::new();
    let run =
        lab.train(&["--log_every_n_steps", "7", "--lr_schedule", "cosine", "--check_val_every_n_epoch", "2"]);
    python("read_events.py", &[&run.folder]);
}

#[test]
fn tensorboard_reads_a_resumed_run_without_doubles() {
    let lab = Lab::new();
    let logs = lab.logs();
    // The first process stops at a time that is no checkpoint's, as if killed: what it logged last is logged again.
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
fn pytorch_loads_the_weights() {
    let lab = Lab::new();
    let run = lab.train(&["--limit_test_batches", "1.0", "--limit_train_batches", "100"]);
    let mnist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/raw/mnist");
    python("load_checkpoint.py", &[&run.folder, &mnist]);
}
