//! A resumed run is the same experiment: the same data, the same configuration, and no other run instead.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::lab::{Lab, Trained, assert_error, binary, files, resume, tensors, text};
use serde_json::Value;

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// A CSV file of 60 rows with the columns `v` and `w`, whose values are multiplied by `scale`.
fn write_csv(path: &Path, header: &str, rows: u32, scale: f64) {
    let row = |t: u32| format!("{},{}\n", scale * f64::from(t * t % 17), scale * f64::from(t % 5));
    fs::write(path, format!("{header}\n{}", (0..rows).map(row).collect::<String>())).unwrap();
}

fn on_csv(lab: &Lab, csv: &Path) -> Trained {
    let mut command =
        binary(&["--model=linear", "--data=csv", "--lr=1e-3", "--max_epochs=2", "--device=cpu"]);
    command.args(["--threads=1", "--quiet", "--json", "--csv"]).arg(csv).arg("--log_dir").arg(lab.logs());
    Trained::of(&mut command)
}

#[test]
fn resume_with_other_data_is_an_error_that_names_the_change() {
    let lab = Lab::new();
    let csv = lab.path("a.csv");
    write_csv(&csv, "v,w", 60, 1.0);
    let run = on_csv(&lab, &csv);
    let before = files(&run.folder);
    let changes: [(&str, u32, f64, &str); 4] = [
        ("v,w", 60, 3.0, "found other values"),
        ("v,w", 59, 1.0, "found 59 rows instead of 60"),
        ("w,v", 60, 1.0, "found the columns w, v instead of v, w"),
        ("v,x", 61, 1.0, "found 61 rows instead of 60, and the columns v, x instead of v, w"),
    ];
    for (header, rows, scale, expected) in changes {
        write_csv(&csv, header, rows, scale);
        let output = resume(&run.folder, &["--max_epochs", "4"]).output().unwrap();
        assert_error(expected, &output, 1, &[expected, "--allow_changed_data"]);
        assert_eq!(files(&run.folder), before, "{expected}: files were written");
    }
    let allowed = run.resumed(&["--max_epochs=4", "--allow_changed_data"]);
    assert!(allowed.stderr.contains("warning: the data has changed: 61 rows"), "{}", allowed.stderr);
    assert_eq!(allowed.json["epochs"], 4);
    // From now on, the changed data is that of the run.
    run.resumed(&["--max_epochs=5"]);
}

/// The configuration of a run may be edited by hand; its checkpoint has the values that it was trained with.
#[test]
fn resume_with_an_edited_configuration_is_an_error_with_the_flags() {
    let lab = Lab::new();
    let run = lab.train(&[]);
    let path = run.folder.join("config.json");
    let config = fs::read_to_string(&path).unwrap();
    for (from, to, expected) in [
        ("\"seed\": 42", "\"seed\": 7", "--seed: 42 -> 7"),
        ("\"fc1\": 32", "\"fc1\": 24", "--fc1: 32 -> 24"),
        ("\"lr\": 0.001", "\"lr\": 0.5", "--lr: 0.001 -> 0.5"),
    ] {
        assert!(config.contains(from), "{from} in {config}");
        fs::write(&path, config.replace(from, to)).unwrap();
        let before = files(&run.folder);
        let output = resume(&run.folder, &["--max_epochs", "3"]).output().unwrap();
        assert_error(from, &output, 1, &["cannot resume with different values", expected]);
        assert_eq!(files(&run.folder), before, "{from}: files were written");
    }
    fs::write(&path, config.replace("\"log_every_n_steps\": 50", "\"log_every_n_steps\": 5")).unwrap();
    run.resumed(&["--max_epochs", "3", "--quiet"]);
}

