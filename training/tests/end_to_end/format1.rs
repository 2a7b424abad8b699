//! Runs that the last program with checkpoints of format 1 wrote (`tests/golden/format1`): they load, forecast, are
//! reproduced and continue.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::lab::{Lab, Trained, binary, copy_folder, resume, text};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format1").join(name)
}

fn data_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("data")
}

/// Checks that two records have the same names and, up to another machine's rounding, the same numbers. Leaves out the RMSE, which
/// was over all columns together, and the WAPE, which was missing.
fn assert_close(got: &Value, expected: &Value) {
    let kept = |record: &Value| {
        let mut record = record.as_object().unwrap().clone();
        record.retain(|name, _| !["val_rmse", "val_wape"].contains(&name.as_str()));
        record
    };
    let (got, expected) = (&kept(got), &kept(expected));
    assert!(got.keys().eq(expected.keys()), "{got:?} {expected:?}");
    for (name, value) in expected {
        let (a, b) = (got[name].as_f64().unwrap(), value.as_f64().unwrap());
        assert!((a - b).abs() <= 1e-4 * b.abs(), "{name}: {a} is not {b}");
    }
}

fn metrics(run: &str) -> Vec<Value> {
    let text = fs::read_to_string(golden(run).join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn checkpoint_of_format_1_forecasts_the_same_values() {
    let args = ["forecast", "--time_column", "day", "--steps", "4", "--csv", "sales.csv", "--checkpoint"];
    let checkpoint = golden("dnn-csv/checkpoints/best.safetensors");
    let output = binary(&args).arg(checkpoint).current_dir(golden("")).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let cells = |table: &str| -> Vec<Vec<String>> {
        table.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
    };
    let (got, expected) =
        (cells(&text(&output.stdout)), cells(&fs::read_to_string(golden("forecast.csv")).unwrap()));
    assert_eq!((got.len(), &got[0]), (5, &expected[0]));
    for (got, expected) in got.iter().zip(&expected).skip(1) {
        assert_eq!((got.len(), &got[0]), (expected.len(), &expected[0]));
        for (a, b) in got.iter().zip(expected).skip(1) {
            let (a, b): (f64, f64) = (a.parse().unwrap(), b.parse().unwrap());
            assert!((a - b).abs() <= 1e-4 * b.abs(), "{got:?} is not {expected:?}");
        }
    }
}

#[test]
fn checkpoint_of_format_1_is_loaded_into_a_new_run() {
    let lab = Lab::new();
    let best = golden("mlp-mnist/checkpoints/best.safetensors");
    // A learning rate that no single-precision weight can feel.
    let run = lab.train(&[
        "--load_checkpoint",
        best.to_str().unwrap(),
        "--fc1",
        "4",
        "--fc2",
        "3",
        "--max_epochs",
        "1",
        "--limit_train_batches",
        "1",
        "--limit_val_batches",
        "1",
        "--optimizer",
        "sgd",
        "--lr",
        "1e-30",
    ]);
    assert!(run.last() == crate::lab::tensors(&best));
    let expected = metrics("mlp-mnist")[0]["val_loss"].as_f64().unwrap();
    assert!((run.metric("val_loss") - expected).abs() < 1e-4 * expected);
}

#[test]
fn config_of_format_1_reproduces_its_run() {
    for (run, more) in [("mlp-mnist", &["--data_dir", data_dir().to_str().unwrap()][..]), ("dnn-csv", &[])] {
        let lab = Lab::new();
        let mut command = binary(&["--config", golden(run).join("config.json").to_str().unwrap(), "--json"]);
        command.args(more).arg("--log_dir").arg(lab.logs()).current_dir(golden(""));
        let mut lines = Trained::of(&mut command).metrics();
        // That version did not log the metrics of the test split.
        lines.retain(|line| line.get("train_loss").is_some());
        let expected = metrics(run);
        assert_eq!(lines.len(), expected.len());
        lines.iter().zip(&expected).for_each(|(got, expected)| assert_close(got, expected));
    }
}

#[test]
fn run_of_format_1_continues() {
    for (run, epochs, steps, more) in
        [("mlp-mnist", 2, 10, &["--data_dir", data_dir().to_str().unwrap()][..]), ("dnn-csv", 3, 12, &[])]
    {
        let lab = Lab::new();
        let copy = lab.path(run);
        copy_folder(&golden(run), &copy);
        let mut command = resume(&copy, &["--json", "--max_epochs", &epochs.to_string()]);
        let continued = Trained::of(command.args(more).current_dir(golden("")));
        assert_eq!(continued.folder, copy);
        assert_eq!((&continued.json["epochs"], &continued.json["steps"]), (&epochs.into(), &steps.into()));
        let before = fs::read_to_string(golden(run).join("metrics.jsonl")).unwrap();
        let after = continued.metrics_text();
        let trained = after.lines().filter(|line| line.contains("train_loss")).count();
        assert!(after.starts_with(&before) && trained == epochs, "{after}");
    }
}
