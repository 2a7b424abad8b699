//! Baselines from end to end: they run, leave checkpoints and forecast as trained models do.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::lab::{Lab, Trained, assert_error, binary, files, text};

/// Writes 35 days of a weekly pattern that grows by a unit a day, from Monday, 2024-01-01 on, and returns the file.
fn sales(lab: &Lab) -> PathBuf {
    let file = lab.path("sales.csv");
    let rows = (0..35).map(|day| format!("2024-{:02}-{:02},{}\n", 1 + day / 31, 1 + day % 31, value(day)));
    fs::write(&file, "day,sales\n".to_owned() + &rows.collect::<String>()).unwrap();
    file
}

fn value(day: u32) -> u32 {
    day + 10 * (day % 7)
}

/// Returns the table that a successful `forecast` prints.
fn forecast(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", text(&output.stderr));
    text(&output.stdout)
}

/// The MASE needs a change between two rows of the training split.
#[test]
fn baseline_after_one_row_of_training_has_no_mase() {
    let lab = Lab::new();
    let csv = lab.path("two.csv");
    fs::write(&csv, "d,v\n+262142-11-30,1\n+262142-12-31,2\n").unwrap();
    let mut command =
        binary(&["--model=naive", "--data=csv", "--time_column=d", "--split_time=0.5", "--json", "--csv"]);
    let run = Trained::of(command.arg(&csv).arg("--log_dir").arg(lab.logs()));
    assert_eq!(run.metric("val_mae"), 1.0);
    assert!(run.json["forecast"]["mase"].is_null(), "{}", run.json);
}

#[test]
fn baseline_with_fast_dev_run_prints_results_and_leaves_no_folder() {
    let lab = Lab::new();
    let args = ["--model", "naive", "--fast_dev_run", "--log_dir"];
    let output = binary(&args).arg(lab.logs()).output().unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stderr}");
    for part in ["mae", "MAE of forecasts of the validation split", "no files were written"] {
        assert!(stdout.contains(part), "no {part} in {stdout}");
    }
    assert!(!lab.logs().exists());
}

#[test]
fn baseline_checkpoint_forecasts_as_the_baseline_does_and_as_on_paper() {
    let lab = Lab::new();
    let file = sales(&lab);
    let file = file.to_str().unwrap();
    let logs = lab.logs();
    let train =
        ["--model", "seasonal_naive", "--data", "csv", "--csv", file, "--time_column", "day", "--json"];
    let run = Trained::of(binary(&train).arg("--log_dir").arg(&logs));
    let expected = [".lock", "checkpoints", "config.json", "forecast.csv", "forecast.png", "forecast.svg"];
    let all = files(&run.folder);
    assert!(expected.iter().all(|name| all.iter().any(|file| file == name)), "{all:?}");
    assert_eq!(files(&run.folder.join("checkpoints")), ["best.safetensors"]);
    // Seven days of a week ago: each is seven less than the actual value.
    assert_eq!(run.metric("val_mae"), 7.0);

    let series = ["--csv", file, "--time_column", "day", "--steps", "9"];
    let of_checkpoint = forecast(
        binary(&["forecast", "--checkpoint"])
            .arg(run.folder.join("checkpoints/best.safetensors"))
            .args(series),
    );
    let of_model = forecast(binary(&["forecast", "--model", "seasonal_naive"]).args(series));
    assert_eq!(of_checkpoint, of_model);
    // The rows after 2024-02-04 repeat the last week; those after it repeat it again.
    let rows = (0..9).map(|step| format!("2024-02-{:02},{}\n", 5 + step, value(28 + step % 7)));
    assert_eq!(of_model, "time,sales\n".to_owned() + &rows.collect::<String>());
}

#[test]
fn baselines_forecast_a_file_as_on_paper() {
    let lab = Lab::new();
    let file = sales(&lab);
    let of = |args: &[&str]| {
        let mut command = binary(&["forecast", "--time_column", "day", "--steps", "2", "--csv"]);
        let table = forecast(command.arg(&file).args(args));
        let values =
            table.lines().skip(1).map(|line| line.split(',').nth(1).unwrap().parse::<f64>().unwrap());
        values.collect::<Vec<_>>()
    };
    let last = f64::from(value(34));
    assert_eq!(of(&["--model", "naive"]), [last, last]);
    let mean = f64::from(value(32) + value(33) + value(34)) / 3.0;
    let got = of(&["--model", "moving_average", "--average", "3"]);
    assert!(got.iter().all(|value| (value - mean).abs() < 1e-4), "{got:?} is not {mean}");
    // A week ago, and the growth of 7 per week.
    let got = of(&["--model", "differencing", "--difference_average", "7", "--past_average", "1"]);
    assert_eq!(got, [f64::from(value(28) + 7), f64::from(value(29) + 7)]);
    // A season of five rows.
    let got = of(&["--model", "seasonal_naive", "--season", "5"]);
    assert_eq!(got, [f64::from(value(30)), f64::from(value(31))]);
}

