//! Tests of many series in one file.

use std::fs;
use std::path::Path;
use std::process::Output;

use text_recognizer::rng::Stream;

use crate::covariates::date;
use crate::lab::{Lab, Trained, assert_error, binary, text};

/// Writes shops whose sales have a level of their own and the same week, with noise of a hundredth of the level. Shop `at` has `days[at]`
/// days; days are the outer order of the rows.
fn write_shops(path: &Path, days: &[usize]) {
    let mut random = Stream::new(9);
    let most = days.iter().max().copied().unwrap_or(0);
    let mut rows = String::from("shop,city,day,sales\n");
    for day in 0..most {
        for (shop, _) in days.iter().enumerate().filter(|(_, days)| day < **days) {
            let level = 10f64.powi(shop as i32 % 4 + 1);
            let noise = random.below(2001) as f64 / 1000.0 - 1.0;
            let week = [0.0, 0.1, 0.2, 0.1, 0.5, 0.8, 0.3][day % 7];
            let city = ["Oslo", "Rome"][shop % 2];
            let sales = level * (1.0 + week + 0.01 * noise);
            rows += &format!("shop{shop},{city},{},{sales}\n", date(day));
        }
    }
    fs::write(path, rows).unwrap();
}

fn train(lab: &Lab, file: &Path, model: &str, args: &[&str]) -> Trained {
    let mut command = binary(&["--data=csv", "--threads=1", "--device=cpu", "--json", "--model", model]);
    command.args(["--series_column=shop"]).args(args);
    Trained::of(command.arg("--csv").arg(file).arg("--log_dir").arg(lab.logs()))
}

fn forecast(run: &Trained, file: &Path, args: &[&str]) -> Output {
    let mut command = binary(&["forecast", "--checkpoint"]);
    command
        .arg(run.folder.join("checkpoints/best.safetensors"))
        .arg("--csv")
        .arg(file)
        .args(args)
        .output()
        .unwrap()
}

