//! What Python's tools make of a run: PyTorch of its checkpoint, TensorBoard and pandas of its metrics. They run where the
//! python that the variable `PYTHON` names (else `python3`) has the packages.

mod common;

use std::path::Path;
use std::process::Command;

use common::{Logs, stderr};

fn python() -> Command {
    let mut command = Command::new(std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into()));
    // Not the module that answers where libtorch is.
    command.env_remove("PYTHONPATH");
    command
}

/// Runs `SCRIPT RUN_FOLDER ...` if `packages` can be imported.
fn check(script: &str, packages: &str, args: &[&str]) {
    let importable = python().args(["-c", &format!("import {packages}")]).output();
    if !importable.is_ok_and(|output| output.status.success()) {
        println!("skipped: there is no python with {packages}");
        return;
    }
    let logs = Logs::new();
    let run = logs.succeed(&[
        "--fc1=32",
        "--fc2=16",
        "--max_epochs=2",
        "--limit_train_batches=50",
        "--log_every_n_steps=5",
    ]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(script);
    let output = python().arg(script).arg(run).args(args).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    println!("{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn pytorch_loads_the_checkpoint_and_measures_the_same_accuracy() {
    let raw = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/raw/mnist");
    check("load_checkpoint.py", "torch, safetensors", &[raw]);
}

#[test]
fn tensorboard_and_pandas_read_the_metrics() {
    check("read_events.py", "tensorboard, pandas", &[]);
}
