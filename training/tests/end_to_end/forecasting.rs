//! Tests of training and forecasting of time series with the binary.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::lab::{Lab, Trained, assert_error, binary, forecasting_networks, text};

/// Trains on a series with these flags, in one thread on the CPU.
fn train(lab: &Lab, args: &[&str]) -> Trained {
    let mut command = binary(args);
    Trained::of(command.args(["--threads", "1", "--device", "cpu", "--json", "--log_dir"]).arg(lab.logs()))
}

#[test]
fn dnn_on_a_series_writes_its_forecast_and_forecasts_another_file() {
    let lab = Lab::new();
    let run = train(&lab, &["--model", "dnn", "--max_epochs", "20"]);
    let csv = fs::read_to_string(run.folder.join("forecast.csv")).unwrap();
    let header = "time,actual,forecast,lo-80,hi-80,lo-95,hi-95";
    assert_eq!((csv.lines().next(), csv.lines().count()), (Some(header), 462));
    for plot in ["series.png", "forecast.svg", "metrics.png"] {
        assert!(fs::metadata(run.folder.join(plot)).unwrap().len() > 5000, "{plot}");
    }
    // The MAE of the forecast equals that of the validation.
    let mae = &run.json["forecast"]["mae"];
    assert!((mae["dnn"].as_f64().unwrap() - run.metric("val_mae")).abs() < 1e-4);
    assert!((mae["naive"].as_f64().unwrap() - 5.938).abs() < 1e-3);
    assert_eq!(run.json["forecast"]["season"], 365, "the period of the series");

    let series = lab.path("line.csv");
    fs::write(&series, (0..40).map(|t| format!("{}\n", 50 + t % 7)).collect::<String>()).unwrap();
    let mut forecast = binary(&["forecast", "--steps=5", "--checkpoint"]);
    forecast.arg(run.folder.join("checkpoints/best.safetensors")).arg("--csv").arg(series);
    let output = forecast.output().unwrap();
    let table = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!((table.lines().next(), table.lines().count()), (Some("time,line"), 6), "{table}");
    for line in table.lines().skip(1) {
        let value: f64 = line.split(',').nth(1).unwrap().parse().unwrap();
        assert!((30.0..80.0).contains(&value), "{table}");
    }
}

#[test]
fn every_network_with_two_columns_and_three_steps_ahead_writes_its_forecast() {
    let lab = Lab::new();
    let file = lab.path("two.csv");
    let rows = (0..300).map(|t| format!("{t},{},{}\n", (f64::from(t) / 9.0).sin(), 100 + t % 5));
    fs::write(&file, "day,a,b\n".to_owned() + &rows.collect::<String>()).unwrap();
    let mut args = vec!["--data=csv", "--csv", file.to_str().unwrap(), "--time_column=day", "--horizon=3"];
    args.extend(["--scaling=standard", "--max_epochs=5", "--optimizer=adam", "--lr=1e-3", "--model"]);
    for model in forecasting_networks() {
        let run = train(&lab, &[&args[..], &[model]].concat());
        let csv = fs::read_to_string(run.folder.join("forecast.csv")).unwrap();
        let of_step = |step| {
            ["forecast", "lo-80", "hi-80", "lo-95", "hi-95"].map(|of| format!("{of}_a_{step},{of}_b_{step}"))
        };
        let header = format!("time,actual_a,actual_b,{}", [1, 2, 3].map(of_step).concat().join(","));
        assert_eq!((csv.lines().next(), csv.lines().count()), (Some(header.as_str()), 61), "{model}");
    }
}

/// The first file repeats every day, the second every week. The seasonal baseline has no error only with the right season.
#[test]
fn season_is_that_of_the_timestamps_or_of_the_flag() {
    let lab = Lab::new();
    let file = lab.path("hours.csv");
    let rows =
        (0..24 * 20).map(|t| format!("2024-01-{:02} {:02}:00,{}\n", 1 + t / 24, t % 24, (t % 24) * (t % 7)));
    let daily =
        (0..24 * 20).map(|t| format!("2024-01-{:02} {:02}:00,{}\n", 1 + t / 24, t % 24, (t % 24) % 7));
    let baseline = |rows: String, more: &[&str]| {
        fs::write(&file, "hour,v\n".to_owned() + &rows).unwrap();
        let args = ["--model=seasonal_naive", "--data=csv", "--time_column=hour", "--csv"];
        let run = train(&lab, &[&args[..], &[file.to_str().unwrap()], more].concat());
        assert!(run.folder.join("forecast.png").is_file());
        (run.json["forecast"]["season"].as_u64(), run.metric("val_mae"))
    };
    assert_eq!(baseline(daily.collect(), &[]), (Some(24), 0.0));
    let rows: String = rows.collect();
    let (season, mae) = baseline(rows.clone(), &[]);
    assert!(season == Some(24) && mae > 1.0, "{season:?}: {mae}");
    assert_eq!(baseline(rows, &["--season=168"]), (Some(168), 0.0));
}

