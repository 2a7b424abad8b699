//! A run that is killed at any moment and resumed ends as one that was left alone: to the bit, with the same history.
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

/// All that a run comes to.
#[derive(PartialEq)]
struct Outcome {
    weights: Tensors,
    /// Of the optimiser, and of averaged weights.
    state: Tensors,
    /// Position, early stopping, schedule, and what was kept.
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
        assert_eq!(states.len(), 1, "one state beside the last checkpoint, not {states:?}");
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

    fn assert_is(&self, expected: &Self, what: &str) {
        assert_eq!(self.history, expected.history, "{what}: metrics.jsonl");
        assert_eq!(self.position, expected.position, "{what}: position");
        assert!(self.weights == expected.weights, "{what}: weights differ");
        assert!(self.state == expected.state, "{what}: optimiser states differ");
        let names = |outcome: &Self| outcome.kept.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(self), names(expected), "{what}: kept checkpoints");
        assert!(self.kept == expected.kept, "{what}: kept checkpoints differ");
        assert_eq!(self.results, expected.results, "{what}: results");
    }
}

/// A run that was started with `--log_dir logs`; there is one in `logs`.
fn only_run(logs: &Path) -> PathBuf {
    let family = files(logs).pop().expect("a run's folder");
    logs.join(family).join("version_0")
}

