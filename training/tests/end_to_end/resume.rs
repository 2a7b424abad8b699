//! A killed and resumed run ends like an uninterrupted run: with the same bits and the same history.
#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::lab::{Lab, Tensors, Trained, binary, files, report, resume, tensors};
use serde_json::Value;
use text_recognizer::checkpoint;
use text_recognizer::rng::Stream;

/// All results of a run.
#[derive(PartialEq)]
struct Outcome {
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
    fn of(folder: &Path) -> Self {
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
        Self {
            weights: tensors(&checkpoints.join("last.safetensors")),
            position: checkpoint::read(&state).unwrap().metadata,
            state: tensors(&state),
            kept: kept.into_iter().map(|name| (name.clone(), tensors(&checkpoints.join(name)))).collect(),
            history: fs::read_to_string(folder.join("metrics.jsonl")).unwrap(),
            results: results["metrics"].clone(),
        }
    }

    fn assert_is(&self, expected: &Self, label: &str) {
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
fn only_run(logs: &Path) -> PathBuf {
    let family = files(logs).pop().expect("a run's folder");
    logs.join(family).join("version_0")
}

fn start(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Returns the number of batches at the newest state in `folder`. This save may still be in progress.
fn batches(folder: &Path) -> u64 {
    let names = files(&folder.join("checkpoints"));
    let numbers = names
        .iter()
        .filter_map(|name| name.strip_prefix("last.state-")?.strip_suffix(".safetensors")?.parse().ok());
    numbers.max().unwrap_or(0)
}

/// Waits until the child has saved a state after `count` batches, or has ended.
fn wait_for_batches(child: &mut Child, folder: &Path, count: u64) {
    while batches(folder) < count && child.try_wait().unwrap().is_none() {
        sleep(Duration::from_micros(100));
    }
}

/// Returns whether the last checkpoint is that after `count` batches, and is complete.
fn is_saved_at(folder: &Path, count: u64) -> bool {
    let names = files(&folder.join("checkpoints"));
    let states: Vec<&String> = names.iter().filter(|name| name.starts_with("last.state-")).collect();
    states == [&format!("last.state-{count}.safetensors")]
}

/// Returns whether the kill interrupted a save.
fn is_mid_save(folder: &Path) -> bool {
    let names = files(&folder.join("checkpoints"));
    let states = names.iter().filter(|name| name.starts_with("last.state-")).count();
    states > 1 || names.iter().any(|name| name.starts_with(".tmp-"))
}

/// Kills runs at random times, `kills` times in total, resumes each run to its end, and compares it with an uninterrupted run.
/// The number of runs depends on the speed of the machine.
fn check_kills(name: &str, args: &[&str], kills: u32) {
    let mut random = Stream::new(7);
    let (mut killed, mut mid_save, mut runs) = (0, 0, 0);
    while killed < kills {
        runs += 1;
        let lab = Lab::new();
        let seed = runs.to_string();
        let in_logs = |logs: &Path, more: &[&str]| {
            let mut command = binary(args);
            command.args(["--seed", &seed, "--log_dir"]).arg(logs).args(more);
            command
        };
        let uninterrupted = Trained::of(in_logs(&lab.path("uninterrupted"), &["--json"]).arg("--quiet"));
        let logs = lab.path("killed");
        let mut child = start(in_logs(&logs, &["--checkpoint_every_n_steps", "1"]));
        while !logs.exists() || files(&logs).is_empty() {
            sleep(Duration::from_millis(1));
        }
        let folder = only_run(&logs);
        // A run without a checkpoint cannot be resumed.
        wait_for_batches(&mut child, &folder, 1);
        while !folder.join("checkpoints/last.safetensors").exists() {
            sleep(Duration::from_micros(100));
        }
        while killed < kills {
            let target = batches(&folder) + random.below(25);
            wait_for_batches(&mut child, &folder, target);
            // A step and a save each take milliseconds, so that the kill is somewhere in one of them.
            sleep(Duration::from_micros(random.below(8000)));
            child.kill().unwrap();
            if child.wait().unwrap().signal().is_none() {
                break;
            }
            killed += 1;
            mid_save += u32::from(is_mid_save(&folder));
            let every = (1 + random.below(3)).to_string();
            child = start(resume(&folder, &["--checkpoint_every_n_steps", &every]));
        }
        // Resumes the last time, without a kill.
        child.kill().unwrap();
        child.wait().unwrap();
        Trained::of(resume(&folder, &["--checkpoint_every_n_steps", "1000000", "--json"]).arg("--quiet"));
        Outcome::of(&folder)
            .assert_is(&Outcome::of(&uninterrupted.folder), &format!("{name}, {killed} kills"));
    }
    report(&format!(
        "{name}: {killed} kills, {mid_save} of them during a save, in {runs} runs: all bits equal"
    ));
}

#[test]
fn killed_mlp_with_dropout_and_adam_resumes_to_the_same_bits() {
    let args = [
        "--model=mlp",
        "--fc1=16",
        "--fc2=8",
        "--max_epochs=6",
        "--limit_train_batches=100",
        "--limit_val_batches=1",
        "--limit_test_batches=1",
        "--val_check_interval=30",
        "--log_every_n_steps=7",
        "--save_top_k=3",
        "--ema_decay=0.9",
        "--threads=1",
        "--device=cpu",
    ];
    check_kills("mlp, dropout, adam", &args, 20);
}

#[test]
fn killed_lstm_with_sgd_and_plateau_resumes_to_the_same_bits() {
    let args = [
        "--model=lstm",
        "--units=8",
        "--dropout=0.2",
        "--optimizer=sgd",
        "--momentum=0.9",
        "--lr_schedule=plateau",
        "--lr_patience=1",
        "--accumulate_grad_batches=2",
        "--early_stop_patience=50",
        "--max_epochs=25",
        "--log_every_n_steps=7",
        "--threads=1",
        "--device=cpu",
    ];
    check_kills("lstm, sgd, plateau", &args, 15);
}

/// The kill comes between the checkpoint of the last step and the end of the run.
#[test]
fn run_killed_after_its_last_step_resumes_to_the_same_results() {
    let lab = Lab::new();
    let budget = ["--max_steps", "27", "--limit_val_batches", "40"];
    let uninterrupted = lab.train(&budget);
    for at in 0..4 {
        let logs = lab.path(&format!("killed_{at}"));
        let more = ["--checkpoint_every_n_steps", "9", "--log_dir", logs.to_str().unwrap()];
        let mut child = start(lab.small(&[&budget[..], &more].concat()));
        while !logs.exists() || files(&logs).is_empty() {
            sleep(Duration::from_millis(1));
        }
        let folder = only_run(&logs);
        // The save is complete when the earlier state is removed.
        while !is_saved_at(&folder, 27) && child.try_wait().unwrap().is_none() {
            sleep(Duration::from_micros(100));
        }
        sleep(Duration::from_millis(at));
        child.kill().unwrap();
        child.wait().unwrap();
        Trained::of(resume(&folder, &["--json"]).arg("--quiet"));
        Outcome::of(&folder)
            .assert_is(&Outcome::of(&uninterrupted.folder), &format!("killed {at} ms after its last step"));
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

pub fn send(signal: &str, child: &Child) {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success(), "kill {signal}");
}

/// SIGUSR1 saves a checkpoint. SIGTERM and SIGINT stop the run after the current step, and it prints the command to resume.
#[test]
fn signals_save_or_stop_the_run_and_it_resumes_to_the_same_bits() {
    let lab = Lab::new();
    // An epoch has 6,875 batches, and the run has too many epochs to end before the signals.
    let args = ["--batch_size", "8", "--limit_train_batches", "1.0", "--max_epochs", "100000"];
    let piped = |mut command: Command| command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let end = |signal: &str, code: i32, child: Child, mut stderr: BufReader<_>, folder: &Path| {
        send(signal, &child);
        let mut output = String::new();
        std::io::Read::read_to_string(&mut stderr, &mut output).unwrap();
        assert_eq!({ child }.wait().unwrap().code(), Some(code), "{output}");
        let line = format!("{} --resume {}", env!("CARGO_BIN_EXE_run_experiment"), folder.display());
        assert!(output.lines().any(|found| found.trim() == line), "no {line:?} in {output}");
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
    end("-TERM", 143, child, stderr, &folder);
    let terminated = batches(&folder);
    assert!(terminated >= saved);

    let mut child = piped(resume(&folder, &[]));
    let stderr = wait_until_set_up(&mut child);
    end("-INT", 130, child, stderr, &folder);
    let interrupted = batches(&folder);
    assert!(interrupted > terminated);

    let budget = (interrupted + 100).to_string();
    Trained::of(resume(&folder, &["--max_steps", &budget, "--json"]).arg("--quiet"));
    let uninterrupted = lab.path("uninterrupted");
    let more = ["--max_steps", &budget, "--log_dir", uninterrupted.to_str().unwrap()];
    let uninterrupted = lab.train(&[&args[..], &more].concat());
    Outcome::of(&folder).assert_is(&Outcome::of(&uninterrupted.folder), "after SIGUSR1, SIGTERM and SIGINT");
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
    assert_eq!((output.status.code(), output.stdout.len()), (Some(143), 0), "{stderr}");
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
    assert_eq!(child.wait().unwrap().code(), Some(130), "{output}");
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
