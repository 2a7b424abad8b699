//! The binary from end to end: what it leaves behind, and what it says.

mod common;

use std::fs;
use std::path::Path;

use common::{Logs, stderr};
use serde_json::Value;
use training::trainer::checkpoint::read;

/// A run on MNIST of a few hundred milliseconds.
const SMALL: [&str; 7] = [
    "--fc1=32",
    "--fc2=16",
    "--limit_train_batches=20",
    "--limit_val_batches=1",
    "--limit_test_batches=1",
    "--max_epochs=2",
    "--threads=1",
];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    SMALL.iter().chain(more).copied().collect()
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn history(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn weights(folder: &Path, name: &str) -> Vec<(String, tch::Tensor)> {
    read(&folder.join("checkpoints").join(name)).unwrap().tensors
}

#[test]
fn a_run_leaves_a_folder_that_reproduces_it() {
    let logs = Logs::new();
    let first = logs.succeed(&with(&["--log_every_n_steps=10"]));
    assert!(first.ends_with("mlp-mnist/version_0"), "{first:?}");
    let names: Vec<String> = fs::read_dir(&first)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for expected in
        ["config.json", "metrics.jsonl", "results.json", "checkpoints", "metrics.png", "metrics.svg"]
    {
        assert!(names.iter().any(|name| name == expected), "no {expected} in {names:?}");
    }
    assert!(names.iter().any(|name| name.starts_with("events.out.tfevents.")), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with(".tmp")), "{names:?}");

    let config = first.join("config.json");
    let second = logs.succeed(&["--config", config.to_str().unwrap()]);
    assert!(second.ends_with("version_1"));
    for name in ["best.safetensors", "last.safetensors"] {
        assert_eq!(weights(&first, name), weights(&second, name), "{name}");
    }
    assert_eq!(history(&first), history(&second));
    let other = logs.succeed(&with(&["--seed=7"]));
    assert_ne!(weights(&first, "last.safetensors"), weights(&other, "last.safetensors"));
}

#[test]
fn standard_output_holds_results_alone() {
    let logs = Logs::new();
    let output = logs.run(&with(&["--json"]));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let result: Value = serde_json::from_str(&text).unwrap();
    for metric in ["val_loss", "val_acc", "test_loss", "test_acc"] {
        assert!(result["metrics"][metric].as_f64().unwrap().is_finite(), "{metric}");
    }
    assert_eq!(result, json(&Path::new(result["folder"].as_str().unwrap()).join("results.json")));
    let quiet = logs.run(&with(&["--quiet"]));
    assert!(quiet.status.success() && stderr(&quiet).is_empty(), "{}", stderr(&quiet));
    let text = String::from_utf8(logs.run(&with(&[])).stdout).unwrap();
    assert!(text.contains("test") && text.lines().last().unwrap().contains("version_2"), "{text}");
}

#[test]
fn a_tiny_batch_can_be_overfitted() {
    let logs = Logs::new();
    let args = [
        "--overfit_batches=1",
        "--batch_size=16",
        "--dropout=0",
        "--max_epochs=150",
        "--early_stop_patience=0",
    ];
    let folder = logs.succeed(&[&SMALL[..2], &args[..], &["--limit_test_batches=1", "--threads=1"]].concat());
    let last = history(&folder).pop().unwrap();
    assert_eq!(last["train_acc"], 1.0, "{last}");
    assert!(last["train_loss"].as_f64().unwrap() < 0.05, "{last}");
}

