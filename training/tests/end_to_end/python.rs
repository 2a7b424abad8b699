//! The files of a run, read by the Python tools that they are written for.
//!
//! The variable PYTHON names the interpreter (default: python3), and TEST_PYTHONPATH a folder with packages. Tests whose packages
//! are missing are skipped; `tests/python/requirements.txt` lists them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::lab::{Lab, Trained, files, report, resume, text};
use crate::skips::skip_without_package;

/// Runs a script of `tests/python`, which ends with code 77 if a package is missing.
fn python(script: &str, args: &[&dyn AsRef<OsStr>]) {
    let interpreter = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(script);
    let mut command = Command::new(&interpreter);
    // Cargo's library path has our libtorch, not PyTorch's.
    command.arg(path).args(args.iter().map(|arg| arg.as_ref())).env_remove("LD_LIBRARY_PATH");
    if let Some(packages) = std::env::var_os("TEST_PYTHONPATH") {
        command.env("PYTHONPATH", packages);
    }
    let Ok(output) = command.output() else {
        return skip_without_package(&format!("there is no {interpreter}"));
    };
    let stdout = text(&output.stdout);
    match output.status.code() {
        Some(0) => report(&format!("{script}: {}", stdout.trim_end())),
        Some(77) => skip_without_package(&format!("{interpreter} has {}", stdout.trim_end())),
        _ => panic!("{script}: {stdout}{}", text(&output.stderr)),
    }
}

#[test]
fn metrics_of_a_run_are_the_same_in_tensorboard_and_pandas() {
    let lab = Lab::new();
    let run =
        lab.train(&["--log_every_n_steps", "7", "--lr_schedule", "cosine", "--check_val_every_n_epoch", "2"]);
    python("read_events.py", &[&run.folder]);
}

/// Starts a run and kills it after its first checkpoint, at any time.
fn killed(lab: &Lab, args: &[&str]) -> PathBuf {
    let mut child = lab.small(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let folder = lab.logs().join("mlp-mnist/version_0");
    while !folder.join("checkpoints/last.safetensors").exists() {
        std::thread::sleep(std::time::Duration::from_micros(100));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    folder
}

/// The resumed run logs the steps after its checkpoint again. The clock was later at the first start, or the host another.
#[test]
fn metrics_of_a_resumed_run_are_the_same_in_tensorboard_and_pandas() {
    let lab = Lab::new();
    let args = ["--log_every_n_steps", "3", "--checkpoint_every_n_steps", "10", "--max_epochs", "4"];
    let folder = killed(&lab, &args);
    let events = files(&folder).into_iter().find(|name| name.contains("tfevents")).unwrap();
    fs::rename(folder.join(events), folder.join("events.out.tfevents.2999999999.999999999.7")).unwrap();
    let run = Trained::of(resume(&folder, &["--json"]).arg("--quiet"));
    python("read_events.py", &[&run.folder]);
    let longer = Trained::of(resume(&folder, &["--json", "--max_epochs", "6"]).arg("--quiet"));
    python("read_events.py", &[&longer.folder]);
}

/// A run that is killed has no status; one that diverges has failed; and both succeed after a resume.
#[test]
fn status_in_tensorboard_is_that_of_the_run() {
    let lab = Lab::new();
    let folder = killed(&lab, &["--checkpoint_every_n_steps", "10", "--max_epochs", "4"]);
    // Cuts what the killed run logged after its checkpoint.
    Trained::of(resume(&folder, &["--json"]).arg("--quiet"));
    python("read_events.py", &[&folder, &"success"]);

    let lab = Lab::new();
    let diverges = ["--optimizer", "sgd", "--lr", "1e30", "--dropout", "0", "--log_every_n_steps", "1"];
    assert!(!lab.small(&diverges).output().unwrap().status.success());
    let folder = lab.logs().join("mlp-mnist/version_0");
    python("read_events.py", &[&folder, &"failure"]);
    Trained::of(resume(&folder, &["--json", "--on_nonfinite", "skip"]).arg("--quiet"));
    python("read_events.py", &[&folder, &"success"]);
}

#[test]
fn weights_in_pytorch_have_the_same_test_accuracy() {
    let lab = Lab::new();
    let run = lab.train(&["--limit_test_batches", "1.0", "--limit_train_batches", "100"]);
    let mnist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/raw/mnist");
    python("load_checkpoint.py", &[&run.folder, &mnist]);
}
