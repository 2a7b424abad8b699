//! Tests of the output files and the flags of the binary, on a small part of the real data.

use std::fs;

use crate::lab::{Lab, Trained, binary, files, text};
use serde_json::Value;
use tch::{Tensor, kind};
use text_recognizer::checkpoint;

#[test]
fn run_writes_its_folder_and_prints_its_results_last() {
    let lab = Lab::new();
    let output = lab.small(&[]).output().unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stderr}");
    let lines: Vec<&str> = stdout.lines().collect();
    let folder = lab.logs().join("mlp-mnist/version_0");
    assert_eq!(lines.len(), 6, "{stdout}");
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["val", "test"]);
    assert!(lines[1].starts_with("loss") && lines[2].starts_with("acc"), "{stdout}");
    assert!(lines[3].starts_with("2 epochs, 40 steps"), "{stdout}");
    assert_eq!(lines[5], folder.to_str().unwrap());
    for part in ["[batch, 32]", "25120", "25818 parameters", " 1/2 ", " 2/2 ", "val_loss"] {
        assert!(stderr.contains(part), "no {part} in {stderr}");
    }

    let (events, rest): (Vec<_>, Vec<_>) =
        files(&folder).into_iter().partition(|name| name.contains("tfevents"));
    assert!(events.len() == 2 && events[1] == format!("{}.end", events[0]), "{events:?}");
    assert_eq!(
        rest,
        [
            ".lock",
            "checkpoints",
            "config.json",
            "metrics.jsonl",
            "metrics.png",
            "metrics.svg",
            "results.json"
        ]
    );
    assert_eq!(
        files(&folder.join("checkpoints")),
        ["best.safetensors", "last.safetensors", "last.state-40.safetensors"]
    );
    let config: Value =
        serde_json::from_str(&fs::read_to_string(folder.join("config.json")).unwrap()).unwrap();
    assert_eq!((&config["model"], &config["model_config"]["fc1"]), (&"mlp".into(), &32.into()));

    let second = lab.train(&["--quiet"]);
    assert_eq!(second.folder, lab.logs().join("mlp-mnist/version_1"));
    assert_eq!(second.stderr, "", "--quiet");
    let results: Value =
        serde_json::from_str(&fs::read_to_string(second.folder.join("results.json")).unwrap()).unwrap();
    assert_eq!(results, second.json);
    assert_eq!(second.metrics().len(), 3, "two epochs and the test metrics");
    assert_eq!((second.json["epochs"].as_u64(), second.json["steps"].as_u64()), (Some(2), Some(40)));
}

#[test]
fn same_seed_and_configuration_give_the_same_bits() {
    let lab = Lab::new();
    let first = lab.train(&["--seed", "7"]);
    let same = |other: &Trained, label: &str| {
        assert!(first.best() == other.best() && first.last() == other.last(), "{label}: weights differ");
        assert_eq!(first.metrics_text(), other.metrics_text(), "{label}");
        assert_eq!(first.json["metrics"], other.json["metrics"], "{label}");
    };
    same(&lab.train(&["--seed", "7"]), "the same seed");
    let config = first.folder.join("config.json");
    same(
        &Trained::of(&mut binary(&["--config", config.to_str().unwrap(), "--json"])),
        "the config.json of the run",
    );
    let other = lab.train(&["--seed", "8"]);
    assert!(first.best() != other.best() && first.metrics_text() != other.metrics_text());
}

#[test]
fn overfit_of_one_batch_reaches_accuracy_1() {
    let lab = Lab::new();
    let run = lab.train(&[
        "--overfit_batches",
        "1",
        "--batch_size",
        "32",
        "--max_epochs",
        "80",
        "--dropout",
        "0",
        "--lr",
        "0.01",
    ]);
    assert_eq!(run.column("train_acc").last(), Some(&1.0));
    assert_eq!(run.metric("val_acc"), 1.0, "the validation uses the same batch");
    assert_eq!(run.json["steps"], 80);
}

