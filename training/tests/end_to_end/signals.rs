//! Signals: what a run saves, how it ends, and what it leaves.
#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::lab::{Lab, Trained, binary, files, resume, text};
use crate::resume::{Outcome, batches, only_run, wait_for_batches};

/// Flags of a run that ends only by a signal.
const ENDLESS: [&str; 4] = ["--max_epochs", "100000", "--early_stop_patience", "0"];

/// A process that runs.
pub struct Running {
    pub child: Child,
    stderr: BufReader<ChildStderr>,
}

/// The end of a process.
pub struct Ended {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    /// The text on standard error after the model summary.
    pub stderr: String,
}

impl Running {
    /// Starts a process.
    pub fn spawn(command: &mut Command) -> Self {
        // Tests that run under nohup must not pass the ignored hangup on to the program.
        // SAFETY: `signal` is safe to call between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGHUP, libc::SIG_DFL);
                Ok(())
            });
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr }
    }

    /// Starts a run, and waits for the model summary on standard error. The loop looks at the signals from then on.
    pub fn start(command: &mut Command) -> Self {
        let mut run = Self::spawn(command);
        let mut line = String::new();
        while !line.contains(" parameters; ") {
            line.clear();
            assert_ne!(run.stderr.read_line(&mut line).unwrap(), 0, "the run ended before its summary");
        }
        run
    }

    pub fn send(&self, signal: &str) {
        kill(signal, &self.child.id().to_string());
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until a file exists.
    pub fn wait_for(&mut self, file: &Path) {
        while !file.exists() {
            assert!(self.is_running(), "the process ended without {}", file.display());
            sleep(Duration::from_millis(1));
        }
    }

    /// Waits for the end of the process.
    pub fn end(mut self) -> Ended {
        let mut stderr = String::new();
        self.stderr.read_to_string(&mut stderr).unwrap();
        let output = self.child.wait_with_output().unwrap();
        let (code, signal) = (output.status.code(), output.status.signal());
        Ended { code, signal, stdout: text(&output.stdout), stderr }
    }

    /// Sends a signal, and waits for the end of the process.
    pub fn end_by(self, signal: &str) -> Ended {
        self.send(signal);
        self.end()
    }
}

fn kill(signal: &str, process: &str) {
    let sent = Command::new("kill").args([signal, "--", process]).status().unwrap();
    assert!(sent.success(), "kill {signal} {process}");
}

