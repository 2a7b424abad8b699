//! Command lines as a person and a shell write them: names of runs, printed commands, completions, dashes.

use std::fs;

use crate::lab::{Lab, Trained, binary, text};

/// Stops a run in a folder whose name a shell takes apart, and pastes the command that it prints.
#[cfg(unix)]
#[test]
fn resume_command_can_be_pasted_into_a_shell() {
    use std::process::Command;

    use crate::signals::{Ended, Running};

    let lab = Lab::new();
    let logs = "-it's my \"logs\" of $HOME; `x` \\ *";
    let args = ["--model=linear", "--max_epochs=100000000", "--early_stop_patience=0", "--device=cpu"];
    let mut command = binary(&args);
    command.args(["--threads", "1", &format!("--log_dir={logs}")]).current_dir(lab.path(""));
    let Ended { signal, stderr: messages, .. } = Running::start(&mut command).end_by("-TERM");
    assert_eq!(signal, Some(15), "{messages}");
    let printed = messages.lines().skip_while(|line| !line.ends_with("to continue:")).nth(1);
    let printed = printed.unwrap_or_else(|| panic!("no command in {messages}"));

    let pasted = format!("{printed} --max_time 0 --json");
    // From another folder than that of the run.
    let run = Trained::of(Command::new("sh").args(["-c", &pasted]).current_dir("/"));
    assert_eq!(run.folder, std::path::Path::new(".").join(logs).join("linear-series/version_0"));
    assert_eq!(run.json["stop"], "max_time reached");
    assert!(run.json["steps"].as_u64().unwrap() > 0);
}

#[test]
fn name_is_the_folder_of_the_run_and_resume_last_finds_it_by_model_and_data() {
    let lab = Lab::new();
    let logs = lab.logs();
    let train = |args: &[&str]| {
        let mut command = binary(&["--max_epochs=1", "--device=cpu", "--threads=1", "--json", "--log_dir"]);
        Trained::of(command.arg(&logs).args(args))
    };
    let named = train(&["--model", "linear", "--name", "a b"]);
    assert_eq!(named.folder, logs.join("a b/version_0"));
    assert_eq!(train(&["--model", "linear", "--name", "a b"]).folder, logs.join("a b/version_1"));
    // A later run under the same name, of another model.
    let other = train(&["--model", "dnn", "--name", "a b"]);
    let last = |args: &[&str]| {
        let mut command = binary(&["--resume", "last", "--max_epochs", "2", "--json", "--log_dir"]);
        Trained::of(command.arg(&logs).args(args)).folder
    };
    assert_eq!(last(&["--model", "linear", "--data", "series"]), logs.join("a b/version_1"));
    assert_eq!(last(&["--model", "dnn"]), other.folder);
    assert_eq!(last(&[]), other.folder, "saved last");
}

#[test]
fn completions_of_each_shell_have_the_flags_of_every_model_and_data() {
    let script = |shell: &str| {
        let output = binary(&["completions", shell]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    // Fish writes the name of a flag without dashes.
    for (shell, dashes) in [("bash", "--"), ("zsh", "--"), ("fish", "-l ")] {
        let script = script(shell);
        for flag in ["max_epochs", "units", "fc1", "csv", "checkpoint", "resume"] {
            assert!(script.contains(&format!("{dashes}{flag}")), "{shell} has no {flag}");
        }
        for name in ["conv_lstm", "fashion_mnist", "forecast", "doctor"] {
            assert!(script.contains(name), "{shell} has no {name}");
        }
    }
    let lab = Lab::new();
    let file = lab.path("completions.bash");
    fs::write(&file, script("bash")).unwrap();
    // A shell reads the script and completes the flags of the command.
    let reply = "source \"$0\"; COMP_WORDS=(run_experiment --uni); COMP_CWORD=1; \
                 _run_experiment run_experiment --uni run_experiment; echo \"${COMPREPLY[@]}\"";
    let output = std::process::Command::new("bash").args(["-c", reply]).arg(&file).output().unwrap();
    assert_eq!(text(&output.stdout).trim(), "--units --units_row", "{}", text(&output.stderr));
}

#[test]
fn flags_in_kebab_case_are_those_in_snake_case_in_subcommands_too() {
    let lab = Lab::new();
    let file = lab.path("table.csv");
    fs::write(&file, "time,a,b\n1,5,6\n2,7,8\n").unwrap();
    let forecast = |args: &[&str]| {
        let output = binary(&["forecast", "--model=moving_average", "--csv"]).arg(&file).args(args).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let snake = forecast(&["--time_column", "time", "--value_columns", "b", "--average", "2"]);
    assert_eq!(snake, "time,b\n3,7\n");
    assert_eq!(forecast(&["--time-column", "time", "--value-columns=b", "--average", "2"]), snake);
}

/// The process restarts itself if it trains on several threads, and a pipe can be read only once.
#[cfg(unix)]
#[test]
fn configuration_from_a_pipe_or_a_path_of_any_bytes_is_read() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::process::{Command, Stdio};

    let lab = Lab::new();
    let yaml = "\u{feff}# mine\nmodel: linear\nlr: 1e-4\n";
    let name = OsStr::from_bytes(b"\xff.yaml");
    let of_pipe = ["-c", "printf \"$2\" | \"$1\" --config /dev/stdin --print_config", "sh"];
    let mut piped = Command::new("sh");
    piped.args(of_pipe).args([env!("CARGO_BIN_EXE_run_experiment"), yaml]);
    let mut named = binary(&["--print_config", "--config"]);
    let path = lab.path("").join(name);
    // Some file systems have names in UTF-8 only.
    let writable = fs::write(&path, yaml).is_ok();
    for command in [Some(&mut piped), writable.then_some(named.arg(path))].into_iter().flatten() {
        let output = command.stderr(Stdio::inherit()).output().unwrap();
        let config: serde_json::Value = serde_json::from_str(&text(&output.stdout)).unwrap();
        assert_eq!((&config["model"], &config["lit"]["optimizer"]["lr"]), (&"linear".into(), &1e-4.into()));
    }
    let output = binary(&["--print_config", "--csv"]).arg(name).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""));
    assert!(
        text(&output.stderr).contains("cannot use --csv: found \"\\xFF.yaml\""),
        "{}",
        text(&output.stderr)
    );
}
