//! Folders of runs that are unusual: without locks, deleted during the run, with damaged files, from someone else.
#![cfg(unix)]

use std::fs;
use std::process::Command;

use crate::lab::{Lab, Trained, assert_error, binary, files, resume};
use crate::signals::{Ended, Running};
use crate::skips::skip;

/// A library that makes every `flock` fail with the error of the variable LOCK_ERROR.
const NO_LOCKS: &str = "#include <errno.h>\n#include <stdlib.h>\n\
                        int flock(int file, int how) { errno = atoi(getenv(\"LOCK_ERROR\")); return -1; }\n";

#[test]
#[cfg(target_os = "linux")]
fn run_on_a_file_system_without_locks_warns_and_trains() {
    let lab = Lab::new();
    let (source, library) = (lab.path("locks.c"), lab.path("locks.so"));
    fs::write(&source, NO_LOCKS).unwrap();
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    if !compiled.is_ok_and(|status| status.success()) {
        return skip("there is no C compiler cc");
    }
    let run = |error: i32| {
        let mut command =
            binary(&["--model=linear", "--max_epochs=1", "--device=cpu", "--json", "--log_dir"]);
        command.arg(lab.logs()).env("LD_PRELOAD", &library).env("LOCK_ERROR", error.to_string());
        command
    };
    for error in [libc::ENOLCK, libc::ENOSYS, libc::EOPNOTSUPP] {
        let trained = Trained::of(&mut run(error));
        assert!(trained.stderr.contains("warning: cannot lock"), "{}", trained.stderr);
        assert!(trained.stderr.contains("no other process writes"), "{}", trained.stderr);
    }
    let before = files(&lab.logs().join("linear-series"));
    assert_error("EIO", &run(libc::EIO).output().unwrap(), 1, &["cannot lock", ".lock"]);
    assert_eq!(files(&lab.logs().join("linear-series")), before, "a run that could not start left a folder");
}

#[test]
fn folder_that_is_deleted_during_the_run_is_noticed_at_the_next_save() {
    let lab = Lab::new();
    let mut command = lab.small(&["--max_epochs", "1000000", "--early_stop_patience", "0"]);
    let mut run = Running::start(&mut command);
    let folder = lab.logs().join("mlp-mnist/version_0");
    run.wait_for(&folder.join("checkpoints/last.safetensors"));
    // A removed lock is made again.
    fs::remove_file(folder.join(".lock")).unwrap();
    run.wait_for(&folder.join(".lock"));
    let output = resume(&folder, &[]).output().unwrap();
    assert_error("locked again", &output, 1, &["another process is writing"]);
    while folder.exists() {
        // A save in progress may write into the folder while it is removed.
        let _ = fs::remove_dir_all(&folder);
    }
    let Ended { code, stderr: messages, .. } = run.end();
    assert_eq!(code, Some(1), "{messages}");
    assert!(messages.contains("was removed during the run; created it again"), "{messages}");
    assert!(messages.contains("the folder was deleted during the run"), "{messages}");
    assert!(!folder.exists());
}

#[test]
fn damaged_lines_of_metrics_do_not_hide_the_results() {
    let lab = Lab::new();
    let run = lab.train(&[]);
    let path = run.folder.join("metrics.jsonl");
    for damaged in
        [run.metrics_text().replacen("\"epoch\"", "\"epoxx\"", 1), run.metrics_text().replacen('{', "[", 1)]
    {
        fs::write(&path, damaged).unwrap();
        let again = run.resumed(&[]);
        assert_eq!(again.json["metrics"], run.json["metrics"]);
        let warning = format!("{}: left 1 line out of the plot, the first is line 1", path.display());
        assert!(again.stderr.contains(&warning), "{}", again.stderr);
    }
}

/// A run from someone else whose metrics are a link to a file of this user.
#[test]
fn link_in_a_run_from_someone_else_changes_no_file_outside_of_it() {
    let lab = Lab::new();
    let run = lab.train(&[]);
    let (outside, metrics) = (lab.path("precious"), run.folder.join("metrics.jsonl"));
    fs::copy(&metrics, &outside).unwrap();
    fs::write(&outside, [fs::read(&outside).unwrap(), b"precious".to_vec()].concat()).unwrap();
    let before = fs::read(&outside).unwrap();
    fs::remove_file(&metrics).unwrap();
    std::os::unix::fs::symlink(&outside, &metrics).unwrap();
    let output = resume(&run.folder, &["--max_epochs", "3"]).output().unwrap();
    assert_error("link", &output, 1, &["metrics.jsonl is a symbolic link to a place outside of the folder"]);
    assert_eq!(fs::read(&outside).unwrap(), before);
}

/// A pipe has no end that a process could wait for.
#[test]
fn pipe_in_a_run_is_an_error_at_once() {
    let lab = Lab::new();
    let run = lab.train(&[]);
    for name in [".lock", "metrics.jsonl", "config.json", "checkpoints/last.safetensors"] {
        let path = run.folder.join(name);
        let content = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let output = resume(&run.folder, &["--max_epochs", "3"]).output().unwrap();
        assert_error(name, &output, 1, &["cannot"]);
        fs::remove_file(&path).unwrap();
        fs::write(&path, content).unwrap();
    }
    run.resumed(&["--max_epochs", "3", "--quiet"]);
}

#[test]
fn missing_metrics_do_not_prevent_a_resume() {
    let lab = Lab::new();
    let run = lab.train(&[]);
    fs::remove_file(run.folder.join("metrics.jsonl")).unwrap();
    let longer = run.resumed(&["--max_epochs", "3"]);
    assert!(longer.stderr.contains("metrics before the resume are missing"), "{}", longer.stderr);
    assert_eq!(longer.column("val_loss").len(), 1);
    assert_eq!(longer.json["epochs"], 3);
}
