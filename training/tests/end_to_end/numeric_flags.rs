//! Every flag that takes a value, of every model, data and command, with numbers at the limits of their types. The flags come
//! from the tables of models and data, so that new flags are tested too.
#![cfg(target_os = "linux")]

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use training::commands;
use training::experiment::registry::{DATA, DEFAULT_MODEL, MODELS, check_pair, default_data};

use crate::lab::{Lab, binary, report};

/// 0, -1, NaN, infinity, 1e308, 2^31, 2^63 - 1, 2^64, nothing and text.
const VALUES: [&str; 10] = [
    "0",
    "-1",
    "NaN",
    "inf",
    "1e308",
    "2147483648",
    "9223372036854775807",
    "18446744073709551616",
    "",
    "text",
];

/// The memory of a process, besides code and files.
const MEMORY: u64 = 2 << 30;
/// Only against a process that hangs: each takes less than a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Returns the names of the flags of a command that take a value, but for files and folders.
fn flags(command: &clap::Command) -> Vec<String> {
    let path = |arg: &clap::Arg| arg.get_value_parser().type_id() == TypeId::of::<PathBuf>();
    let flags = command.get_arguments().filter(|arg| arg.get_action().takes_values() && !path(arg));
    flags.filter_map(|arg| arg.get_long().map(str::to_owned)).collect()
}

/// Arguments of a process, without the flag that is tested.
type Base = Vec<String>;

fn words(text: &str) -> Base {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Returns each flag with the command lines that have it.
fn all_flags() -> BTreeMap<String, Vec<Base>> {
    let mut all: BTreeMap<String, Vec<Base>> = BTreeMap::new();
    for model in MODELS.iter() {
        for data in DATA.iter().filter(|data| check_pair(model, data).is_ok()) {
            let mut base = words(&format!("--model {} --data {}", model.name, data.name));
            if data.name == "csv" {
                base.extend(words("--csv series.csv"));
            }
            for flag in flags(&commands::command(model, data)) {
                all.entry(flag).or_default().push(base.clone());
            }
        }
    }
    let default = MODELS.iter().find(|model| model.name == DEFAULT_MODEL).unwrap();
    let data = DATA.iter().find(|data| data.name == default_data(DEFAULT_MODEL)).unwrap();
    let command = commands::command(default, data);
    for flag in flags(command.find_subcommand("forecast").unwrap()) {
        let base = words("forecast --csv series.csv --model differencing --season 7 --difference_average 3");
        all.entry(format!("forecast {flag}")).or_default().push(base);
    }
    all
}

/// Returns the arguments with a value for the flag.
fn with(base: &Base, flag: &str, value: &str) -> Vec<String> {
    let mut args = base.clone();
    args.push(format!("--{}={value}", flag.trim_start_matches("forecast ")));
    args
}

/// Runs the program on one batch, with little memory, and returns a fault: another end than exit code 0, 1 or 2.
fn fault(lab: &Lab, args: &[String]) -> Option<String> {
    let mut command = binary(&[]);
    command.args(args).current_dir(lab.path("")).stdout(Stdio::null()).stderr(Stdio::piped());
    if args[0] != "forecast" {
        command.args(["--fast_dev_run", "--device=cpu", "--threads=1"]);
    }
    // SAFETY: the closure calls only a function that is safe between fork and exec.
    unsafe {
        command.pre_exec(|| {
            let limit = libc::rlimit { rlim_cur: MEMORY, rlim_max: MEMORY };
            libc::setrlimit(libc::RLIMIT_DATA, &limit);
            Ok(())
        });
    }
    let mut child = command.spawn().unwrap();
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > PATIENCE {
            child.kill().unwrap();
            return Some(format!("{args:?}: still runs after {PATIENCE:?}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let ended = matches!(output.status.code(), Some(0..=2));
    (!ended).then(|| format!("{args:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn flags_with_extreme_values_run_or_fail() {
    let all = all_flags();
    let lab = Lab::new();
    let rows = (0..60).map(|t| format!("{}\n", t * t % 17)).collect::<String>();
    std::fs::write(lab.path("series.csv"), format!("v\n{rows}")).unwrap();

    // Most values are errors of the command line. The others run, each once, with the first model and data that accept them.
    let (mut parsed, mut runs, mut seen) = (0, Vec::new(), BTreeSet::new());
    for (flag, bases) in &all {
        for value in VALUES {
            for base in bases {
                let args = with(base, flag, value);
                let line = std::iter::once("run_experiment".to_owned()).chain(args.clone());
                parsed += 1;
                if commands::parse(line.map(OsString::from)).is_ok() && seen.insert((flag.clone(), value)) {
                    runs.push(args);
                }
            }
        }
    }
    let (next, faults) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(args) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    faults.lock().unwrap().extend(fault(&lab, args));
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    report(&format!(
        "flags with values: {} flags, {} values, {parsed} command lines parsed, {} of them run",
        all.len(),
        VALUES.len(),
        runs.len()
    ));
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