#[test]
fn mode_max_selects_the_largest_metric() {
    let lab = Lab::new();
    let best = |more: &[&str]| {
        let run = lab.train(&[&["--max_epochs", "4", "--limit_train_batches", "10"], more].concat());
        let epoch = run.json["best"]["epoch"].as_u64().unwrap() as usize - 1;
        (run.column("val_acc"), run.column("val_loss"), epoch)
    };
    let most = |values: &[f64]| values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (acc, _, epoch) = best(&["--checkpoint_monitor", "val_acc", "--checkpoint_mode", "max"]);
    assert_eq!(acc[epoch], most(&acc));
    let (_, loss, epoch) = best(&["--checkpoint_mode", "max"]);
    assert_eq!(loss[epoch], most(&loss));
    let stopped = ["--early_stop_mode", "max", "--patience", "1"];
    let (_, loss, _) = best(&stopped);
    assert_eq!(loss.len(), 2, "a falling loss is no improvement: {loss:?}");
}

#[test]
fn fast_dev_run_trains_one_batch_and_writes_no_files() {
    let lab = Lab::new();
    let run = lab.train(&["--fast_dev_run"]);
    assert_eq!((run.json["steps"].as_u64(), run.json["folder"].as_str()), (Some(1), None));
    assert!(run.metric("test_loss").is_finite());
    assert!(!lab.logs().exists());
}

#[test]
fn load_checkpoint_starts_a_new_run_from_its_weights() {
    let lab = Lab::new();
    let first = lab.train(&[]);
    let best = first.folder.join("checkpoints/best.safetensors");
    // This learning rate is too small to change a weight in single precision.
    let still = ["--load_checkpoint", best.to_str().unwrap(), "--optimizer", "sgd", "--lr", "1e-30"];
    let second = lab.train(&still);
    assert_ne!(second.folder, first.folder);
    assert!(second.last() == first.best());
    assert_eq!(second.metric("test_loss"), first.metric("test_loss"));
    assert_eq!(second.metrics()[0]["step"], 20, "a new run counts from 0");
}

#[test]
fn budgets_and_validation_intervals_give_the_expected_lines() {
    let lab = Lab::new();
    // The flags, and (epoch, step, validated) of each line of metrics.
    type Lines = &'static [(u64, u64, bool)];
    let cases: &[(&[&str], Lines)] = &[
        (&["--max_steps", "27"], &[(1, 20, true), (1, 27, true)]),
        (&["--max_time", "0"], &[]),
        (&["--max_epochs", "1", "--limit_train_batches", "0.01"], &[(1, 4, true)]),
        (&["--max_steps", "20"], &[(1, 20, true)]),
        (
            &["--max_epochs", "3", "--check_val_every_n_epoch", "2"],
            &[(1, 20, false), (2, 40, true), (3, 60, false)],
        ),
        (&["--max_epochs", "1", "--val_check_interval", "8"], &[(0, 8, true), (0, 16, true), (1, 20, false)]),
        (&["--max_epochs", "1", "--val_check_interval", "0.5"], &[(0, 10, true), (1, 20, true)]),
        (&["--max_epochs", "1", "--limit_val_batches", "0"], &[(1, 20, false)]),
        (&["--max_epochs", "1", "--accumulate_grad_batches", "3"], &[(1, 7, true)]),
        // Batches 5, 10, 15 and 20 belong to steps 2, 4, 5 and 7.
        (
            &["--max_epochs", "1", "--val_check_interval", "5", "--accumulate_grad_batches", "3"],
            &[(0, 2, true), (0, 4, true), (0, 5, true), (1, 7, true)],
        ),
    ];
    for (args, expected) in cases {
        let lines: Vec<(u64, u64, bool)> = lab
            .train(args)
            .metrics()
            .iter()
            .filter(|line| line.get("train_loss").is_some())
            .map(|line| {
                let number = |key: &str| line[key].as_u64().unwrap();
                (number("epoch"), number("step"), line.get("val_loss").is_some())
            })
            .collect();
        assert_eq!(&lines, expected, "{args:?}");
    }
}