/// The values are a straight line plus a season, which the models of trend and season continue.
#[test]
fn statistical_models_train_and_forecast_a_file() {
    let lab = Lab::new();
    let file = sales(&lab);
    let file = file.to_str().unwrap();
    let series = ["--csv", file, "--time_column", "day"];
    for (model, note, tolerance) in [
        ("auto_ets", "ETS(", 0.5),
        ("auto_theta", "optimized theta model", 3.0),
        ("mstl", "a season of 7 rows", 1.0),
        ("croston", "Croston's method", 70.0),
        ("tsb", "Teunter", 70.0),
    ] {
        let train = [&["--model", model, "--data", "csv", "--json"], &series[..]].concat();
        let run = Trained::of(binary(&train).arg("--log_dir").arg(lab.logs()));
        assert!(run.metric("val_mae") < tolerance, "{model}: {}", run.json);
        let checkpoint = run.folder.join("checkpoints/best.safetensors");
        let steps = [&series[..], &["--steps", "9"]].concat();
        let of_checkpoint = forecast(binary(&["forecast", "--checkpoint"]).arg(checkpoint).args(&steps));
        let output = binary(&["forecast", "--model", model]).args(&steps).output().unwrap();
        assert_eq!(text(&output.stdout), of_checkpoint, "{model}");
        assert!(text(&output.stderr).contains(note), "{model}: {}", text(&output.stderr));
        let numbers =
            of_checkpoint.lines().skip(1).map(|line| line.split(',').nth(1).unwrap().parse().unwrap());
        for (number, row) in numbers.zip(35..) {
            let number: f64 = number;
            assert!((number - f64::from(value(row))).abs() < tolerance, "{model}: {of_checkpoint}");
        }
    }
}

#[test]
fn seasonal_baseline_of_a_file_without_a_season_is_an_error_with_the_flag_to_use() {
    let lab = Lab::new();
    let file = lab.path("numbers.csv");
    fs::write(&file, (0..40).map(|row| format!("{row}\n")).collect::<String>()).unwrap();
    for model in ["seasonal_naive", "differencing", "mstl"] {
        let output = binary(&["forecast", "--model", model, "--csv"]).arg(&file).output().unwrap();
        assert_error(model, &output, 1, &["season is unknown", "--season"]);
        let mut train = binary(&["--model", model, "--data", "csv", "--csv"]);
        let output = train.arg(&file).arg("--log_dir").arg(lab.logs()).output().unwrap();
        assert_error(model, &output, 1, &["season is unknown", "--season"]);
    }
    assert!(!lab.logs().exists());
    let known =
        binary(&["forecast", "--model", "seasonal_naive", "--season", "4", "--csv"]).arg(&file).output();
    assert_eq!(text(&known.unwrap().stdout), "time,numbers\n40,36\n");
}

#[test]
fn baseline_with_impossible_sizes_is_an_error_like_that_of_a_network() {
    let lab = Lab::new();
    let cases: &[(&str, &str, &[&str])] = &[
        ("horizon", "0", &["horizon is 0", "at least 1"]),
        ("horizon", "2147483648", &["461 rows long", "at least 2147483648 rows"]),
        ("horizon", "1000", &["461 rows long", "at least 1000 rows"]),
        ("window_size", "0", &["window_size is 0", "at least 1"]),
        ("stride", "0", &["stride is 0", "at least 1"]),
        ("shift", "0", &["shift is 0", "at least 1"]),
        ("season", "0", &["season is 0", "at least 1"]),
        ("average", "0", &["average is 0", "at least 1"]),
        ("difference_average", "0", &["difference_average is 0", "at least 1"]),
        ("past_average", "0", &["past_average is 0", "at least 1"]),
        ("seasons", "7,0", &["seasons is 0", "at least 1"]),
    ];
    for model in ["linear", "naive", "moving_average", "seasonal_naive", "differencing"] {
        for (flag, value, parts) in cases {
            let mut command = binary(&["--model", model, "--data=series", &format!("--{flag}={value}")]);
            let output = command.arg("--log_dir").arg(lab.logs()).output().unwrap();
            assert_error(&format!("{model} {flag} {value}"), &output, 1, parts);
        }
    }
    assert!(!lab.logs().exists());
    let file = sales(&lab);
    for flag in ["season", "seasons", "average", "difference_average", "past_average"] {
        let mut command = binary(&["forecast", "--model=naive", &format!("--{flag}=0"), "--time_column=day"]);
        let output = command.arg("--csv").arg(&file).output().unwrap();
        assert_error(flag, &output, 1, &[&format!("{flag} is 0"), "at least 1"]);
    }
}

#[test]
fn training_flags_typed_for_a_baseline_are_an_error_and_those_of_a_file_have_no_effect() {
    let lab = Lab::new();
    for (args, part) in [
        (&["--lr=0.1"][..], "cannot use --lr with naive: naive has no training"),
        (&["--loss", "mse", "--max-epochs=3"], "cannot use --loss, --max_epochs with naive"),
        (&["--lr_find"], "cannot use --lr_find with naive"),
        (&["--seed=1", "--fast_dev_run"], "cannot use --seed with naive"),
    ] {
        let mut command = binary(&["--model=naive"]);
        let output = command.args(args).arg("--log_dir").arg(lab.logs()).output().unwrap();
        assert_error(part, &output, 1, &[part]);
    }
    let config = lab.path("config.json");
    fs::write(&config, r#"{"model": "naive", "data": "series", "lit": {"lr": 0.1}, "max_epochs": 3}"#)
        .unwrap();
    let mut command = binary(&["--fast_dev_run", "--device=cpu", "--threads=1", "--config"]);
    let output = command.arg(&config).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}
