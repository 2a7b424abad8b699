//! A run that a signal stopped and that is resumed ends like an uninterrupted run: with the same bits and the same history.
#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::lab::{Lab, Tensors, Trained, binary, files, resume, tensors};
use serde_json::Value;
use text_recognizer::checkpoint;

/// All results of a run.
#[derive(PartialEq)]
pub struct Outcome {
    weights: Tensors,
    /// The tensors of the optimizer and of the averaged weights.
    state: Tensors,
    /// The position, and the state of early stopping, of the schedule and of the checkpoints.
    position: Value,
    /// The other checkpoints.
    kept: Vec<(String, Tensors)>,
    history: String,
    results: Value,
}

impl Outcome {
    pub fn of(folder: &Path) -> Self {
        let checkpoints = folder.join("checkpoints");
        let names = files(&checkpoints);
        let (states, kept): (Vec<_>, Vec<_>) = names
            .into_iter()
            .filter(|name| name != "last.safetensors")
            .partition(|name| name.starts_with("last.state-"));
        assert_eq!(states.len(), 1, "expected one state next to the last checkpoint, found {states:?}");
        let state = checkpoints.join(&states[0]);
        let results: Value =
            serde_json::from_str(&fs::read_to_string(folder.join("results.json")).unwrap()).unwrap();
        let mut position = checkpoint::read(&state).unwrap().metadata;
        // The duration of the run, and the name of the event file, which has the time.
        assert!(position["elapsed"].take().is_number() && position["loggers"][1].take()["file"].is_string());
        Self {
            weights: tensors(&checkpoints.join("last.safetensors")),
            position,
            state: tensors(&state),
            kept: kept.into_iter().map(|name| (name.clone(), tensors(&checkpoints.join(name)))).collect(),
            history: fs::read_to_string(folder.join("metrics.jsonl")).unwrap(),
            results: results["metrics"].clone(),
        }
    }

    pub fn assert_is(&self, expected: &Self, label: &str) {
        assert_eq!(self.history, expected.history, "{label}: metrics.jsonl");
        assert_eq!(self.position, expected.position, "{label}: position");
        assert!(self.weights == expected.weights, "{label}: weights differ");
        assert!(self.state == expected.state, "{label}: optimizer states differ");
        let names = |outcome: &Self| outcome.kept.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(self), names(expected), "{label}: kept checkpoints");
        assert!(self.kept == expected.kept, "{label}: kept checkpoints differ");
        assert_eq!(self.results, expected.results, "{label}: results");
    }
}

/// Returns the folder of the only run in `logs`.
pub fn only_run(logs: &Path) -> PathBuf {
    let family = files(logs).pop().expect("a run's folder");
    logs.join(family).join("version_0")
}

/// Returns the number of batches at the newest state in `folder`. This save may still be in progress.
pub fn batches(folder: &Path) -> u64 {
    let names = files(&folder.join("checkpoints"));
    let numbers = names
        .iter()
        .filter_map(|name| name.strip_prefix("last.state-")?.strip_suffix(".safetensors")?.parse().ok());
    numbers.max().unwrap_or(0)
}

/// Waits until the child has saved a state after `count` batches, or has ended.
pub fn wait_for_batches(child: &mut Child, folder: &Path, count: u64) {
    while batches(folder) < count && child.try_wait().unwrap().is_none() {
        sleep(Duration::from_micros(100));
    }
}

#[test]
fn resume_of_a_finished_run_changes_nothing() {
    let lab = Lab::new();
    let cases: &[&[&str]] = &[
        &[],
        &["--max_steps", "27"],
        &["--max_epochs", "50", "--patience", "2", "--optimizer", "sgd", "--lr", "1e-30"],
        // Every loss after the first step is NaN.
        &[
            "--max_epochs",
            "50",
            "--patience",
            "2",
            "--optimizer",
            "sgd",
            "--lr",
            "1e30",
            "--on_nonfinite",
            "skip",
        ],
    ];
    for args in cases {
        let run = lab.train(args);
        let before = Outcome::of(&run.folder);
        let again = Trained::of(resume(&run.folder, &["--json"]).arg("--quiet"));
        Outcome::of(&run.folder).assert_is(&before, &format!("{args:?}"));
        assert_eq!(
            (&again.json["stop"], &again.json["steps"]),
            (&run.json["stop"], &run.json["steps"]),
            "{args:?}"
        );
    }
}

#[test]
fn resume_needs_no_load_checkpoint_file() {
    let lab = Lab::new();
    let first = lab.train(&[]);
    let initial = lab.path("initial.safetensors");
    fs::rename(first.folder.join("checkpoints/best.safetensors"), &initial).unwrap();
    let second = lab.train(&["--load_checkpoint", initial.to_str().unwrap()]);
    fs::remove_file(initial).unwrap();
    let longer = Trained::of(resume(&second.folder, &["--max_epochs", "3", "--json"]).arg("--quiet"));
    assert_eq!(longer.json["epochs"], 3);
}

/// Waits for the model summary on standard error. The run catches signals from then on.
pub fn wait_until_set_up(child: &mut Child) -> BufReader<std::process::ChildStderr> {
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains(" parameters; ") {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "the run ended before its summary");
    }
    stderr
}

/// Waits for the end of a process, and returns the signal that ended it.
pub fn signal_of(child: &mut Child) -> Option<i32> {
    child.wait().unwrap().signal()
}

