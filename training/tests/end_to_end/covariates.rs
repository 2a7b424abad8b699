//! Tests of forecasts with covariates.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use text_recognizer::rng::Stream;

use crate::lab::{Lab, Trained, assert_error, binary, text};

/// Returns the days of a promotion: about one in three.
fn promotions(days: usize) -> Vec<u64> {
    let mut random = Stream::new(11);
    (0..days).map(|_| u64::from(random.below(3) == 0)).collect()
}

/// Returns the day `at` of 2024, from 0, as a date.
pub fn date(at: usize) -> String {
    let months = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut left = at;
    let month = months.iter().position(|&days| {
        let is_it = left < days;
        left -= if is_it { 0 } else { days };
        is_it
    });
    format!("2024-{:02}-{:02}", month.unwrap() + 1, left + 1)
}

/// Writes 120 days of sales: 100, or 150 on a day with a promotion, with noise that is uniform from -1.5 to 1.5, and `later` days
/// that have only their promotion.
fn write_sales(path: &Path, later: usize) {
    let mut random = Stream::new(5);
    let rows = promotions(120 + later).into_iter().enumerate().map(|(day, promo)| {
        let noise = random.below(3001) as f64 / 1000.0 - 1.5;
        let sales = if day < 120 { (100.0 + 50.0 * promo as f64 + noise).to_string() } else { String::new() };
        format!("{},{sales},{promo}\n", date(day))
    });
    fs::write(path, "day,sales,promo\n".to_owned() + &rows.collect::<String>()).unwrap();
}

/// Writes the promotions of days after the 120 days of sales.
fn write_future(path: &Path, days: usize) {
    let rows = promotions(120 + days).into_iter().enumerate().skip(120);
    let rows = rows.map(|(day, promo)| format!("{},{promo}\n", date(day)));
    fs::write(path, "day,promo\n".to_owned() + &rows.collect::<String>()).unwrap();
}

/// Trains on a file.
fn train(lab: &Lab, file: &Path, model: &str, args: &[&str]) -> Trained {
    let mut command =
        binary(&["--data=csv", "--threads=1", "--device=cpu", "--json", "--quiet", "--model", model]);
    Trained::of(command.args(args).arg("--csv").arg(file).arg("--log_dir").arg(lab.logs()))
}

fn forecast(run: &Trained, file: &Path, args: &[&str]) -> Output {
    let checkpoint: PathBuf = run.folder.join("checkpoints/best.safetensors");
    let mut command = binary(&["forecast", "--checkpoint"]);
    command.arg(checkpoint).arg("--csv").arg(file).args(args).output().unwrap()
}

