//! Checkpoints with a correct digest and impossible numbers in the state of a run: each resumed run ends or is an error.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde_json::{Value, json};
use text_recognizer::checkpoint;
use training::commands::{self, Invocation};
use training::experiment::{self, Experiment, Reporter, find_resume};
use training::trainer::{Signals, SingleProcess};

use crate::lab::{Lab, Trained, binary, copy_folder, files, report};

struct Silent;
impl Reporter for Silent {}

/// Returns the places of all numbers, as JSON pointers.
fn numbers(value: &Value, place: &str) -> Vec<String> {
    match value {
        Value::Number(_) => vec![place.to_owned()],
        Value::Object(fields) => {
            fields.iter().flat_map(|(name, value)| numbers(value, &format!("{place}/{name}"))).collect()
        }
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.flat_map(|(at, value)| numbers(value, &format!("{place}/{at}"))).collect()
        }
        _ => Vec::new(),
    }
}

/// Writes a checkpoint again, with `value` at a place of its metadata.
fn set(file: &Path, place: &str, value: &Value) {
    let mut contents = checkpoint::read(file).unwrap();
    *contents.metadata.pointer_mut(place).unwrap() = value.clone();
    checkpoint::write(file, &contents.tensors, &contents.metadata).unwrap();
}

/// Resumes the run in `folder` for one more epoch, in this process. Returns whether it ended without an error.
fn resumes(folder: &Path) -> bool {
    let args = ["run_experiment", "--max_epochs=3", "--threads=1", "--resume"].map(OsString::from);
    let args = args.into_iter().chain([folder.as_os_str().to_owned()]);
    let Ok(Invocation::Fit(fit)) = commands::parse(args) else { return false };
    let resume = find_resume(folder, None, None, Path::new("logs")).unwrap();
    let experiment = Experiment {
        config: fit.config().clone(),
        resume: Some(resume),
        signals: &Signals::silent(),
        strategy: &SingleProcess,
    };
    experiment::fit(&experiment, &Silent).is_ok()
}

#[test]
fn resume_with_an_impossible_number_in_the_state_ends_or_is_an_error() {
    let lab = Lab::new();
    let flags = "--model linear --data series --length 60 --split_time 40 --max_epochs 2 --device cpu --threads 1 --optimizer adam \
        --lr_schedule plateau --early_stop_patience 9 --save_top_k 2 --ema_decay 0.9 --json";
    let args: Vec<&str> = flags.split_whitespace().collect();
    let run = Trained::of(binary(&args).arg("--log_dir").arg(lab.logs())).folder;
    let checkpoints = files(&run.join("checkpoints"));
    let state = checkpoints.iter().find(|name| name.starts_with("last.state-")).unwrap();
    let values = [json!(-1), json!(i64::MAX), json!(u64::MAX), json!(1e308)];
    let whole = |metadata: &Value, place: &str| !metadata.pointer(place).unwrap().is_f64();
    let (mut tried, mut ended) = (0, 0);
    for file in [state.as_str(), "last.safetensors"] {
        let metadata = checkpoint::read(&run.join("checkpoints").join(file)).unwrap().metadata;
        let mut places = numbers(&metadata, "");
        // The description and the configuration are for other programs and for people. All metrics of a logger are alike.
        let skipped = |place: &String| {
            place.starts_with("/description")
                || place.starts_with("/run")
                || place.contains("/values/") && !place.contains("/values/0")
        };
        places.retain(|place| !skipped(place));
        assert!(!places.is_empty(), "{file}");
        let cases = places.iter().flat_map(|place| values.iter().map(move |value| (place, value)));
        for (place, value) in cases.filter(|(place, value)| !(value.is_f64() && whole(&metadata, place))) {
            let copy = lab.path("copy");
            copy_folder(&run, &copy);
            set(&copy.join("checkpoints").join(file), place, value);
            let outcome = catch_unwind(AssertUnwindSafe(|| resumes(&copy)));
            tried += 1;
            ended += u32::from(outcome.unwrap_or_else(|_| panic!("{file}: {value} at {place}")));
            std::fs::remove_dir_all(&copy).unwrap();
        }
    }
    report(&format!("resume: {tried} checkpoints with an impossible number, {ended} of the runs ended"));
}
