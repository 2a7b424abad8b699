//! A run that a signal stopped and that is resumed ends like an uninterrupted run: with the same bits and the same history.
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
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