/// Checkpoints do not contain what does not change the weights: the folder, the length of the run.
#[test]
fn checkpoints_of_the_same_experiment_are_the_same_bytes() {
    let lab = Lab::new();
    let other = lab.path("other");
    let whole = lab.train(&[]);
    let half = lab.train(&["--max_epochs", "1", "--log_dir", other.to_str().unwrap()]);
    let half = half.resumed(&["--max_epochs", "2", "--quiet"]);
    for name in ["checkpoints/best.safetensors", "checkpoints/last.safetensors"] {
        assert!(
            fs::read(whole.folder.join(name)).unwrap() == fs::read(half.folder.join(name)).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn average_that_depends_on_the_length_warns_when_a_resume_changes_it() {
    let lab = Lab::new();
    let run = lab.train(&["--stochastic_weight_avg"]);
    let longer = run.resumed(&["--max_epochs", "3"]);
    assert!(longer.stderr.contains("was planned for 2 epochs and is now for 3"), "{}", longer.stderr);
}

#[test]
fn resume_with_the_same_data_at_another_path_continues() {
    let lab = Lab::new();
    let (csv, moved) = (lab.path("a.csv"), lab.path("b.csv"));
    write_csv(&csv, "v,w", 60, 1.0);
    let run = on_csv(&lab, &csv);
    fs::rename(&csv, &moved).unwrap();
    let more = ["--max_epochs", "4", "--csv", moved.to_str().unwrap(), "--json", "--quiet"];
    assert_eq!(Trained::of(&mut resume(&run.folder, &more)).json["epochs"], 4);
}

/// The only column of a file without a header has the name of the file.
#[test]
fn resume_with_a_renamed_file_without_header_continues() {
    let lab = Lab::new();
    let (csv, moved) = (lab.path("a.csv"), lab.path("b.csv"));
    fs::write(&csv, (0..60).map(|t| format!("{}\n", t % 7)).collect::<String>()).unwrap();
    let run = on_csv(&lab, &csv);
    fs::rename(&csv, &moved).unwrap();
    let moved = moved.to_str().unwrap();
    // Also with nothing left to train, the run remembers the new path.
    run.resumed(&["--csv", moved, "--quiet"]);
    let longer = run.resumed(&["--max_epochs=3", "--quiet"]);
    assert_eq!(longer.json["epochs"], 3);
}

#[test]
fn allow_changed_data_without_resume_is_an_error() {
    let output = binary(&["--allow_changed_data"]).output().unwrap();
    assert_error("without resume", &output, 2, &["--resume"]);
}

#[test]
fn run_that_ended_before_its_first_checkpoint_starts_again() {
    let lab = Lab::new();
    let run = lab.train(&["--save_top_k", "2"]);
    let (metrics, best, last) = (run.metrics_text(), run.best(), run.last());
    fs::remove_dir_all(run.folder.join("checkpoints")).unwrap();
    fs::remove_file(run.folder.join("results.json")).unwrap();
    let again = run.resumed(&[]);
    assert!(again.stderr.contains("ended before its first checkpoint"), "{}", again.stderr);
    assert_eq!(again.metrics_text(), metrics);
    assert!(again.best() == best && again.last() == last);
    assert_eq!(again.json["metrics"], run.json["metrics"]);
}

/// A user who keeps only the best checkpoint must not lose it.
#[test]
fn resume_without_the_last_checkpoint_of_a_trained_run_is_an_error_and_changes_nothing() {
    let lab = Lab::new();
    let run = lab.train(&[]);
    let (best, metrics) = (run.best(), run.metrics_text());
    let checkpoints = run.folder.join("checkpoints");
    fs::remove_file(checkpoints.join("last.safetensors")).unwrap();
    for results in [true, false] {
        if !results {
            fs::remove_file(run.folder.join("results.json")).unwrap();
        }
        let logs = lab.logs();
        let last =
            binary(&["--resume", "last", "--max_epochs=1", "--log_dir", logs.to_str().unwrap()]).output();
        for output in [last.unwrap(), resume(&run.folder, &["--max_epochs", "1"]).output().unwrap()] {
            let parts = ["best.safetensors but not", "last.safetensors", "--load_checkpoint", "--config"];
            assert_error("without last", &output, 1, &parts);
        }
        assert!(run.best() == best && run.metrics_text() == metrics);
    }
    fs::remove_dir_all(&checkpoints).unwrap();
    fs::write(run.folder.join("results.json"), "{}").unwrap();
    assert_error("results", &resume(&run.folder, &[]).output().unwrap(), 1, &["results.json but not"]);
}

#[test]
fn resume_last_takes_the_latest_run_also_without_a_checkpoint() {
    let lab = Lab::new();
    let logs = lab.logs();
    let older = lab.train(&[]);
    let newer = lab.train(&["--seed", "1"]);
    fs::remove_dir_all(newer.folder.join("checkpoints")).unwrap();
    fs::remove_file(newer.folder.join("results.json")).unwrap();
    // Files of one millisecond may have the same time.
    sleep(Duration::from_millis(20));
    let config = fs::read(newer.folder.join("config.json")).unwrap();
    fs::write(newer.folder.join("config.json"), config).unwrap();
    let last = |args: &[&str]| {
        let mut command = binary(&["--resume", "last", "--json", "--log_dir"]);
        Trained::of(command.arg(&logs).args(args))
    };
    assert_eq!(last(&["--max_epochs", "1"]).folder, newer.folder);
    sleep(Duration::from_millis(20));
    Trained::of(binary(&["--model", "naive", "--json", "--log_dir"]).arg(&logs));
    let baseline = files(&logs.join("naive-series")).pop().unwrap();
    let output = resume(&logs.join("naive-series").join(baseline), &[]).output().unwrap();
    assert_error("baseline", &output, 1, &["cannot resume", "naive has no training", "try a new run"]);
    let finder =
        binary(&["--model=linear", "--lr_find=only", "--lr_find_points=5", "--log_dir"]).arg(&logs).output();
    assert!(finder.unwrap().status.success());
    let output = resume(&logs.join("linear-series/version_0"), &[]).output().unwrap();
    assert_error("finder", &output, 1, &["cannot resume", "it only searched a learning rate"]);
    let resumed = last(&["--max_epochs", "3"]);
    assert_eq!(resumed.folder, newer.folder);
    assert!(resumed.stderr.contains("passed over the later run"), "{}", resumed.stderr);
    assert_ne!(older.folder, newer.folder);
}

#[test]
fn resume_of_a_checkpoint_takes_its_run_from_any_folder() {
    let lab = Lab::new();
    let run = lab.train(&[]);
    let checkpoints = run.folder.join("checkpoints");
    for (folder, file) in [
        (checkpoints.clone(), "last.safetensors"),
        (run.folder.clone(), "checkpoints/last.safetensors"),
        (lab.path(""), "logs/mlp-mnist/version_0/checkpoints/last.safetensors"),
    ] {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data");
        let mut command = binary(&["--resume", file, "--json", "--quiet", "--data_dir"]);
        let again = Trained::of(command.arg(data).current_dir(&folder));
        assert_eq!(again.json["metrics"], run.json["metrics"], "{file} in {}", folder.display());
    }
    let alone = lab.path("alone.safetensors");
    fs::copy(checkpoints.join("last.safetensors"), &alone).unwrap();
    let output = binary(&["--resume", alone.to_str().unwrap()]).output().unwrap();
    assert_error("alone", &output, 1, &["alone.safetensors: found no", "config.json", "--load_checkpoint"]);
}

#[test]
fn resume_with_fewer_epochs_keeps_the_configuration_and_the_checkpoint() {
    let lab = Lab::new();
    let run = lab.train(&["--max_epochs", "3"]);
    let config = json(&run.folder.join("config.json"));
    let again = run.resumed(&["--max_epochs", "1", "--quiet"]);
    assert_eq!(again.json["epochs"], 3);
    assert_eq!(json(&run.folder.join("config.json")), config, "config.json reproduces the run");
    assert!(again.last() == run.last());
    let longer = run.resumed(&["--max_epochs", "4", "--quiet"]);
    assert_eq!(longer.json["epochs"], 4);
    assert_eq!(json(&run.folder.join("config.json"))["trainer"]["budget"]["max_epochs"], 4);
}

#[test]
fn schedule_that_depends_on_the_length_warns_when_a_resume_changes_it() {
    let lab = Lab::new();
    for (schedule, warns) in [("cosine", true), ("one_cycle", true), ("step", false)] {
        let run = lab.train(&["--lr_schedule", schedule]);
        let longer = run.resumed(&["--max_epochs", "3"]);
        let warned = longer.stderr.contains("was planned for 40 steps and is now for 60");
        assert_eq!(warned, warns, "{schedule}: {}", longer.stderr);
    }
}

#[test]
fn missing_best_checkpoint_is_reported_and_chosen_anew() {
    let lab = Lab::new();
    let run = lab.train(&[]);
    fs::remove_file(run.folder.join("checkpoints/best.safetensors")).unwrap();
    let longer = run.resumed(&["--max_epochs", "3"]);
    assert!(longer.stderr.contains("best.safetensors is missing"), "{}", longer.stderr);
    assert_eq!(longer.json["best"]["epoch"], 3);
    assert!(longer.best() == longer.last(), "only the third epoch was validated since then");
}

/// The validation loss is infinite in every epoch: the schedule and the choice of the best must be the same after a resume.
#[test]
fn resumed_run_with_infinite_validation_is_the_same_run() {
    let lab = Lab::new();
    let csv = lab.path("infinite.csv");
    let rows = |t: u32| if t < 240 { f64::from(t % 7) } else { 3e30 };
    fs::write(&csv, format!("v\n{}", (0..300).map(|t| format!("{}\n", rows(t))).collect::<String>()))
        .unwrap();
    let run = |epochs: &str, logs: &str| {
        let mut command =
            binary(&["--model=linear", "--data=csv", "--loss=mse", "--optimizer=adam", "--lr=1e-3"]);
        command.args(["--lr_schedule=plateau", "--lr_patience=2", "--early_stop_patience=0", "--device=cpu"]);
        command.args(["--threads=1", "--quiet", "--json", "--max_epochs", epochs, "--csv"]).arg(&csv);
        Trained::of(command.arg("--log_dir").arg(lab.path(logs)))
    };
    let whole = run("10", "whole");
    let half = run("5", "half");
    let half = half.resumed(&["--max_epochs", "10", "--quiet"]);
    assert_eq!(whole.metrics_text(), half.metrics_text());
    assert!(whole.metrics()[0]["val_loss"].is_null(), "the validation loss must be infinite");
    for name in ["best.safetensors", "last.safetensors"] {
        let of = |run: &Trained| tensors(&run.folder.join("checkpoints").join(name));
        assert!(of(&whole) == of(&half), "{name}");
    }
}

#[test]
fn max_time_counts_the_time_before_a_resume() {
    let lab = Lab::new();
    let endless = [
        "--max_epochs",
        "1000000",
        "--limit_train_batches",
        "1",
        "--max_time",
        "1",
        "--early_stop_patience=0",
    ];
    let run = lab.train(&endless);
    let again = run.resumed(&["--quiet"]);
    assert_eq!(again.json["stop"], "max_time reached");
    assert_eq!(again.json["steps"], run.json["steps"], "the time was over before");
    let more = run.resumed(&["--quiet", "--max_time", "2"]);
    assert!(more.json["steps"].as_u64() > run.json["steps"].as_u64());
}

/// Plots that cannot be written do not hide the results.
#[test]
fn results_are_printed_although_plots_and_tables_cannot_be_written() {
    let lab = Lab::new();
    let mut command =
        binary(&["--model=linear", "--max_epochs=2", "--device=cpu", "--json", "--quiet", "--log_dir"]);
    let run = Trained::of(command.arg(lab.logs()));
    for name in ["metrics.png", "forecast.csv", "series.svg", "results.json"] {
        let path = run.folder.join(name);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
    }
    let output = resume(&run.folder, &["--json"]).output().unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let json: Value = serde_json::from_str(&text(&output.stdout)).unwrap();
    assert_eq!(json["metrics"], run.json["metrics"]);
    for name in ["metrics.png", "forecast.csv", "series.svg", "results.json"] {
        assert!(stderr.contains(name), "no {name} in {stderr}");
    }
}
