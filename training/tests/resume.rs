//! A run that is killed at any moment and resumed ends as one that was not, to the bit.
#![cfg(unix)]

mod common;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::Logs;
use tch::Tensor;
use text_recognizer::rng::Stream;
use training::trainer::checkpoint::{read, read_with_state};

/// Weights, optimiser state and best weights of a finished run, and the bytes of its history.
#[derive(Debug, PartialEq)]
struct Outcome {
    weights: Vec<(String, Tensor)>,
    state: Vec<(String, Tensor)>,
    best: Vec<(String, Tensor)>,
    history: String,
}

fn outcome(folder: &Path) -> Outcome {
    let checkpoints = folder.join("checkpoints");
    let (last, state) = read_with_state(&checkpoints.join("last.safetensors")).unwrap();
    Outcome {
        weights: last.tensors,
        state: state.tensors,
        best: read(&checkpoints.join("best.safetensors")).unwrap().tensors,
        history: fs::read_to_string(folder.join("metrics.jsonl")).unwrap(),
    }
}

fn start(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn only_run(logs: &Logs, name: &str) -> PathBuf {
    logs.path().join(name).join("version_0")
}

/// Waits until the run has saved some more, then a little of what a save takes, so that kills fall into saves too.
fn wait_for_saves(child: &mut Child, checkpoint: &Path, saves: u64, microseconds: u64) {
    let stamp = || fs::metadata(checkpoint).and_then(|meta| meta.modified()).ok();
    let (mut seen, mut before) = (0, stamp());
    while seen < saves && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_micros(200));
        let now = stamp();
        seen += u64::from(now != before);
        before = now;
    }
    let until = Instant::now() + Duration::from_micros(microseconds);
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

/// Kills a run again and again, resumes it until it is done, and compares it with one that was left alone.
fn survives(name: &str, args: &[&str], kills: u64) {
    let (left_alone, killed) = (Logs::new(), Logs::new());
    left_alone.succeed(args);
    let folder = only_run(&killed, name);
    let last = folder.join("checkpoints/last.safetensors");
    let mut random = Stream::new(7);
    let mut done = 0;
    let mut child = start(killed.command(args));
    while done < kills {
        wait_for_saves(&mut child, &last, 1 + random.below(4), random.below(6000));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        if status.signal().is_none() {
            break;
        }
        done += 1;
        child = start(if last.exists() {
            killed.command(&["--resume", folder.to_str().unwrap()])
        } else {
            // Killed before its first checkpoint, a run begins anew.
            fs::remove_dir_all(&folder).unwrap();
            killed.command(args)
        });
    }
    assert!(child.wait().unwrap().success(), "the last continuation of {name} failed");
    assert!(done >= kills * 3 / 4, "{name} ended after {done} kills: make the run longer");
    assert_eq!(outcome(&only_run(&left_alone, name)), outcome(&folder), "{name} after {done} kills");
    println!("{name}: {done} kills");
}

#[test]
fn mlp_with_dropout_and_adam() {
    let args = [
        "--model=mlp",
        "--fc1=16",
        "--fc2=8",
        "--max_epochs=4",
        "--limit_train_batches=40",
        "--limit_val_batches=1",
        "--limit_test_batches=1",
        "--log_every_n_steps=7",
        "--checkpoint_every_n_steps=2",
        "--save_top_k=2",
        "--ema_decay=0.9",
        "--threads=1",
    ];
    survives("mlp-mnist", &args, 20);
}

#[test]
fn lstm_with_sgd_and_a_schedule() {
    let args = [
        "--model=lstm",
        "--units=8",
        "--dropout=0.2",
        "--max_epochs=12",
        "--lr_schedule=plateau",
        "--lr_patience=1",
        "--early_stop_patience=50",
        "--log_every_n_steps=7",
        "--checkpoint_every_n_steps=3",
        "--accumulate_grad_batches=2",
    ];
    survives("lstm-series", &args, 15);
}

#[test]
fn a_polite_end_saves_says_how_to_go_on_and_can_be_gone_on_from() {
    let args =
        ["--model=dnn", "--max_epochs=3000", "--log_every_n_steps=1000", "--check_val_every_n_epoch=50"];
    for (signal, code) in [("-TERM", 143), ("-INT", 130)] {
        let logs = Logs::new();
        let folder = only_run(&logs, "dnn-series");
        let mut command = logs.command(&args);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        while !folder.join("metrics.jsonl").exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let kill =
            |signal: &str| Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        // A checkpoint in between, without an end.
        assert!(kill("-USR1").success());
        while !folder.join("checkpoints/last.safetensors").exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(kill(signal).success());
        let output = child.wait_with_output().unwrap();
        let said = common::stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(&format!("--resume {}", folder.display())), "{said}");
        let resumed = logs.run(&["--resume", folder.to_str().unwrap(), "--max_epochs", "1"]);
        assert!(resumed.status.success(), "{}", common::stderr(&resumed));
    }
}