#[test]
fn two_accumulated_half_batches_equal_one_batch() {
    let lab = Lab::new();
    let whole = lab.train(&["--dropout", "0", "--batch_size", "128", "--limit_train_batches", "10"]);
    let halves = lab.train(&[
        "--dropout",
        "0",
        "--batch_size",
        "64",
        "--limit_train_batches",
        "20",
        "--accumulate_grad_batches",
        "2",
    ]);
    assert_eq!(whole.json["steps"], halves.json["steps"]);
    for name in ["train_loss", "train_acc"] {
        for (a, b) in whole.column(name).iter().zip(halves.column(name)) {
            assert!((a - b).abs() < 1e-4, "{name}: {a} and {b}");
        }
    }
}

#[test]
fn gradient_norm_is_logged_and_clipping_shrinks_the_step() {
    let lab = Lab::new();
    let sgd = ["--optimizer", "sgd", "--lr", "0.1", "--log_every_n_steps", "1", "--track_grad_norm"];
    let with = |more: &[&str]| lab.train(&[&sgd[..], more].concat());
    let free = with(&[]);
    let norms = free.column("grad_norm");
    assert_eq!(norms.len(), 40);
    assert!(norms.iter().all(|norm| norm.is_finite() && *norm > 0.0), "{norms:?}");
    assert_eq!(free.column("train_loss_step").len(), 40);
    for algorithm in ["norm", "value"] {
        let clipped = with(&["--gradient_clip_val", "1e-12", "--gradient_clip_algorithm", algorithm]);
        assert_eq!(clipped.column("grad_norm")[0], norms[0], "the logged norm is that before clipping");
        let moved = |run: &Trained| (run.column("val_loss")[1] - run.column("val_loss")[0]).abs();
        assert!(moved(&clipped) < 1e-6 && moved(&free) > 1e-3, "{algorithm}");
    }
}

#[test]
fn precision_64_and_bf16_change_the_loss_slightly() {
    let lab = Lab::new();
    let single = lab.train(&["--dropout", "0"]);
    for (precision, kind, tolerance) in [("64", "F64", 1e-4), ("bf16", "F32", 0.05)] {
        let run = lab.train(&["--dropout", "0", "--precision", precision]);
        assert!(run.best().values().all(|(got, ..)| got == kind), "{precision}");
        let (got, expected) = (run.metric("val_loss"), single.metric("val_loss"));
        assert!((got - expected).abs() < tolerance && got != expected, "{precision}: {got}, {expected}");
    }
}

#[test]
fn averaged_weights_are_evaluated_and_do_not_change_training() {
    let lab = Lab::new();
    let ten =
        |more: &[&str]| lab.train(&[&["--max_epochs", "10", "--limit_train_batches", "4"], more].concat());
    let (plain, ema, swa) = (ten(&[]), ten(&["--ema_decay", "0.9"]), ten(&["--stochastic_weight_avg"]));
    for averaged in [&ema, &swa] {
        assert_eq!(averaged.column("train_loss"), plain.column("train_loss"));
        assert!(averaged.last() == plain.last(), "the last checkpoint has the trained weights");
        assert!(averaged.best() != plain.best());
    }
    let (plain, ema, swa) = (plain.column("val_loss"), ema.column("val_loss"), swa.column("val_loss"));
    assert!(ema.iter().zip(&plain).all(|(a, b)| a != b));
    // Averaging starts at 80 % of the epochs. The average of one epoch equals its weights, that of two does not.
    assert_eq!(swa[..9], plain[..9]);
    assert_ne!(swa[9], plain[9]);
}

#[test]
fn patience_stops_a_run_without_improvement() {
    let lab = Lab::new();
    let still = ["--optimizer", "sgd", "--lr", "1e-30", "--max_epochs", "50", "--limit_train_batches", "2"];
    for (more, epochs) in [(&["--patience", "2"][..], 3), (&["--patience", "2", "--min_epochs", "5"], 5)] {
        let run = lab.train(&[&still[..], more].concat());
        assert_eq!(run.json["epochs"], epochs, "{more:?}");
        assert!(run.json["stop"].as_str().unwrap().contains("val_loss has not improved"));
    }
}

