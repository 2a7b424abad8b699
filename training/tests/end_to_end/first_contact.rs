//! The first contact with a file: no flags but those that name it. Every network beats the naive forecast, in seconds, and the
//! numbers that the data decided are in the configuration and in the checkpoint.

use std::f64::consts::TAU;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::{Days, NaiveDate};
use text_recognizer::checkpoint;
use text_recognizer::rng::Mt19937;

use crate::lab::{Lab, Trained, assert_error, binary, forecasting_networks, resume, text};

/// A trend and a season of a year, in months.
fn months(seed: u32) -> String {
    let mut noise = Mt19937::new(seed);
    let rows = (0..120).map(|t| {
        let season = 800.0 * (f64::from(t) * TAU / 12.0).sin();
        let value = 5000.0 + 40.0 * f64::from(t) + season + 150.0 * noise.randn();
        format!("{}-{:02}-01,{value:.1}\n", 1990 + t / 12, t % 12 + 1)
    });
    "ds,y\n".to_owned() + &rows.collect::<String>()
}

fn day(t: u32) -> String {
    (NaiveDate::from_ymd_opt(2020, 1, 1).unwrap() + Days::new(u64::from(t))).to_string()
}

/// A week whose days are multiples of a level that grows.
fn weeks(seed: u32) -> String {
    let mut noise = Mt19937::new(seed);
    let factors: Vec<f64> = (0..7).map(|_| (0.4 * noise.randn()).exp()).collect();
    let rows = (0..300).map(|t: u32| {
        let value = (100.0 + 0.5 * f64::from(t)) * factors[t as usize % 7] * (1.0 + 0.08 * noise.randn());
        format!("{},{value:.2}\n", day(t))
    });
    "ds,y\n".to_owned() + &rows.collect::<String>()
}

/// Sales of a product that is sold on half of the days.
fn counts(seed: u32) -> String {
    let mut noise = Mt19937::new(seed);
    let rows = (0..300).map(|t| {
        let sold = if noise.uniform() < 0.5 { 0.0 } else { (3.0 * noise.randn().abs()).ceil() };
        format!("{},{sold}\n", day(t))
    });
    "ds,y\n".to_owned() + &rows.collect::<String>()
}

fn write(lab: &Lab, name: &str, content: &str) -> PathBuf {
    let file = lab.path(name);
    fs::write(&file, content).unwrap();
    file
}

/// Returns the command that trains `model` on a file without further flags.
fn first(lab: &Lab, model: &str, csv: &Path) -> Command {
    let mut command =
        binary(&["--data=csv", "--time_column=ds", "--json", "--device=cpu", "--threads=1", "--model"]);
    command.arg(model).arg("--csv").arg(csv).arg("--log_dir").arg(lab.logs());
    command
}

#[test]
fn networks_without_flags_beat_the_naive_forecast_on_series_of_many_kinds() {
    let lab = Lab::new();
    for (name, content) in [("months", months(1)), ("weeks", weeks(2)), ("counts", counts(3))] {
        let csv = write(&lab, name, &content);
        for model in ["linear", "dnn", "gru"] {
            let run = Trained::of(&mut first(&lab, model, &csv));
            let naive = run.json["forecast"]["mae"]["naive"].as_f64().unwrap();
            let mae = run.metric("val_mae");
            assert!(mae < 0.95 * naive, "{model} on {name}: MAE {mae}, naive {naive}");
            assert!(!run.stderr.contains("worse than naive"), "{}", run.stderr);
        }
    }
}

#[test]
fn numbers_that_the_data_decides_are_in_the_configuration_and_a_resumed_run_keeps_them() {
    let lab = Lab::new();
    let csv = write(&lab, "months.csv", &months(1));
    let mut command = first(&lab, "linear", &csv);
    let run = Trained::of(command.arg("--early_stop_patience=0"));
    assert!(run.stderr.contains("windows have 24 time steps (a season is 12 rows)"), "{}", run.stderr);
    let config: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(run.folder.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["data_config"]["windows"]["window_size"], 24);
    assert_eq!(config["trainer"]["loaders"]["batch_size"], 32);
    // 96 rows of training have 72 windows in 3 batches.
    assert_eq!(config["trainer"]["budget"]["max_epochs"], 1000);
    assert_eq!((&run.json["epochs"], &run.json["steps"]), (&1000.into(), &3000.into()));
    let best = run.folder.join("checkpoints/best.safetensors");
    assert_eq!(checkpoint::load(&best).unwrap().description.data.input_dims, [24, 1]);

    let again = Trained::of(
        binary(&["--json", "--config", run.folder.join("config.json").to_str().unwrap(), "--log_dir"])
            .arg(lab.logs()),
    );
    assert_eq!(again.metrics_text(), run.metrics_text());
    let longer = Trained::of(&mut resume(&run.folder, &["--json", "--max_epochs", "1002"]));
    assert_eq!(longer.json["steps"], 3006);

    let mut forecast = binary(&["forecast", "--time_column=ds", "--steps=2", "--checkpoint"]);
    let output = forecast.arg(&best).arg("--csv").arg(&csv).output().unwrap();
    let table = text(&output.stdout);
    assert!(
        table.contains("2000-01-01,") && table.contains("2000-02-01,"),
        "{table}{}",
        text(&output.stderr)
    );
}