#[test]
fn lr_find_suggests_a_learning_rate_and_the_run_uses_it() {
    let lab = Lab::new();
    let args = ["--model=dnn", "--max_epochs=2", "--lr_find_points=30"];
    let found = train(&lab, &[&args[..], &["--lr_find"]].concat());
    let csv = fs::read_to_string(found.folder.join("lr_find.csv")).unwrap();
    assert!(csv.starts_with("lr,loss\n1e-8,") && csv.lines().count() > 10, "{csv}");
    assert!(found.stderr.contains("learning rate"), "{}", found.stderr);
    let lr = found.json["lr"].as_f64().unwrap();
    assert!((1e-7..1e-3).contains(&lr), "{lr}");
    let config = fs::read_to_string(found.folder.join("config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["lit"]["optimizer"]["lr"], lr);
    // The learning-rate finder does not change the weights: a run with the suggested rate has the same result.
    let alone = train(&lab, &[&args[..], &["--lr", &lr.to_string()]].concat());
    assert!(found.last() == alone.last());
}

/// A copy of all validation windows would take 800 MB; a run takes 215 MB.
#[test]
#[cfg(target_os = "linux")]
fn forecast_of_many_windows_holds_one_batch_in_memory() {
    let lab = Lab::new();
    let long = ["--model=linear", "--length=250000", "--split_time=0.2", "--window_size=1000"];
    let run = train(&lab, &[&long[..], &["--max_steps=1", "--num_sanity_val_steps=0"]].concat());
    let csv = fs::read_to_string(run.folder.join("forecast.csv")).unwrap();
    assert_eq!(csv.lines().count(), 200_001);
    // SAFETY: the struct has only numbers, for which zero is a valid value, and getrusage fills it.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage), 0);
        usage
    };
    // The largest memory of a child process, in KiB.
    assert!(usage.ru_maxrss < 350 << 10, "{} KiB", usage.ru_maxrss);
}

#[test]
fn overfit_run_is_compared_over_the_whole_validation_split() {
    let lab = Lab::new();
    let run = train(&lab, &["--model", "linear", "--overfit_batches", "1", "--max_epochs", "1"]);
    let naive = run.json["forecast"]["mae"]["naive"].as_f64().unwrap();
    assert!((naive - 5.938).abs() < 1e-3, "{naive}");
    let csv = fs::read_to_string(run.folder.join("forecast.csv")).unwrap();
    assert_eq!(csv.lines().count(), 462);
}

/// The columns have very different values, so that a swap is visible.
#[test]
fn forecast_matches_columns_by_name_in_any_order() {
    let lab = Lab::new();
    let write = |name: &str, header: &str, row: &dyn Fn(u32, u32) -> String| {
        let file = lab.path(name);
        let rows = (0..60).map(|t| row(100 + t % 7, 5000 + t % 5) + "\n");
        fs::write(&file, format!("{header}{}", rows.collect::<String>())).unwrap();
        file
    };
    let plain = write("plain.csv", "a,b\n", &|a, b| format!("{a},{b}"));
    let swapped = write("swapped.csv", "b,a\n", &|a, b| format!("{b},{a}"));
    let more = write("more.csv", "note,b,c,a\n", &|a, b| format!("fine,{b},7,{a}"));
    let bare = write("bare.csv", "", &|a, b| format!("{a},{b}"));
    let other = write("other.csv", "a,c\n", &|a, b| format!("{a},{b}"));
    let one = write("one.csv", "", &|a, _| format!("{a}"));
    let forecast = |checkpoint: &Path, file: &Path, flags: &[&str]| {
        let mut command = binary(&["forecast", "--steps=2", "--checkpoint"]);
        command.arg(checkpoint).arg("--csv").arg(file).args(flags).output().unwrap()
    };
    let table = |output: Output| {
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    for model in ["linear", "naive"] {
        let trained = |file: &Path| {
            let flags = ["--data=csv", "--scaling=standard", "--window_size=3", "--log_dir"];
            let mut command = binary(&["--model", model, "--json"]);
            command.args(flags).arg(lab.logs()).arg("--csv").arg(file);
            if model == "linear" {
                command.args(["--max_epochs=1", "--device=cpu", "--threads=1"]);
            }
            Trained::of(&mut command).folder.join("checkpoints/best.safetensors")
        };
        let checkpoint = trained(&plain);
        let expected = table(forecast(&checkpoint, &plain, &[]));
        assert!(expected.starts_with("time,a,b\n"), "{expected}");
        for (file, flags) in [(&swapped, &[][..]), (&more, &[]), (&more, &["--value_columns=b,a"])] {
            assert_eq!(table(forecast(&checkpoint, file, flags)), expected, "{model}: {}", file.display());
        }
        let values = |table: &str| table.split_once('\n').unwrap().1.to_owned();
        let by_position = table(forecast(&checkpoint, &bare, &[]));
        assert_eq!(values(&by_position), values(&expected), "{model}");
        let error = forecast(&checkpoint, &other, &[]);
        assert_error(model, &error, 1, &["other.csv", "column b", "found a, c, expected a, b"]);
        let error = forecast(&checkpoint, &one, &[]);
        assert_error(model, &error, 1, &["one.csv", "found one, expected a, b"]);
        // The names of a file without a header are its own: other files need not have them.
        let checkpoint = trained(&bare);
        for (file, flags) in [(&bare, &[][..]), (&plain, &[]), (&more, &["--value_columns=a,b"])] {
            let table = table(forecast(&checkpoint, file, flags));
            assert_eq!(values(&table), values(&expected), "{model}: {}", file.display());
        }
    }
}
