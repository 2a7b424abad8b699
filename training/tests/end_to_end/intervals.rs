//! Prediction intervals: of runs, and of forecasts of the future.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use text_recognizer::rng::Mt19937;

use crate::lab::{Lab, Trained, assert_error, binary, text};

/// Writes 1,200 days with a week and noise of std 1.
fn weeks(lab: &Lab) -> PathBuf {
    let mut noise = Mt19937::new(3);
    let file = lab.path("weeks.csv");
    let rows = (0..1200).map(|t| format!("{},{}\n", t, 50.0 + 5.0 * f64::from(t % 7) + noise.randn()));
    fs::write(&file, "t,y\n".to_owned() + &rows.collect::<String>()).unwrap();
    file
}

fn train(lab: &Lab, csv: &Path, args: &[&str]) -> Trained {
    let mut command = binary(args);
    command.args(["--data=csv", "--time_column=t", "--season=7", "--threads=1", "--device=cpu", "--json"]);
    Trained::of(command.arg("--log_dir").arg(lab.logs()).arg("--csv").arg(csv))
}

/// Returns the percent of the test split within the intervals of a level, which `results.json` has.
fn percent(json: &Value, level: u64) -> f64 {
    let levels = json["coverage"]["levels"].as_array().unwrap();
    levels.iter().find(|of| of["level"] == level).unwrap()["percent"].as_f64().unwrap()
}

fn numbers(line: &str) -> Vec<f64> {
    line.split(',').skip(1).map(|cell| cell.parse().unwrap()).collect()
}

#[test]
fn coverage_of_every_model_on_the_test_split_is_measured() {
    let lab = Lab::new();
    let csv = weeks(&lab);
    for model in ["linear", "seasonal_naive", "moving_average"] {
        let run = train(&lab, &csv, &["--model", model, "--split_time=0.5", "--test_time=0.75"]);
        assert_eq!(run.json["coverage"]["rows"], "the test split", "{model}");
        assert!((65.0..95.0).contains(&percent(&run.json, 80)), "{model}: {}", run.json["coverage"]);
        assert!((85.0..=100.0).contains(&percent(&run.json, 95)), "{model}: {}", run.json["coverage"]);
        assert!(run.json["test_forecast"]["mae"][model].as_f64().unwrap() > 0.0);
        let table = fs::read_to_string(run.folder.join("test_forecast.csv")).unwrap();
        assert_eq!(table.lines().next(), Some("time,actual,forecast,lo-80,hi-80,lo-95,hi-95"));
        assert_eq!(table.lines().count(), 301);
        let svg = fs::read_to_string(run.folder.join("test_forecast.svg")).unwrap();
        assert!(svg.contains(">80 %<") && svg.contains(">95 %<"));
    }
}

#[test]
fn coverage_without_a_test_split_is_that_of_half_of_the_validation_split() {
    let lab = Lab::new();
    let run = train(&lab, &weeks(&lab), &["--model=linear", "--split_time=1140", "--level", "50", "99"]);
    let coverage = &run.json["coverage"];
    assert!(coverage["rows"].as_str().unwrap().starts_with("the second half"), "{coverage}");
    // 30 errors are too few for 99 %.
    assert_eq!((&coverage["levels"][0]["values"], &coverage["left_out"][0]), (&30.into(), &99.into()));
}

#[test]
fn forecast_with_levels_has_intervals_around_each_step_and_a_plot() {
    let lab = Lab::new();
    let csv = weeks(&lab);
    let run = train(&lab, &csv, &["--model=linear", "--horizon=3", "--split_time=1140"]);
    let best = run.folder.join("checkpoints/best.safetensors");
    let forecast = |args: &[&str]| {
        let mut command = binary(&["forecast", "--time_column=t", "--csv"]);
        command.arg(&csv).args(args).output().unwrap()
    };
    let best = best.to_str().unwrap();
    let stem = lab.path("future");
    let plotted = ["--checkpoint", best, "--level", "80", "95", "--plot", stem.to_str().unwrap()];
    for args in [&plotted[..], &["--model=naive", "--steps=3", "--level=80,95"]] {
        let output = forecast(args);
        let table = text(&output.stdout);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(table.lines().next(), Some("time,y,y-lo-80,y-hi-80,y-lo-95,y-hi-95"), "{table}");
        assert_eq!(table.lines().count(), 4);
        for line in table.lines().skip(1) {
            let [y, low80, high80, low95, high95] = numbers(line)[..] else { panic!("{line}") };
            assert!(low95 <= low80 && low80 < y && y < high80 && high80 <= high95, "{line}");
        }
    }
    let svg = fs::read_to_string(stem.with_extension("svg")).unwrap();
    assert!(svg.contains(">80 %<") && svg.contains("forecast of 3 steps after the last row"));
    assert!(stem.with_extension("png").exists());

    let later = forecast(&["--checkpoint", best, "--steps=4", "--level=80"]);
    assert_error("later", &later, 1, &["intervals of 4 steps", "of 3 steps", "--horizon"]);
    let high = forecast(&["--checkpoint", best, "--level=99"]);
    assert_error("high", &high, 1, &["level 99", "found 58 errors", "at least 99"]);
    assert_error("100", &forecast(&["--model=naive", "--level=100"]), 2, &["from 1 to 99"]);
    let recursive = forecast(&["--checkpoint", best, "--steps=4"]);
    assert!(text(&recursive.stderr).contains("forecasts 3 steps at once"), "{}", text(&recursive.stderr));
}

#[test]
fn test_split_with_zeros_has_the_number_of_values_of_its_own_mape() {
    let lab = Lab::new();
    let file = lab.path("counts.csv");
    let rows = (0..200).map(|t| format!("{t},{}\n", if t % 4 == 0 { 3 + t % 3 } else { 0 }));
    fs::write(&file, "t,y\n".to_owned() + &rows.collect::<String>()).unwrap();
    let mut command =
        binary(&["--model=naive", "--data=csv", "--time_column=t", "--device=cpu", "--log_dir"]);
    let args = ["--split_time=100", "--test_time=140", "--csv"];
    let output = command.arg(lab.logs()).args(args).arg(&file).output().unwrap();
    let table = text(&output.stdout);
    for (stage, nonzero, all) in [("val", 10, 40), ("test", 15, 60)] {
        let line = table.lines().find(|line| line.contains(&format!("{stage}_mape"))).unwrap_or(&table);
        assert!(line.contains(&format!("over the {nonzero} of {all} values")), "{table}");
    }
}