fn table(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn one_model_of_many_series_has_the_errors_of_each_and_forecasts_each() {
    let lab = Lab::new();
    let (file, other) = (lab.path("shops.csv"), lab.path("other.csv"));
    write_shops(&file, &[84, 70, 84, 6, 60]);
    for (model, more) in
        [("linear", &["--static_covariates=city"][..]), ("dnn", &[]), ("gru", &["--scaling=standard"])]
    {
        let args = [&["--value_columns=sales", "--window_size=7", "--max_epochs=60"], more].concat();
        let run = train(&lab, &file, model, &args);
        let results = &run.json["forecast"];
        assert_eq!(results["series"].as_object().unwrap().len(), 4, "{results}");
        assert_eq!(results["too_short"], serde_json::json!(["shop3"]));
        assert!(run.stderr.contains("left out 1 of 5 series"), "{}", run.stderr);
        let mase = |name: &str| results["series"][name]["mase"].as_f64().unwrap();
        for shop in ["shop0", "shop1", "shop2", "shop4"] {
            assert!(mase(shop) < 4.0, "{model} {shop}: {}", mase(shop));
        }
        // The mean over all rows, in the units of the series, as during training.
        let mae = results["mae"][model].as_f64().unwrap();
        assert!(
            (mae / run.metric("val_mae") - 1.0).abs() < 1e-3,
            "{model}: {mae}, {}",
            run.metric("val_mae")
        );
        assert!(mae < results["mae"]["naive"].as_f64().unwrap() / 3.0, "{results}");
        let csv = fs::read_to_string(run.folder.join("forecast.csv")).unwrap();
        assert!(csv.starts_with("series,time,actual,forecast\nshop0,2024-"), "{}", &csv[..80]);

        write_shops(&other, &[84, 70, 84, 6, 60, 56]);
        let made = table(&forecast(&run, &other, &["--steps=3"]));
        let rows: Vec<Vec<&str>> = made.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!(rows[0], ["series", "time", "sales"]);
        assert_eq!(rows.len(), 1 + 5 * 3, "{made}");
        // A shop that was not there in training, of the level 100.
        let unknown: Vec<f64> =
            rows.iter().filter(|row| row[0] == "shop5").map(|row| row[2].parse().unwrap()).collect();
        assert!(
            unknown.len() == 3 && unknown.iter().all(|value| (50.0..250.0).contains(value)),
            "{unknown:?}"
        );
    }
}

#[test]
fn baselines_of_many_series_forecast_each() {
    let lab = Lab::new();
    let file = lab.path("shops.csv");
    write_shops(&file, &[56, 56, 40]);
    let run = train(&lab, &file, "seasonal_naive", &["--value_columns=sales", "--window_size=7"]);
    assert_eq!(run.json["forecast"]["series"].as_object().unwrap().len(), 3);
    assert!(run.metric("val_mae") > 0.0);
    let by_checkpoint = table(&forecast(&run, &file, &["--steps=2"]));
    let args = [
        "forecast",
        "--model=seasonal_naive",
        "--series_column=shop",
        "--target=sales",
        "--steps=2",
        "--csv",
    ];
    let direct = table(&binary(&args).arg(&file).output().unwrap());
    assert_eq!(by_checkpoint.lines().count(), 7);
    assert_eq!(by_checkpoint, direct);
    let output = binary(&["data", "--series_column=shop", "--target=sales", "--output"])
        .arg(lab.path("plot"))
        .arg("--csv")
        .arg(&file)
        .output()
        .unwrap();
    assert!(table(&output).contains("series   3, of 40 to 56 rows"), "{}", text(&output.stdout));
}

#[test]
fn resumed_run_on_many_series_is_the_same() {
    let lab = Lab::new();
    let file = lab.path("shops.csv");
    write_shops(&file, &[56, 40, 56]);
    let args =
        ["--value_columns=sales", "--window_size=7", "--lr_schedule=constant", "--early_stop_patience=0"];
    let whole = train(&lab, &file, "linear", &[&args[..], &["--max_epochs=6"]].concat());
    let half = train(&lab, &file, "linear", &[&args[..], &["--max_epochs=3"]].concat());
    let half = half.resumed(&["--max_epochs=6", "--quiet"]);
    assert_eq!(half.json["metrics"], whole.json["metrics"]);
    assert!(half.last() == whole.last());
}

#[test]
fn impossible_runs_on_many_series_are_errors() {
    let lab = Lab::new();
    let (file, one) = (lab.path("shops.csv"), lab.path("one.csv"));
    write_shops(&file, &[8, 9]);
    let run = |args: &[&str]| {
        let mut command =
            binary(&["--model=linear", "--data=csv", "--target=sales", "--device=cpu", "--csv"]);
        command.arg(&file).args(args).arg("--log_dir").arg(lab.logs()).output().unwrap()
    };
    let error = run(&["--series_column=shop", "--window_size=30"]);
    assert_error(
        "short",
        &error,
        1,
        &["all 2 series are too short: the longest has 9 rows", "--window_size"],
    );
    let error = run(&["--static_covariates=city"]);
    assert_error("one series", &error, 1, &["--static_covariates has no effect on one series"]);
    fs::write(&one, (0..40).map(|t| format!("{}\n", t % 7)).collect::<String>()).unwrap();
    let mut command =
        binary(&["--model=linear", "--data=csv", "--max_epochs=1", "--device=cpu", "--json", "--csv"]);
    let trained = Trained::of(command.arg(&one).arg("--log_dir").arg(lab.logs()));
    let checkpoint = trained.folder.join("checkpoints/best.safetensors");
    let mut command = binary(&["forecast", "--series_column=shop", "--checkpoint"]);
    let error = command.arg(checkpoint).arg("--csv").arg(&file).output().unwrap();
    assert_error("flag of training", &error, 2, &["--series_column", "cannot be used with", "--checkpoint"]);
}