pub fn send(signal: &str, child: &Child) {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success(), "kill {signal}");
}

/// SIGUSR1 saves a checkpoint. SIGTERM, SIGHUP and SIGINT stop the run after the current step, and it prints the command to
/// resume.
#[test]
fn signals_save_or_stop_the_run_and_it_resumes_to_the_same_bits() {
    let lab = Lab::new();
    // An epoch has 6,875 batches, and the run has too many epochs to end before the signals.
    let args = ["--batch_size", "8", "--limit_train_batches", "1.0", "--max_epochs", "100000"];
    let piped = |mut command: Command| command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let end = |signal: &str, number: i32, mut child: Child, mut stderr: BufReader<_>, folder: &Path| {
        send(signal, &child);
        let mut output = String::new();
        std::io::Read::read_to_string(&mut stderr, &mut output).unwrap();
        assert_eq!(signal_of(&mut child), Some(number), "{output}");
        let line = format!("{} --resume {}", env!("CARGO_BIN_EXE_run_experiment"), folder.display());
        assert!(output.lines().any(|found| found.ends_with(&line)), "no {line:?} in {output}");
        assert!(!folder.join("results.json").exists(), "a stopped run has no results");
    };

    let mut child = piped(lab.small(&args));
    let stderr = wait_until_set_up(&mut child);
    let folder = only_run(&lab.logs());
    send("-USR1", &child);
    wait_for_batches(&mut child, &folder, 1);
    let saved = batches(&folder);
    assert!(!saved.is_multiple_of(6875), "saved at batch {saved}, expected one within an epoch");
    assert!(child.try_wait().unwrap().is_none(), "the run continues after SIGUSR1");
    end("-TERM", 15, child, stderr, &folder);
    let terminated = batches(&folder);
    assert!(terminated >= saved);

    let mut interrupted = terminated;
    for (signal, number) in [("-HUP", 1), ("-INT", 2)] {
        let mut child = piped(resume(&folder, &[]));
        let stderr = wait_until_set_up(&mut child);
        end(signal, number, child, stderr, &folder);
        assert!(batches(&folder) > interrupted);
        interrupted = batches(&folder);
    }

    let budget = (interrupted + 100).to_string();
    Trained::of(resume(&folder, &["--max_steps", &budget, "--json"]).arg("--quiet"));
    let uninterrupted = lab.path("uninterrupted");
    let more = ["--max_steps", &budget, "--log_dir", uninterrupted.to_str().unwrap()];
    let uninterrupted = lab.train(&[&args[..], &more].concat());
    Outcome::of(&folder)
        .assert_is(&Outcome::of(&uninterrupted.folder), "after SIGUSR1, SIGTERM, SIGHUP and SIGINT");
}

#[test]
fn sigterm_stops_the_learning_rate_finder_and_leaves_no_folder() {
    let lab = Lab::new();
    let args = ["--lr_find", "only", "--lr_find_points", "1000000000", "--lr_find_max", "1e-7"];
    let mut command = lab.small(&args);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let folder = lab.logs().join("mlp-mnist/version_0");
    while !folder.join("config.json").exists() {
        assert!(child.try_wait().unwrap().is_none());
        sleep(Duration::from_millis(1));
    }
    send("-TERM", &child);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.signal(), output.stdout.len()), (Some(15), 0), "{stderr}");
    assert!(stderr.contains("stopped by signal 15: there is nothing to continue"), "{stderr}");
    assert!(!folder.exists(), "a run without training leaves no folder");
}

/// The step of this run takes many seconds. The second SIGINT does not wait for it.
#[test]
fn second_sigint_ends_the_run_at_once() {
    let lab = Lab::new();
    let args = ["--fc1", "8192", "--fc2", "4096", "--batch_size", "16384", "--limit_train_batches", "1"];
    let mut command = lab.small(&args);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = wait_until_set_up(&mut child);
    send("-INT", &child);
    // Two signals of one kind at the same time would count as one.
    std::thread::sleep(Duration::from_millis(100));
    send("-INT", &child);
    let mut output = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut output).unwrap();
    assert_eq!(signal_of(&mut child), Some(2), "{output}");
    assert!(!output.contains("--resume"), "the run has no checkpoint: {output}");
}

#[test]
fn resume_last_continues_the_run_with_the_latest_checkpoint() {
    let lab = Lab::new();
    lab.train(&[]);
    let second = lab.train(&["--seed", "1"]);
    let logs = lab.logs();
    let linear = ["--model", "linear", "--max_epochs", "2", "--log_dir", logs.to_str().unwrap(), "--json"];
    let third = Trained::of(&mut binary(&linear));
    let last = |args: &[&str]| {
        let always = ["--resume", "last", "--log_dir", logs.to_str().unwrap(), "--max_epochs", "3", "--json"];
        Trained::of(&mut binary(&[&always, args].concat()))
    };
    let of_any_model = last(&[]);
    assert_eq!((of_any_model.folder, of_any_model.json["epochs"].as_u64()), (third.folder, Some(3)));
    let resumed = last(&["--model", "mlp"]);
    let config = fs::read_to_string(resumed.folder.join("config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["trainer"]["budget"]["max_epochs"], 3, "config.json has the new budget");
    assert_eq!((resumed.folder, resumed.json["epochs"].as_u64()), (second.folder, Some(3)));
}