#[test]
fn save_top_k_keeps_the_best_checkpoints() {
    let lab = Lab::new();
    let run = lab.train(&["--max_epochs", "5", "--save_top_k", "3", "--limit_train_batches", "10"]);
    let val_loss = run.column("val_loss");
    let mut order: Vec<usize> = (0..5).collect();
    order.sort_by(|&a, &b| val_loss[a].total_cmp(&val_loss[b]));
    let mut expected: Vec<String> =
        order[..3].iter().map(|at| format!("epoch={}-step={}.safetensors", at + 1, (at + 1) * 10)).collect();
    expected.sort();
    let kept: Vec<String> = files(&run.folder.join("checkpoints"))
        .into_iter()
        .filter(|name| name.starts_with("epoch="))
        .collect();
    assert_eq!(kept, expected);
    let best = format!("checkpoints/epoch={0}-step={0}0.safetensors", order[0] + 1);
    assert!(crate::lab::tensors(&run.folder.join(best)) == run.best());
    assert_eq!(run.json["best"]["epoch"], order[0] + 1);
    assert_eq!(run.metric("val_loss"), val_loss[order[0]], "results are those of the best weights");
}

#[test]
fn nonfinite_loss_is_an_error_with_its_step_or_is_skipped() {
    let lab = Lab::new();
    let explode = ["--optimizer", "sgd", "--lr", "1e30", "--dropout", "0", "--early_stop_patience", "0"];
    let output = lab.small(&explode).output().unwrap();
    let parts = ["NaN or infinite in step 2 (epoch 1, batch 2, rows ", "(128 rows)", "layer", "fc", "--lr"];
    crate::lab::assert_error("stop", &output, 1, &parts);
    for policy in ["skip", "restore"] {
        let run = lab.train(&[&explode[..], &["--on_nonfinite", policy]].concat());
        let (steps, skipped) = (run.json["steps"].as_u64().unwrap(), run.json["skipped"].as_u64().unwrap());
        assert!(skipped > 0, "{policy}");
        assert_eq!(steps + skipped, 40, "{policy}: each batch is a step or is skipped");
        assert_eq!(run.json["epochs"], 2, "{policy}");
    }
}

/// The ReLU after the layer makes its infinite output 0, so that the loss is finite.
#[test]
fn detect_anomaly_reports_the_first_layer_with_nonfinite_output() {
    let lab = Lab::new();
    let path = lab.path("weights.safetensors");
    let shapes = [("hidden.0", 10, 20), ("hidden.1", 10, 10), ("dense", 1, 10)];
    let weights = shapes.into_iter().flat_map(|(layer, outputs, inputs)| {
        let weight = Tensor::full([outputs, inputs], 0.1, kind::FLOAT_CPU);
        let bias = Tensor::full([outputs], 1.0, kind::FLOAT_CPU);
        [(format!("{layer}.weight"), weight), (format!("{layer}.bias"), bias)]
    });
    let weights: Vec<_> = weights.collect();
    // All values of the series are above 1, so that the output of the layer is -infinity.
    let _ = weights[0].1.shallow_clone().fill_(-3e38);
    checkpoint::write(&path, &weights, &Value::Null).unwrap();
    let train = |more: &[&str]| {
        let args =
            ["--model=dnn", "--baseline=100", "--max_epochs=1", "--json", "--quiet", "--load_checkpoint"];
        let mut command = binary(&args);
        command.arg(&path).arg("--log_dir").arg(lab.logs()).args(more);
        command
    };
    Trained::of(&mut train(&[]));
    let output = train(&["--detect_anomaly"]).output().unwrap();
    let parts = ["NaN or infinite in step 1 ", "the first layer with a non-finite output is hidden.0"];
    crate::lab::assert_error("detect_anomaly", &output, 1, &parts);
}

#[test]
fn run_with_nonfinite_loss_keeps_its_best_checkpoint() {
    let lab = Lab::new();
    // The first epoch is good. The learning rate of the second is far too large.
    let args = [
        "--dropout",
        "0",
        "--optimizer",
        "sgd",
        "--lr_schedule",
        "exponential",
        "--lr_epochs_per_decade",
        "0.03",
    ];
    let output = lab.small(&args).output().unwrap();
    crate::lab::assert_error("explodes", &output, 1, &["NaN or infinite", "epoch 2"]);
    assert!(lab.logs().join("mlp-mnist/version_0/checkpoints/best.safetensors").is_file());
}