/// SIGUSR1 saves a checkpoint. SIGTERM, SIGHUP and SIGINT stop the run after the current step, and it prints the command to
/// resume.
#[test]
fn signals_save_or_stop_the_run_and_it_resumes_to_the_same_bits() {
    let lab = Lab::new();
    // An epoch has 6,875 batches, and the run has too many epochs to end before the signals.
    let args = ["--batch_size", "8", "--limit_train_batches", "1.0", "--max_epochs", "100000"];
    let end = |run: Running, signal: &str, number: i32, folder: &Path| {
        let Ended { signal, stderr, .. } = run.end_by(signal);
        assert_eq!(signal, Some(number), "{stderr}");
        let line = format!("{} --resume {}", env!("CARGO_BIN_EXE_run_experiment"), folder.display());
        assert!(stderr.lines().any(|found| found.ends_with(&line)), "no {line:?} in {stderr}");
        assert!(!folder.join("results.json").exists(), "a stopped run has no results");
    };

    let mut run = Running::start(&mut lab.small(&args));
    let folder = only_run(&lab.logs());
    run.send("-USR1");
    wait_for_batches(&mut run.child, &folder, 1);
    let saved = batches(&folder);
    assert!(!saved.is_multiple_of(6875), "saved at batch {saved}, expected one within an epoch");
    assert!(run.is_running(), "the run continues after SIGUSR1");
    end(run, "-TERM", 15, &folder);
    let terminated = batches(&folder);
    assert!(terminated >= saved);

    let mut interrupted = terminated;
    for (signal, number) in [("-HUP", 1), ("-INT", 2)] {
        end(Running::start(&mut resume(&folder, &[])), signal, number, &folder);
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
    let mut run = Running::spawn(&mut lab.small(&args));
    let folder = lab.logs().join("mlp-mnist/version_0");
    run.wait_for(&folder.join("config.json"));
    let Ended { signal, stdout, stderr, .. } = run.end_by("-TERM");
    assert_eq!((signal, &stdout[..]), (Some(15), ""), "{stderr}");
    assert!(stderr.contains("stopped by signal 15: there is nothing to continue"), "{stderr}");
    assert!(!folder.exists(), "a run without training leaves no folder");
}

/// The step of this run takes many seconds. The second SIGINT does not wait for it.
#[test]
fn second_sigint_ends_the_run_at_once() {
    let lab = Lab::new();
    let args = ["--fc1", "8192", "--fc2", "4096", "--batch_size", "16384", "--limit_train_batches", "1"];
    let run = Running::start(&mut lab.small(&args));
    run.send("-INT");
    // Two signals of one kind at the same time would count as one.
    sleep(Duration::from_millis(100));
    let Ended { signal, stderr, .. } = run.end_by("-INT");
    assert_eq!(signal, Some(2), "{stderr}");
    assert!(!stderr.contains("--resume"), "the run has no checkpoint: {stderr}");
}

#[test]
fn signal_ends_a_command_that_waits_for_data_and_leaves_no_folder() {
    let lab = Lab::new();
    let fifo = lab.path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for (signal, number) in [("-TERM", 15), ("-HUP", 1)] {
        let mut command = binary(&["--model=naive", "--data=csv", "--log_dir"]);
        let run = Running::spawn(command.arg(lab.logs()).arg("--csv").arg(&fifo));
        // The process opens the pipe after it has set up its signals.
        let writer = fs::File::options().write(true).open(&fifo).unwrap();
        let ended = run.end_by(signal);
        drop(writer);
        assert_eq!(ended.signal, Some(number));
        assert_eq!(ended.stderr, format!("stopped by signal {number}: there is nothing to continue\n"));
        assert!(!lab.logs().exists());
    }
}

#[test]
fn hangup_that_is_ignored_stays_ignored() {
    let lab = Lab::new();
    let run = lab.small(&ENDLESS);
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(run.get_program()).args(run.get_args());
    let mut run = Running::start(command.current_dir(run.get_current_dir().unwrap()));
    run.send("-HUP");
    sleep(Duration::from_millis(50));
    assert!(run.is_running(), "the run goes on");
    assert_eq!(run.end_by("-TERM").signal, Some(15));
}

/// The evaluation of the 15,000 rows of validation and test split by this network takes many seconds.
#[test]
fn signal_in_the_final_evaluation_ends_the_run_at_once() {
    let lab = Lab::new();
    let args = ["--max_epochs", "0", "--fc1", "6000", "--fc2", "4000", "--limit_val_batches", "1.0"];
    let more = ["--limit_test_batches", "1.0", "--optimizer", "sgd"];
    let mut run = Running::start(&mut lab.small(&[&args[..], &more].concat()));
    let folder = lab.logs().join("mlp-mnist/version_0");
    run.wait_for(&folder.join("checkpoints/last.safetensors"));
    let Ended { signal, stderr, .. } = run.end_by("-TERM");
    assert_eq!(signal, Some(15));
    assert!(stderr.contains("stopped by signal 15; to continue:"), "{stderr}");
    assert!(!folder.join("results.json").exists());
}

/// One Ctrl-C reaches the shell and the program. The shell ends its loop only if the program died by the signal.
#[test]
fn interrupt_ends_a_loop_of_a_shell() {
    let lab = Lab::new();
    let run = lab.small(&ENDLESS);
    let mut shell = Command::new("bash");
    shell.args(["-c", "for i in 1 2; do \"$@\"; done; echo over", "bash"]);
    shell.arg(run.get_program()).args(run.get_args()).current_dir(run.get_current_dir().unwrap());
    // These tests may run in the background of a shell, which ignores SIGINT there.
    // SAFETY: the closure calls only a function that is safe between fork and exec.
    unsafe {
        shell.pre_exec(|| {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            Ok(())
        });
    }
    let run = Running::start(shell.process_group(0));
    kill("-INT", &format!("-{}", run.child.id()));
    assert_eq!(run.end().stdout, "", "the loop went on");
    assert_eq!(files(&lab.logs().join("mlp-mnist")), ["version_0"]);
}