#[test]
fn a_dev_run_keeps_no_files() {
    let logs = Logs::new();
    let output = logs.run(&["--fast_dev_run", "--fc1=32"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(fs::read_dir(logs.path()).unwrap().count(), 0);
}

/// Each flag does what it says, seen in what the run leaves.
#[test]
fn the_trainers_flags() {
    let logs = Logs::new();
    let steps = |args: &[&str]| {
        let folder = logs.succeed(&with(args));
        json(&folder.join("results.json"))["steps"].as_u64().unwrap()
    };
    assert_eq!(steps(&[]), 40);
    assert_eq!(steps(&["--accumulate_grad_batches=3"]), 14);
    assert_eq!(steps(&["--max_steps=7"]), 7);
    assert_eq!(steps(&["--limit_train_batches=0.01"]), 8);
    assert_eq!(steps(&["--max_time=0"]), 0);
    assert_eq!(steps(&["--precision=bf16", "--gradient_clip_val=0.1"]), 40);
    assert_eq!(
        steps(&["--stochastic_weight_avg", "--gradient_clip_val=0.1", "--gradient_clip_algorithm=value"]),
        40
    );

    let validations = |args: &[&str]| {
        let folder = logs.succeed(&with(args));
        history(&folder).iter().filter(|record| record.get("val_loss").is_some()).count()
    };
    assert_eq!(validations(&["--check_val_every_n_epoch=2"]), 1);
    assert_eq!(validations(&["--val_check_interval=0.25"]), 8);
    assert_eq!(validations(&["--val_check_interval=10"]), 4);
    assert_eq!(validations(&["--limit_val_batches=0"]), 0);
    assert_eq!(validations(&["--lr=1e-30", "--patience=1", "--max_epochs=9"]), 2);

    let folder = logs.succeed(&with(&[
        "--track_grad_norm",
        "--log_every_n_steps=5",
        "--save_top_k=3",
        "--max_epochs=5",
    ]));
    let records = history(&folder);
    assert!(records.iter().filter_map(|record| record["grad_norm"].as_f64()).all(|norm| norm > 0.0));
    assert_eq!(records.iter().filter(|record| record.get("grad_norm").is_some()).count(), 20);
    let kept = fs::read_dir(folder.join("checkpoints")).unwrap();
    let kept =
        kept.filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("epoch="));
    assert_eq!(kept.count(), 3);

    let double = logs.succeed(&with(&["--precision=64"]));
    assert!(
        weights(&double, "best.safetensors").iter().all(|(_, tensor)| tensor.kind() == tch::Kind::Double)
    );
    let best = double.join("checkpoints/best.safetensors");
    let more = logs.succeed(&with(&["--load_checkpoint", best.to_str().unwrap(), "--lr=1e-30"]));
    let before = json(&double.join("results.json"))["metrics"]["val_loss"].as_f64().unwrap();
    let after = json(&more.join("results.json"))["metrics"]["val_loss"].as_f64().unwrap();
    assert!((before - after).abs() < 1e-5, "{before} {after}");
    let profile = logs.run(&with(&["--profiler=simple"]));
    assert!(stderr(&profile).contains("backward"), "{}", stderr(&profile));
}

#[test]
fn what_is_not_finite_is_found_where_it_is_born() {
    let logs = Logs::new();
    let wild = ["--optimizer=sgd", "--lr=1e30", "--dropout=0"];
    let output = logs.run(&with(&wild));
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in ["step 2", "epoch 1", "batch 2", "rows", "layer", "--on_nonfinite skip"] {
        assert!(said.contains(part), "{said:?} does not say {part}");
    }
    for policy in ["--on_nonfinite=skip", "--on_nonfinite=restore"] {
        let folder = logs.succeed(&with(&[&wild[..], &[policy]].concat()));
        assert!(json(&folder.join("results.json"))["skipped"].as_u64().unwrap() > 0, "{policy}");
    }
}

#[test]
fn a_series_is_forecast_and_so_is_its_future() {
    let logs = Logs::new();
    let folder = logs.succeed(&["--model=dnn", "--max_epochs=20"]);
    let csv = fs::read_to_string(folder.join("forecast.csv")).unwrap();
    assert_eq!((csv.lines().next(), csv.lines().count()), (Some("time,actual,forecast"), 462));
    for plot in ["series.png", "forecast.svg", "metrics.png"] {
        assert!(fs::metadata(folder.join(plot)).unwrap().len() > 5000, "{plot}");
    }
    let results = json(&folder.join("results.json"));
    let mae = results["metrics"]["val_mae"].as_f64().unwrap();
    // One batched pass of the forecast gives the validation's own figure.
    assert!((results["forecast"]["mae"]["dnn"].as_f64().unwrap() - mae).abs() < 1e-4);
    assert!((results["forecast"]["mae"]["naive"].as_f64().unwrap() - 5.938).abs() < 1e-3);

    let series = logs.path().join("line.csv");
    fs::write(&series, (0..40).map(|t| format!("{}\n", 50 + t % 7)).collect::<String>()).unwrap();
    let checkpoint = folder.join("checkpoints/best.safetensors");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_run_experiment"));
    let paths = [checkpoint.to_str().unwrap(), "--csv", series.to_str().unwrap()];
    let output = command.args(["forecast", "--steps=5", "--checkpoint"]).args(paths).output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!((text.lines().next(), text.lines().count()), (Some("step,line"), 6), "{text}");
    let values = text.lines().skip(1).map(|line| line.split(',').nth(1).unwrap().parse::<f64>().unwrap());
    assert!(values.into_iter().all(|value| (30.0..80.0).contains(&value)), "{text}");
}

#[test]
fn files_of_several_columns_and_steps_ahead() {
    let logs = Logs::new();
    let file = logs.path().join("two.csv");
    let rows = (0..300).map(|t| format!("{t},{},{}\n", (f64::from(t) / 9.0).sin(), 100 + t % 5));
    fs::write(&file, "day,a,b\n".to_owned() + &rows.collect::<String>()).unwrap();
    let args = [
        "--data=csv",
        "--time_column=day",
        "--horizon=3",
        "--scaling=standard",
        "--max_epochs=5",
        "--lr=1e-3",
    ];
    for model in ["linear", "dnn", "rnn", "lstm", "gru", "conv_lstm"] {
        let model = format!("--model={model}");
        let folder = logs.succeed(&[&[model.as_str(), "--csv", file.to_str().unwrap()], &args[..]].concat());
        let csv = fs::read_to_string(folder.join("forecast.csv")).unwrap();
        let header = "time,actual_a,actual_b,forecast_a_1,forecast_b_1,forecast_a_2,forecast_b_2,forecast_a_3,forecast_b_3";
        assert_eq!((csv.lines().next(), csv.lines().count()), (Some(header), 61), "{model}");
    }
}

#[test]
fn a_sweep_suggests_a_rate_and_the_run_uses_it() {
    let logs = Logs::new();
    let args = ["--model=dnn", "--max_epochs=2", "--lr_find_points=30"];
    let folder = logs.succeed(&[&args[..], &["--lr_find"]].concat());
    let csv = fs::read_to_string(folder.join("lr_find.csv")).unwrap();
    assert!(csv.starts_with("lr,loss\n1e-8,") && csv.lines().count() > 10, "{csv}");
    let lr = json(&folder.join("config.json"))["lit"]["optimizer"]["lr"].as_f64().unwrap();
    assert!((1e-7..1e-3).contains(&lr), "{lr}");
    // The sweep leaves no trace in the weights: the run is that of the suggested rate.
    let lr = format!("--lr={lr}");
    let alone = logs.succeed(&[&args[..], &[lr.as_str()]].concat());
    assert_eq!(weights(&folder, "last.safetensors"), weights(&alone, "last.safetensors"));
}