#[test]
fn print_config_has_the_defaults_of_the_model_and_the_data() {
    let printed = |args: &[&str]| -> serde_json::Value {
        let output = binary(args).arg("--print_config").output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    for model in forecasting_networks() {
        let of_file = printed(&["--data=csv", "--csv=a.csv", "--model", model]);
        assert_eq!(of_file["lit"]["optimizer"]["optimizer"], "adam", "{model}");
        assert_eq!(of_file["data_config"]["windows"]["window_size"], "auto", "{model}");
        let of_course = printed(&["--data=series", "--model", model]);
        // The models of papers have the defaults of files for all data.
        let is_of_course = ["linear", "dnn", "rnn", "lstm", "gru", "conv_lstm"].contains(&model);
        let optimizer = if is_of_course { "sgd" } else { "adam" };
        assert_eq!(of_course["lit"]["optimizer"]["optimizer"], optimizer, "{model}");
        assert_eq!(of_course["data_config"]["windows"]["window_size"], 20, "{model}");
        if let Some(scale) = of_file["model_config"].get("output_scale") {
            assert_eq!(scale, 1.0, "{model}");
            assert_ne!(of_course["model_config"]["output_scale"], 1.0, "{model}");
        }
    }
}

#[test]
fn sequence_loss_with_windows_scaled_by_their_own_values_is_an_error() {
    let lab = Lab::new();
    let csv = write(&lab, "months.csv", &months(1));
    let output = first(&lab, "gru", &csv).arg("--sequence_loss").output().unwrap();
    assert_error("sequence_loss", &output, 1, &["sequence_loss", "expected none, standard or minmax"]);
    let run = Trained::of(first(&lab, "gru", &csv).args([
        "--sequence_loss",
        "--scaling=standard",
        "--max_epochs=2",
    ]));
    assert!(run.metric("val_mae").is_finite());
}

#[test]
fn divergence_without_scaling_names_the_flag() {
    let lab = Lab::new();
    let csv = write(&lab, "months.csv", &months(1));
    let args = ["--scaling=none", "--optimizer=sgd", "--loss=mse"];
    let output = first(&lab, "linear", &csv).args(args).arg("--batch_size=4").output().unwrap();
    let advice = "try --scaling standard, because the values reach";
    assert_error("divergence", &output, 1, &["NaN or infinite", advice]);
    // After a few steps only the validation loss is infinite, which stops the run early.
    let run = Trained::of(first(&lab, "linear", &csv).args(args));
    let finding = run.json["findings"][0]["text"].as_str().unwrap();
    assert!(
        finding.starts_with("worse than naive") && finding.contains("try --scaling standard"),
        "{finding}"
    );
}

#[test]
fn results_that_are_worse_than_naive_say_so_in_the_table_and_in_json() {
    let lab = Lab::new();
    let csv = write(&lab, "months.csv", &months(1));
    let run = Trained::of(first(&lab, "dnn", &csv).args(["--lr=1e-9", "--max_epochs=3"]));
    let kinds: Vec<&str> = run.json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds[..2], ["worse_than_naive", "worse_than_seasonal_naive"]);
    assert!(kinds.contains(&"still_loss"), "{kinds:?}");
    let mut plain =
        binary(&["--data=csv", "--time_column=ds", "--model=dnn", "--lr=1e-9", "--max_epochs=3", "--csv"]);
    let output = plain.arg(&csv).arg("--log_dir").arg(lab.logs()).output().unwrap();
    let table = text(&output.stdout);
    let last = table.lines().rev().take(12).collect::<String>();
    assert!(
        last.contains("worse than naive: MAE ") && last.contains("the training loss did not move"),
        "{table}"
    );
}

/// Counts near 100 million that grow by 7: a naive forecast is off by 7 exactly.
#[test]
fn metrics_of_large_counts_and_of_zeros_are_exact() {
    let lab = Lab::new();
    let rows: String = (0..60).map(|t| format!("{},{},{}\n", day(t), 100_000_000 + 7 * t, t % 5)).collect();
    let csv = write(&lab, "counter.csv", &("ds,count,small\n".to_owned() + &rows));
    let run = Trained::of(&mut first(&lab, "naive", &csv));
    let columns = run.json["forecast"]["columns"].as_array().unwrap();
    assert_eq!((&columns[0]["name"], &columns[0]["mae"]), (&"count".into(), &7.0.into()));
    // The scale is that of a week: 49.
    assert_eq!((&columns[0]["mase"], &run.json["forecast"]["mase_season"]), (&(1.0 / 7.0).into(), &7.into()));
    assert_eq!(
        (&run.json["forecast"]["values"], &run.json["forecast"]["values_not_0"]),
        (&24.into(), &22.into())
    );
    // A network has the same rows in its MAPE, although it gets scaled values.
    let network = Trained::of(first(&lab, "linear", &csv).arg("--max_epochs=5"));
    assert!(network.metric("val_mape") < 1000.0, "{}", network.metric("val_mape"));
}
