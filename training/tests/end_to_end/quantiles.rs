//! Networks that forecast quantiles: their errors, their intervals, and their checkpoints.

use std::fs;
use std::path::{Path, PathBuf};

use text_recognizer::rng::Mt19937;

use crate::lab::{Lab, Trained, assert_error, binary, text};

/// Writes 2,000 days with a week, whose noise has a std of 1 on the first day to 7 on the last.
fn weeks(lab: &Lab) -> PathBuf {
    let mut noise = Mt19937::new(5);
    let file = lab.path("weeks.csv");
    let row = |t: u32| {
        format!("{t},{}\n", 50.0 + 10.0 * f64::from(t % 7) + (1.0 + f64::from(t % 7)) * noise.randn())
    };
    fs::write(&file, "t,y\n".to_owned() + &(0..2000).map(row).collect::<String>()).unwrap();
    file
}

/// The flags of a run that forecasts quantiles of two steps ahead.
const QUANTILE: &[&str] = &[
    "--model=linear",
    "--loss=quantile",
    "--data=csv",
    "--time_column=t",
    "--season=7",
    "--horizon=2",
    "--threads=1",
    "--device=cpu",
    "--max_epochs=20",
];

fn run(lab: &Lab, csv: &Path, args: &[&str]) -> Trained {
    let mut command = binary(QUANTILE);
    command.args(args).args(["--json", "--log_dir"]).arg(lab.logs()).arg("--csv").arg(csv);
    Trained::of(&mut command)
}

fn cells(line: &str) -> Vec<f64> {
    line.split(',').skip(1).map(|cell| cell.parse().unwrap_or(f64::NAN)).collect()
}

#[test]
fn quantiles_of_noise_that_changes_cover_the_test_split() {
    let lab = Lab::new();
    let run = run(&lab, &weeks(&lab), &["--split_time=0.6", "--test_time=0.8"]);
    for split in ["validation", "test"] {
        let of = &run.json["quantiles"][split];
        let pair = &of["coverage"][0];
        let percent = pair["percent"].as_f64().unwrap();
        assert!(pair["level"] == 80 && (70.0..90.0).contains(&percent), "{split}: {of}");
        let losses = ["0.1", "0.5", "0.9"].map(|name| of["pinball"][name].as_f64().unwrap());
        let mean = losses.iter().sum::<f64>() / 3.0;
        assert!((of["mean_pinball"].as_f64().unwrap() - mean).abs() < 1e-9, "{of}");
        assert!((of["crps"].as_f64().unwrap() - 2.0 * mean).abs() < 1e-9, "{of}");
        // The pinball loss of the median is half of the MAE.
        let stage = if split == "test" { "test_mae" } else { "val_mae" };
        let mae = run.json["metrics"][stage].as_f64().unwrap();
        assert!((2.0 * losses[1] - mae).abs() < 0.02 * mae, "{losses:?} {mae}");
    }
    for of in run.json["coverage"]["levels"].as_array().unwrap() {
        let (level, percent) = (of["level"].as_f64().unwrap(), of["percent"].as_f64().unwrap());
        assert!((percent - level).abs() < 10.0, "{of}");
    }
    // Conformal intervals around the median would have one size for all days.
    let table = fs::read_to_string(run.folder.join("test_forecast.csv")).unwrap();
    assert!(
        table.starts_with("time,actual,forecast_1,lo-80_1,hi-80_1,lo-95_1,hi-95_1,forecast_2,"),
        "{table}"
    );
    let mut widths = [0.0; 7];
    for (row, line) in table.lines().skip(1).enumerate().take(350) {
        let [_, y, low80, high80, low95, high95, ..] = cells(line)[..] else { panic!("{line}") };
        assert!(low95 <= low80 && low80 <= y && y <= high80 && high80 <= high95, "{line}");
        widths[(1600 + row) % 7] += high80 - low80;
    }
    assert!(widths[6] > 2.0 * widths[0], "{widths:?}");
}

#[test]
fn checkpoint_with_quantiles_forecasts_intervals_and_backtests() {
    let lab = Lab::new();
    let csv = weeks(&lab);
    let run =
        run(&lab, &csv, &["--refit_on_all", "--quantiles", "0.05,0.25,0.5,0.75,0.95", "--ema_decay=0.9"]);
    for name in ["best", "refit"] {
        let path = run.folder.join(format!("checkpoints/{name}.safetensors"));
        let mut command = binary(&["forecast", "--time_column=t", "--level", "50", "90", "--csv"]);
        let stem = lab.path(name);
        let output =
            command.arg(&csv).arg("--checkpoint").arg(&path).arg("--plot").arg(&stem).output().unwrap();
        let table = text(&output.stdout);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(table.lines().next(), Some("time,y,y-lo-50,y-hi-50,y-lo-90,y-hi-90"), "{table}");
        assert_eq!(table.lines().count(), 3);
        for line in table.lines().skip(1) {
            let [y, low50, high50, low90, high90] = cells(line)[..] else { panic!("{line}") };
            assert!(low90 < low50 && low50 < y && y < high50 && high50 < high90, "{line}");
        }
        assert!(stem.with_extension("svg").exists());
    }
    let best = run.folder.join("checkpoints/best.safetensors");
    let mut later = binary(&["forecast", "--time_column=t", "--steps=3", "--level=80", "--csv"]);
    let output = later.arg(&csv).arg("--checkpoint").arg(best).output().unwrap();
    assert_error("later", &output, 1, &["intervals of 3 steps", "of 2 steps"]);

    let mut command = binary(&["backtest", "--folds=40", "--json", "--ensemble=naive", "--combine=error"]);
    let output =
        command.args(QUANTILE).arg("--log_dir").arg(lab.logs()).arg("--csv").arg(&csv).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn run_with_quantiles_resumes_only_with_the_same() {
    let lab = Lab::new();
    let run = run(&lab, &weeks(&lab), &["--max_epochs=2"]);
    let mut command = binary(&["--resume"]);
    let other =
        command.arg(&run.folder).args(["--max_epochs=3", "--quantiles", "0.2", "0.5"]).output().unwrap();
    assert_error("other", &other, 1, &["--quantiles", "[0.1,0.5,0.9] -> [0.2,0.5]"]);
    let output = binary(&["--resume"]).arg(&run.folder).args(["--max_epochs=3"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("Quantiles on the validation split"), "{}", text(&output.stdout));
}