fn table(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

const PROMO: &[&str] = &["--target=sales", "--future_covariates=promo", "--scaling=standard"];

/// No rule without the promotion has an error below 8. The mean absolute noise is 0.75.
#[test]
fn network_with_a_covariate_that_is_known_beforehand_has_the_error_of_the_noise() {
    let lab = Lab::new();
    let (file, whole, future) = (lab.path("sales.csv"), lab.path("whole.csv"), lab.path("future.csv"));
    write_sales(&file, 0);
    write_sales(&whole, 10);
    write_future(&future, 10);
    for (model, horizon) in [("linear", 1), ("dnn", 5), ("gru", 5)] {
        let horizon = format!("--horizon={horizon}");
        let args = [PROMO, &[&horizon, "--window_size=5"]].concat();
        let run = train(&lab, &file, model, &args);
        let (mae, naive) = (run.metric("val_mae"), run.json["forecast"]["mae"]["naive"].as_f64().unwrap());
        assert!(mae < 1.6 && naive > 8.0, "{model}: {mae}, naive {naive}");
        // The same with more rows: they have no target.
        let other = train(&lab, &whole, model, &args);
        assert_eq!(other.json["metrics"], run.json["metrics"], "{model}");

        let by_file = table(&forecast(&run, &file, &["--future", future.to_str().unwrap(), "--steps=5"]));
        assert_eq!(by_file, table(&forecast(&run, &whole, &["--steps=5"])), "{model}");
        assert_eq!((by_file.lines().next(), by_file.lines().count()), (Some("time,sales"), 6));
        for (line, promo) in by_file.lines().skip(1).zip(&promotions(130)[120..]) {
            let value: f64 = line.split(',').nth(1).unwrap().parse().unwrap();
            let expected = 100.0 + 50.0 * *promo as f64;
            assert!((value - expected).abs() < 6.0, "{model}: {line}, expected {expected}");
        }
        let further = table(&forecast(&run, &whole, &["--steps=10"]));
        assert!(further.starts_with(&by_file) && further.contains(&date(129)), "{further}");
        let error = forecast(&run, &whole, &["--steps=11"]);
        assert_error(
            model,
            &error,
            1,
            &["cannot forecast 11 steps", "found 10 rows after the last target", "promo"],
        );
        let error = forecast(&run, &file, &[]);
        assert_error(
            model,
            &error,
            1,
            &["found 0 rows after the last target with all of promo", "--future FILE"],
        );
    }
}

#[test]
fn forecast_with_past_covariates_or_features_of_timestamps_needs_no_later_rows() {
    let lab = Lab::new();
    let file = lab.path("sales.csv");
    write_sales(&file, 0);
    let past = train(&lab, &file, "linear", &["--target=sales", "--past_covariates=promo", "--horizon=3"]);
    assert_eq!(table(&forecast(&past, &file, &[])).lines().count(), 4);
    let error = forecast(&past, &file, &["--steps=4"]);
    let parts = ["cannot forecast 4 steps", "the past covariates promo", "expected at most 3 steps"];
    assert_error("past", &error, 1, &parts);
    let features = ["--target=sales", "--calendar=weekday,month", "--fourier=7:2", "--horizon=3"];
    let features = train(&lab, &file, "linear", &features);
    assert_eq!(table(&forecast(&features, &file, &["--steps=8"])).lines().count(), 9);
    let error = forecast(&features, &file, &["--future", file.to_str().unwrap()]);
    assert_error("no covariates", &error, 1, &["cannot use --future", "the model has no future covariates"]);
    let error = forecast(&features, &file, &["--target=sales"]);
    assert_error("flag of training", &error, 2, &["--target", "cannot be used with", "--checkpoint"]);
}

/// Columns are matched by name, and a baseline needs only its targets.
#[test]
fn forecast_with_covariates_finds_its_columns_in_another_file() {
    let lab = Lab::new();
    let (file, other) = (lab.path("sales.csv"), lab.path("other.csv"));
    write_sales(&file, 3);
    let text = fs::read_to_string(&file).unwrap();
    let swapped = text.lines().map(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        format!("{},x,{},{}\n", cells[2], cells[0], cells[1])
    });
    fs::write(&other, swapped.collect::<String>()).unwrap();
    let run = train(&lab, &file, "linear", &[PROMO, &["--horizon=3"]].concat());
    let expected = table(&forecast(&run, &file, &[]));
    assert_eq!(table(&forecast(&run, &other, &["--time_column=day"])), expected);
    let without = lab.path("without.csv");
    fs::write(&without, "day,sales\n2024-01-01,1\n2024-01-02,2\n").unwrap();
    let error = forecast(&run, &without, &[]);
    assert_error("without", &error, 1, &["cannot match column promo", "found sales, expected sales, promo"]);

    let naive = train(&lab, &file, "naive", &["--target=sales", "--future_covariates=promo"]);
    assert_eq!(table(&forecast(&naive, &without, &[])), "time,sales\n2024-01-03,2\n");
    let direct =
        binary(&["forecast", "--model=naive", "--target=sales", "--csv"]).arg(&without).output().unwrap();
    assert_eq!(table(&direct), "time,sales\n2024-01-03,2\n");

    // The columns of files without names have numbers.
    let (bare, reversed) =
        (lab.path("bare.csv"), ["--target=2", "--future_covariates=1", "--scaling=standard"]);
    let rows = promotions(120)
        .into_iter()
        .enumerate()
        .map(|(t, promo)| format!("{t},{promo},{}\n", 100 + 50 * promo));
    fs::write(&bare, rows.collect::<String>() + "120,1,\n").unwrap();
    let run =
        train(&lab, &bare, "linear", &[&reversed[..], &["--time_column=0", "--window_size=1"]].concat());
    assert!(run.metric("val_mae") < 1.0, "{}", run.metric("val_mae"));
    let made = table(&forecast(&run, &bare, &["--time_column=0"]));
    let value: f64 = made.lines().nth(1).unwrap().split(',').nth(1).unwrap().parse().unwrap();
    assert!(made.starts_with("time,2\n120,") && (value - 150.0).abs() < 2.0, "{made}");
}

#[test]
fn resumed_run_with_covariates_is_the_same_and_other_roles_are_an_error() {
    let lab = Lab::new();
    let file = lab.path("sales.csv");
    write_sales(&file, 2);
    let args = [PROMO, &["--calendar=weekday", "--lr_schedule=constant", "--early_stop_patience=0"]].concat();
    let whole = train(&lab, &file, "linear", &[&args[..], &["--max_epochs=6"]].concat());
    let half = train(&lab, &file, "linear", &[&args[..], &["--max_epochs=3"]].concat());
    let half = half.resumed(&["--max_epochs=6", "--quiet"]);
    assert_eq!(half.json["metrics"], whole.json["metrics"]);
    assert!(half.last() == whole.last());
    let mut other = binary(&["--max_epochs=7", "--target=promo", "--future_covariates=sales", "--resume"]);
    let output = other.arg(&half.folder).output().unwrap();
    assert_error("other roles", &output, 1, &["--target: [\"sales\"] -> [\"promo\"]", "--future_covariates"]);
}

#[test]
fn data_preview_shows_roles_and_features() {
    let lab = Lab::new();
    let file = lab.path("sales.csv");
    write_sales(&file, 2);
    let plot = lab.path("plot");
    let preview = |args: &[&str]| {
        let mut command =
            binary(&["data", "--target=sales", "--future_covariates=promo", "--calendar=weekday"]);
        text(&command.args(args).arg("--csv").arg(&file).arg("--output").arg(&plot).output().unwrap().stdout)
    };
    let shown = preview(&[]);
    for part in [
        "rows     120",
        "features weekday",
        "--target",
        "--future_covariates",
        "the last 2 rows have no target",
    ] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    let json: serde_json::Value = serde_json::from_str(&preview(&["--json"])).unwrap();
    assert_eq!((&json["later_rows"], &json["columns"][1]["role"]), (&2.into(), &"future_covariates".into()));
}
