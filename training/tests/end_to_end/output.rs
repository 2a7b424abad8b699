//! Tests of what the binary prints, and of its environment.

use std::fs;
use std::process::Stdio;

use crate::lab::{Lab, Trained, binary, text};

#[test]
fn print_config_prints_the_configuration_and_writes_no_files() {
    let lab = Lab::new();
    let output = lab.small(&["--print_config", "--seed", "7"]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
    let path = lab.path("config.json");
    fs::write(&path, &output.stdout).unwrap();
    assert!(!lab.logs().exists());
    let run = Trained::of(&mut binary(&["--config", path.to_str().unwrap(), "--json"]));
    let (printed, kept) =
        (fs::read_to_string(path).unwrap(), fs::read_to_string(run.folder.join("config.json")));
    assert_eq!(printed, kept.unwrap());
    assert!(printed.contains("\"seed\": 7"));
}

#[test]
fn doctor_reports_libtorch_devices_and_data() {
    let output = binary(&["doctor"]).output().unwrap();
    let stdout = text(&output.stdout);
    assert!(output.status.success(), "{stdout}{}", text(&output.stderr));
    for part in ["libtorch        2.13.0", "MKL", "threads", "Cpu", "mnist in ", "data/raw/mnist", ": ok"] {
        assert!(stdout.contains(part), "no {part} in {stdout}");
    }
    let version = text(&binary(&["--version"]).output().unwrap().stdout);
    assert!(version.starts_with("run_experiment ") && version.contains("libtorch 2.13.0"), "{version}");
}

#[test]
fn profiler_lists_the_phases() {
    let lab = Lab::new();
    let run = lab.train(&["--profiler", "simple"]);
    for phase in ["data", "forward", "backward", "optimizer", "validation", "logging", "checkpoint"] {
        assert!(run.stderr.contains(phase), "no {phase} in {}", run.stderr);
    }
}

#[test]
fn log_level_selects_the_messages() {
    let lab = Lab::new();
    let stderr = |args: &[&str]| lab.train(args).stderr;
    assert_eq!(stderr(&["--quiet"]), "");
    assert_eq!(stderr(&["--log_level", "warn"]), "");
    let (info, debug) = (stderr(&[]), stderr(&["--log_level", "debug"]));
    assert!(info.contains(" 2/2 ") && !info.contains("debug:"), "{info}");
    assert!(debug.contains(" 2/2 ") && debug.contains("debug: saved"), "{debug}");
    let explode = ["--optimizer", "sgd", "--lr", "1e30", "--on_nonfinite", "skip", "--log_level", "warn"];
    let warned = stderr(&explode);
    assert_eq!(warned.matches("warning:").count(), 1, "{warned}");
}

/// A shell closes the pipe early in `run_experiment 2>&1 | head -1`.
#[test]
fn run_with_a_closed_pipe_ends_with_results() {
    let lab = Lab::new();
    for (args, closes_stdout) in [(&[][..], false), (&["--json"][..], true)] {
        let mut child = lab.small(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (closed, read): (Box<dyn Send>, Box<dyn std::io::Read>) = if closes_stdout {
            (Box::new(stdout), Box::new(stderr))
        } else {
            (Box::new(stderr), Box::new(stdout))
        };
        drop(closed);
        let output = std::io::read_to_string(read).unwrap();
        assert!(!output.contains("panicked"), "{output}");
        child.wait().unwrap();
    }
    for version in ["version_0", "version_1"] {
        assert!(
            lab.logs().join("mlp-mnist").join(version).join("results.json").is_file(),
            "{version} did not end"
        );
    }
}

#[test]
fn output_into_a_closed_pipe_is_not_an_error() {
    let commands: [&[&str]; 3] = [
        &["completions", "bash"],
        &[
            "forecast",
            "--model",
            "naive",
            "--csv",
            "training/tests/golden/format1/sales.csv",
            "--time_column",
            "day",
            "--decimal",
            ".",
        ],
        &["--print_config"],
    ];
    for args in commands {
        let mut child = binary(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn spin_count_is_2000_unless_the_user_sets_it() {
    let spin_counts = |name: &str, value: &str| -> Vec<String> {
        let mut command = binary(&["--fast_dev_run", "--threads", "2", "--device", "cpu"]);
        for name in ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"] {
            command.env_remove(name);
        }
        let output = command.env("OMP_DISPLAY_ENV", "verbose").env(name, value).output().unwrap();
        let stderr = text(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        let counts = stderr.lines().filter_map(|line| line.trim().strip_prefix("GOMP_SPINCOUNT = "));
        counts.map(|count| count.trim_matches('\'').to_owned()).collect()
    };
    assert_eq!(spin_counts("GOMP_SPINCOUNT", "7"), ["7"], "the value of the user, and no restart");
    assert_eq!(spin_counts("OMP_WAIT_POLICY", "passive"), ["0"]);
    assert_eq!(spin_counts("UNRELATED", "").last().map(String::as_str), Some("2000"));
}