fn start(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Batches done at the newest state in `folder`, which may be that of a save still going on.
fn batches(folder: &Path) -> u64 {
    let names = files(&folder.join("checkpoints"));
    let numbers = names
        .iter()
        .filter_map(|name| name.strip_prefix("last.state-")?.strip_suffix(".safetensors")?.parse().ok());
    numbers.max().unwrap_or(0)
}

/// Waits for the child to have done that many batches, or to end.
fn wait_for_batches(child: &mut Child, folder: &Path, count: u64) {
    while batches(folder) < count && child.try_wait().unwrap().is_none() {
        sleep(Duration::from_micros(100));
    }
}

/// Whether the last checkpoint is that of batch `count`, and all of it is written.
fn is_saved_at(folder: &Path, count: u64) -> bool {
    let names = files(&folder.join("checkpoints"));
    let states: Vec<&String> = names.iter().filter(|name| name.starts_with("last.state-")).collect();
    states == [&format!("last.state-{count}.safetensors")]
}

/// Whether a save was going on when the process was killed.
fn is_mid_save(folder: &Path) -> bool {
    let names = files(&folder.join("checkpoints"));
    let states = names.iter().filter(|name| name.starts_with("last.state-")).count();
    states > 1 || names.iter().any(|name| name.starts_with(".tmp-"))
}

/// Kills runs at random moments until there were `kills` of them, resumes each until it is done, and compares it with
/// one that was left alone. Only how many runs that takes depends on the machine's speed.
fn survives(name: &str, args: &[&str], kills: u32) {
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
        let left_alone = Trained::of(in_logs(&lab.path("left_alone"), &["--json"]).arg("--quiet"));
        let logs = lab.path("killed");
        let mut child = start(in_logs(&logs, &["--checkpoint_every_n_steps", "1"]));
        while !logs.exists() || files(&logs).is_empty() {
            sleep(Duration::from_millis(1));
        }
        let folder = only_run(&logs);
        // A run that was killed before its first checkpoint would begin anew, which is no test.
        wait_for_batches(&mut child, &folder, 1);
        while !folder.join("checkpoints/last.safetensors").exists() {
            sleep(Duration::from_micros(100));
        }
        while killed < kills {
            let target = batches(&folder) + random.below(25);
            wait_for_batches(&mut child, &folder, target);
            // Somewhere in a step or a save, each of which takes milliseconds.
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
        // The rest in one go.
        child.kill().unwrap();
        child.wait().unwrap();
        Trained::of(resume(&folder, &["--checkpoint_every_n_steps", "1000000", "--json"]).arg("--quiet"));
        Outcome::of(&folder).assert_is(&Outcome::of(&left_alone.folder), &format!("{name}, {killed} kills"));
    }
    report(&format!(
        "{name}: {killed} kills, {mid_save} of them within a save, in {runs} runs: equal to the bit"
    ));
}

#[test]
fn mlp_with_dropout_and_adam() {
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
    survives("mlp, dropout, adam", &args, 20);
}

#[test]
fn lstm_with_sgd_and_a_schedule() {
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
    survives("lstm, sgd, plateau", &args, 15);
}

/// The moment between the last step's checkpoint and the run's end.
#[test]
fn killed_at_its_last_step() {
    let lab = Lab::new();
    let budget = ["--max_steps", "27", "--limit_val_batches", "40"];
    let left_alone = lab.train(&budget);
    for at in 0..4 {
        let logs = lab.path(&format!("killed_{at}"));
        let more = ["--checkpoint_every_n_steps", "9", "--log_dir", logs.to_str().unwrap()];
        let mut child = start(lab.small(&[&budget[..], &more].concat()));
        while !logs.exists() || files(&logs).is_empty() {
            sleep(Duration::from_millis(1));
        }
        let folder = only_run(&logs);
        // The save is over when the state before is gone.
        while !is_saved_at(&folder, 27) && child.try_wait().unwrap().is_none() {
            sleep(Duration::from_micros(100));
        }
        sleep(Duration::from_millis(at));
        child.kill().unwrap();
        child.wait().unwrap();
        Trained::of(resume(&folder, &["--json"]).arg("--quiet"));
        Outcome::of(&folder)
            .assert_is(&Outcome::of(&left_alone.folder), &format!("killed {at} ms after its last step"));
    }
}

#[test]
fn a_finished_run_has_nothing_left_to_do() {
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
fn the_weights_a_run_began_with_are_needed_once() {
    let lab = Lab::new();
    let first = lab.train(&[]);
    let borrowed = lab.path("borrowed.safetensors");
    fs::rename(first.folder.join("checkpoints/best.safetensors"), &borrowed).unwrap();
    let second = lab.train(&["--load_checkpoint", borrowed.to_str().unwrap()]);
    fs::remove_file(borrowed).unwrap();
    let longer = Trained::of(resume(&second.folder, &["--max_epochs", "3", "--json"]).arg("--quiet"));
    assert_eq!(longer.json["epochs"], 3);
}

/// Waits for a line on standard error that says that the run is set up, signals included.
fn wait_until_set_up(child: &mut Child) -> BufReader<std::process::ChildStderr> {
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains(" parameters; ") {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it ended before it began");
    }
    stderr
}

fn send(signal: &str, child: &Child) {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success(), "kill {signal}");
}

/// SIGUSR1 saves and goes on; SIGTERM and SIGINT end the run after the step at hand, with the line that continues it.
#[test]
fn signals() {
    let lab = Lab::new();
    // 6,875 batches an epoch, and more epochs than any machine does meanwhile.
    let args = ["--batch_size", "8", "--limit_train_batches", "1.0", "--max_epochs", "100000"];
    let piped = |mut command: Command| command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let end = |signal: &str, code: i32, child: Child, mut stderr: BufReader<_>, folder: &Path| {
        send(signal, &child);
        let mut said = String::new();
        std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
        assert_eq!({ child }.wait().unwrap().code(), Some(code), "{said}");
        let line = format!("{} --resume {}", env!("CARGO_BIN_EXE_run_experiment"), folder.display());
        assert!(said.lines().any(|said| said.trim() == line), "no {line:?} in {said}");
        assert!(!folder.join("results.json").exists(), "an interrupted run has no results");
    };

    let mut child = piped(lab.small(&args));
    let stderr = wait_until_set_up(&mut child);
    let folder = only_run(&lab.logs());
    send("-USR1", &child);
    wait_for_batches(&mut child, &folder, 1);
    let saved = batches(&folder);
    assert!(!saved.is_multiple_of(6875), "saved at batch {saved}: not in the middle of an epoch");
    assert!(child.try_wait().unwrap().is_none(), "a run that was asked to save goes on");
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
    let left_alone = lab.path("left_alone");
    let more = ["--max_steps", &budget, "--log_dir", left_alone.to_str().unwrap()];
    let left_alone = lab.train(&[&args[..], &more].concat());
    Outcome::of(&folder).assert_is(&Outcome::of(&left_alone.folder), "after SIGUSR1, SIGTERM and SIGINT");
}

/// A sweep has nothing to save, and ends as soon.
#[test]
fn a_signal_ends_a_sweep() {
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
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(143), 0), "{said}");
    assert!(said.contains("stopped by signal 15: there is nothing to continue"), "{said}");
    assert!(!folder.exists(), "a run that never began leaves no folder");
}

/// A second SIGINT does not wait for the step, which takes this one many seconds of arithmetic.
#[test]
fn a_second_interrupt_ends_at_once() {
    let lab = Lab::new();
    let args = ["--fc1", "8192", "--fc2", "4096", "--batch_size", "16384", "--limit_train_batches", "1"];
    let mut command = lab.small(&args);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = wait_until_set_up(&mut child);
    send("-INT", &child);
    // Signals of one kind that come together are one.
    std::thread::sleep(Duration::from_millis(100));
    send("-INT", &child);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{said}");
    assert!(!said.contains("--resume"), "it has saved nothing: {said}");
}

#[test]
fn last_is_the_run_that_was_saved_last() {
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
    assert_eq!(config["trainer"]["budget"]["max_epochs"], 3, "the next resume has the budget of this one");
    assert_eq!((resumed.folder, resumed.json["epochs"].as_u64()), (second.folder, Some(3)));
}
