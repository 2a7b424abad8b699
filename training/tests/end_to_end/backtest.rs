//! Backtests: forecasts from several cutoffs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::Duration;

use chrono::{Days, NaiveDate};
use serde_json::{Value, json};
use text_recognizer::rng::Mt19937;

use crate::lab::{Lab, Trained, assert_error, binary, text};

/// Returns 200 days as text, with a week and noise of std 1.
fn days() -> String {
    let mut noise = Mt19937::new(5);
    let first = NaiveDate::from_ymd_opt(2024, 1, 1).unwrap();
    let row = |t: u32| {
        let day = first + Days::new(t.into());
        format!("{day},{}\n", 50.0 + 5.0 * f64::from(t % 7) + noise.randn())
    };
    "day,y\n".to_owned() + &(0..200).map(row).collect::<String>()
}

fn write(lab: &Lab, name: &str, content: &str) -> PathBuf {
    let file = lab.path(name);
    fs::write(&file, content).unwrap();
    file
}

fn backtest(lab: &Lab, csv: &Path, args: &[&str]) -> Command {
    let mut command = binary(&["backtest", "--data=csv", "--season=7", "--threads=1", "--device=cpu"]);
    command.args(["--json", "--horizon=3", "--log_dir"]).arg(lab.logs()).arg("--csv").arg(csv).args(args);
    command
}

fn results(output: &Output) -> (Value, PathBuf) {
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let folder = PathBuf::from(json["folder"].as_str().unwrap());
    (json, folder)
}

fn table(folder: &Path) -> String {
    fs::read_to_string(folder.join("backtest.csv")).unwrap()
}

#[test]
fn backtest_of_every_kind_of_model_writes_a_long_table_and_a_plot() {
    let lab = Lab::new();
    let csv = write(&lab, "days.csv", &days());
    for model in ["linear", "gru", "seasonal_naive"] {
        let args = ["--model", model, "--folds=4", "--max_epochs=20", "--level", "50", "80"];
        let args = if model == "seasonal_naive" { [&args[..3], &args[4..]].concat() } else { args.to_vec() };
        let (json, folder) = results(&backtest(&lab, &csv, &args).output().unwrap());
        let rows = table(&folder);
        let mut lines = rows.lines();
        assert_eq!(
            lines.next(),
            Some("series,cutoff,time,step,actual,forecast,lo-50,hi-50,lo-80,hi-80"),
            "{model}"
        );
        assert_eq!(lines.clone().count(), 12);
        assert!(lines.next().unwrap().starts_with("y,2024-07-06,2024-07-07,1,"), "{rows}");
        assert!(lines.next_back().unwrap().starts_with("y,2024-07-15,2024-07-18,3,"), "{rows}");
        let all = &json["metrics"];
        let of = |list: &str| {
            json[list]
                .as_array()
                .unwrap()
                .iter()
                .map(|of| of["metrics"]["mae"].as_f64().unwrap())
                .collect::<Vec<f64>>()
        };
        let (folds, steps) = (of("folds"), of("steps"));
        assert_eq!((folds.len(), steps.len()), (4, 3));
        for maes in [folds, steps] {
            let mean = maes.iter().sum::<f64>() / maes.len() as f64;
            assert!((mean - all["mae"].as_f64().unwrap()).abs() < 1e-9, "{model}");
        }
        assert_eq!(json["coverage"][1]["values"], 12);
        assert_eq!(json["models"][model]["mae"], all["mae"]);
        assert!(json["models"]["naive"]["mae"].as_f64().unwrap() > all["mae"].as_f64().unwrap(), "{model}");
        assert!(fs::metadata(folder.join("backtest.png")).unwrap().len() > 5000);
        assert_eq!(
            serde_json::from_slice::<Value>(&fs::read(folder.join("results.json")).unwrap()).unwrap(),
            json
        );
    }
}

#[test]
fn parquet_of_a_backtest_has_the_values_of_its_csv() {
    let lab = Lab::new();
    let csv = write(&lab, "days.csv", &days());
    let (_, folder) = results(&backtest(&lab, &csv, &["--model=naive", "--folds=1"]).output().unwrap());
    let shown = |file: &str| {
        let mut command = binary(&["forecast", "--model=naive", "--time_column=time", "--csv"]);
        let output =
            command.arg(folder.join(file)).args(["--value_columns=actual,forecast"]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    assert_eq!(shown("backtest.parquet").lines().last(), shown("backtest.csv").lines().last());
}

#[test]
fn forecasts_of_a_backtest_depend_on_no_row_after_their_cutoff() {
    let lab = Lab::new();
    let content = days();
    let changed = content.lines().enumerate().map(|(line, text)| match line {
        // The rows after the first cutoff; line 0 has the names.
        192.. => text.split_once(',').unwrap().0.to_owned() + ",1e6\n",
        _ => format!("{text}\n"),
    });
    let (csv, other) = (write(&lab, "a.csv", &content), write(&lab, "b.csv", &changed.collect::<String>()));
    for model in ["linear", "seasonal_naive"] {
        let args = ["--model", model, "--folds=3", "--scaling=standard", "--level=80"];
        let first = |csv: &Path| {
            let (_, folder) = results(&backtest(&lab, csv, &args).output().unwrap());
            let table = table(&folder);
            let rows = table.lines().skip(1).take(3);
            rows.map(|row| row.split(',').skip(5).collect::<Vec<_>>().join(",")).collect::<Vec<_>>()
        };
        assert_eq!(first(&csv), first(&other), "{model}");
    }
}

#[test]
fn refit_trains_before_each_cutoff_and_gap_moves_the_forecasts() {
    let lab = Lab::new();
    let csv = write(&lab, "days.csv", &days());
    let args = ["--model=linear", "--folds=2", "--max_epochs=20"];
    let run = |more: &[&str]| results(&backtest(&lab, &csv, &[&args[..], more].concat()).output().unwrap());
    let ((once, of_once), (twice, of_twice)) = (run(&[]), run(&["--refit"]));
    let folds = |folder: &Path| fs::read_dir(folder.join("folds")).unwrap().count();
    assert_eq!((folds(&of_once), folds(&of_twice)), (1, 2));
    assert_eq!(once["folds"][0]["metrics"], twice["folds"][0]["metrics"]);
    assert_ne!(once["folds"][1]["metrics"], twice["folds"][1]["metrics"]);
    let (_, gap) = run(&["--gap=2", "--horizon=1"]);
    let table = table(&gap);
    // A network with a horizon of 1 has no errors of three steps ahead, and so no intervals.
    assert_eq!(table.lines().next(), Some("series,cutoff,time,step,actual,forecast"));
    assert!(table.lines().nth(1).unwrap().starts_with("y,2024-07-14,2024-07-17,1,"), "{table}");
}

#[test]
fn levels_without_enough_errors_are_left_out_unless_they_are_typed() {
    let lab = Lab::new();
    let csv = write(&lab, "days.csv", &days());
    let args = ["--model=linear", "--folds=1", "--split_time=180", "--max_epochs=5"];
    let (json, folder) = results(&backtest(&lab, &csv, &args).output().unwrap());
    assert!(table(&folder).starts_with("series,cutoff,time,step,actual,forecast,lo-80,hi-80\n"));
    assert_eq!((&json["levels_left_out"], json["coverage"].as_array().unwrap().len()), (&json!([95]), 1));
    let typed = backtest(&lab, &csv, &args).args(["--level", "95"]).output().unwrap();
    assert_error("typed", &typed, 1, &["level 95", "at least 19"]);
}

#[test]
fn backtest_that_cannot_be_made_is_an_error_and_leaves_no_folder() {
    let lab = Lab::new();
    let csv = write(&lab, "days.csv", &days());
    let cases: [(&[&str], i32, &[&str]); 9] = [
        (&["--model=naive", "--refit"], 1, &["--refit", "naive has no training"]),
        (&["--model=linear", "--test_time=190"], 1, &["--test_time", "--end_time"]),
        (&["--model=naive", "--level", "80", "80"], 1, &["80 is listed twice"]),
        (&["--model=naive", "--folds=80"], 1, &["80 folds", "found 200 rows", "at least 241"]),
        (&["--model=naive", "--folds=0"], 1, &["--folds is 0"]),
        (&["--model=naive", "--fold=2"], 2, &["--folds"]),
        (&["--model=linear", "--fast_dev_run"], 1, &["--fast_dev_run", "--max_epochs 1"]),
        (&["--model=linear", "--lr_find=only"], 1, &["--lr_find only"]),
        (&["--model=naive", "--horizon=3", "--level=99", "--folds=40"], 1, &["level 99", "at least 99"]),
    ];
    for (args, code, parts) in cases {
        let output = backtest(&lab, &csv, args).output().unwrap();
        assert_error(&args.join(" "), &output, code, parts);
        assert!(!lab.logs().exists(), "{args:?}");
    }
    let output = binary(&["backtest", "--model=mlp", "--data=mnist", "--device=cpu"]).output().unwrap();
    assert_error("mnist", &output, 1, &["cannot backtest mnist", "--data csv"]);

    let without = days();
    let without = without.lines().enumerate().map(|(line, text)| match line {
        191.. => text.split_once(',').unwrap().0.to_owned() + ",\n",
        _ => format!("{text}\n"),
    });
    let without = write(&lab, "without.csv", &without.collect::<String>());
    let output = backtest(&lab, &without, &["--model=naive"]).output().unwrap();
    assert_error("no actual values", &output, 1, &["no actual value after the cutoffs", "--end_time 190"]);
}

#[test]
fn killed_backtest_continues_to_the_same_table() {
    let lab = Lab::new();
    let csv = write(&lab, "days.csv", &days());
    let args = ["--model=gru", "--folds=3", "--refit", "--max_epochs=150", "--early_stop_patience=0"];
    let (whole, folder) = results(&backtest(&lab, &csv, &args).output().unwrap());
    for (fold, file) in [(1, "config.json"), (2, "checkpoints/last.safetensors"), (3, "metrics.jsonl")] {
        let name = format!("killed_{fold}");
        let mut child = backtest(&lab, &csv, &args).args(["--name", &name]).spawn().unwrap();
        let killed = lab.logs().join(&name).join("version_0");
        let place = killed.join(format!("folds/fold_{fold}/version_0")).join(file);
        while !place.exists() {
            assert!(child.try_wait().unwrap().is_none(), "the backtest ended before fold {fold}");
            sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!killed.join("results.json").exists());
        let output = binary(&["backtest", "--json", "--resume"]).arg(&killed).output().unwrap();
        let (json, again) = results(&output);
        assert_eq!((&json["metrics"], &json["folds"]), (&whole["metrics"], &whole["folds"]), "fold {fold}");
        assert_eq!(table(&again), table(&folder), "fold {fold}");
    }
    let killed = lab.logs().join("killed_1/version_0");
    let other = binary(&["backtest", "--folds=2", "--resume"]).arg(&killed).output().unwrap();
    assert_error("other folds", &other, 1, &["cannot resume"]);
}

#[test]
fn refit_on_all_writes_a_model_of_all_rows_that_forecasts_with_levels() {
    let lab = Lab::new();
    let csv = write(&lab, "days.csv", &days());
    let run = |model: &str, more: &[&str]| {
        let mut command =
            binary(&["--data=csv", "--season=7", "--threads=1", "--device=cpu", "--json", "--model", model]);
        command.args(["--max_epochs=60", "--horizon=3", "--csv"]).arg(&csv).arg("--log_dir").arg(lab.logs());
        Trained::of(command.args(more))
    };
    let forecast = |checkpoint: &Path| {
        let mut command = binary(&["forecast", "--level=80", "--checkpoint"]);
        let output = command.arg(checkpoint).arg("--csv").arg(&csv).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    for (model, more) in [("linear", &[][..]), ("gru", &["--ema_decay=0.9"])] {
        let validated = run(model, more);
        let both = run(model, &[more, &["--refit_on_all"]].concat());
        assert_eq!(both.metrics_text(), validated.metrics_text(), "{model}");
        let (best, refit) = ("checkpoints/best.safetensors", "checkpoints/refit.safetensors");
        assert_eq!(forecast(&both.folder.join(best)), forecast(&validated.folder.join(best)), "{model}");
        assert_eq!(both.json["refit"]["rows"], 200);
        assert_eq!(both.json["refit"]["epochs"], both.json["best"]["epoch"]);
        let table = forecast(&both.folder.join(refit));
        assert_ne!(table, forecast(&both.folder.join(best)), "{model}");
        assert!(table.starts_with("time,y,y-lo-80,y-hi-80\n2024-07-19,"), "{table}");
        // The same run makes the same file, also after a resume without anything left to train.
        let again = run(model, &[more, &["--refit_on_all"]].concat());
        assert_eq!(forecast(&again.folder.join(refit)), table, "{model}");
        fs::remove_file(again.folder.join(refit)).unwrap();
        let resumed = again.resumed(&["--json"]);
        assert_eq!(forecast(&resumed.folder.join(refit)), table, "{model}");
    }
    let args = ["--model=linear", "--folds=1", "--max_epochs=60"];
    let of = |more: &[&str]| {
        let (json, _) = results(&backtest(&lab, &csv, &[&args[..], more].concat()).output().unwrap());
        json["metrics"]["mae"].as_f64().unwrap()
    };
    assert_ne!(of(&[]), of(&["--refit_on_all"]));
}

#[test]
fn ensemble_has_the_mean_of_its_members_and_is_resumed() {
    let lab = Lab::new();
    let csv = write(&lab, "days.csv", &days());
    let args = ["--model=linear", "--folds=2", "--max_epochs=20"];
    let run = |more: &[&str]| results(&backtest(&lab, &csv, &[&args[..], more].concat()).output().unwrap());
    let column = |folder: &Path| -> Vec<f64> {
        table(folder).lines().skip(1).map(|row| row.split(',').nth(5).unwrap().parse().unwrap()).collect()
    };
    let (alone, of_linear) = run(&[]);
    let (_, of_naive) =
        results(&backtest(&lab, &csv, &["--model=seasonal_naive", "--folds=2"]).output().unwrap());
    let (both, folder) = run(&["--ensemble", "seasonal_naive", "nlinear", "--combine", "mean"]);
    let (_, of_nlinear) = results(
        &backtest(&lab, &csv, &["--model=nlinear", "--folds=2", "--max_epochs=20"]).output().unwrap(),
    );
    let members = [&of_linear, &of_naive, &of_nlinear].map(|folder| column(folder));
    for (at, made) in column(&folder).into_iter().enumerate() {
        let mean = members.iter().map(|member| member[at]).sum::<f64>() / 3.0;
        assert!((made - mean).abs() < 1e-9, "{made} is not {mean}");
    }
    assert_eq!(both["model"], "ensemble");
    assert_eq!(both["models"]["linear"], alone["models"]["linear"]);
    assert!(both["models"]["nlinear"]["mae"].as_f64().unwrap() > 0.0);
    assert_eq!(both["coverage"][0]["values"], 6);

    // A stopped ensemble continues.
    fs::remove_file(folder.join("results.json")).unwrap();
    fs::remove_dir_all(folder.join("folds/fold_1_nlinear")).unwrap();
    let (again, of_again) =
        results(&binary(&["backtest", "--json", "--resume"]).arg(&folder).output().unwrap());
    assert_eq!((again, table(&of_again)), (both, table(&folder)));

    for (flags, parts) in [
        (&["--ensemble", "linear"][..], &["linear is listed twice"][..]),
        (&["--ensemble", "mlp"], &["cannot train mlp on csv"]),
        (&["--ensemble", "dnnn"], &["cannot find the model dnnn"]),
    ] {
        let output = backtest(&lab, &csv, &[&args[..], flags].concat()).output().unwrap();
        assert_error(flags[1], &output, 1, parts);
    }
    let alone = backtest(&lab, &csv, &["--model=naive", "--combine=median"]).output().unwrap();
    assert_error("combine", &alone, 2, &["--ensemble"]);
}

#[test]
fn resume_of_a_backtest_that_cannot_continue_is_an_error() {
    let lab = Lab::new();
    let csv = write(&lab, "days.csv", &days());
    let args = ["--model=linear", "--folds=2", "--refit", "--max_epochs=20"];
    let (_, folder) = results(&backtest(&lab, &csv, &args).output().unwrap());
    let resume = |folder: &Path, command: &[&str]| {
        binary(&[command, &["--device=cpu", "--resume"]].concat()).arg(folder).output().unwrap()
    };
    assert_error("finished", &resume(&folder, &["backtest"]), 1, &["the backtest is finished"]);
    let fold = folder.join("folds/fold_1/version_0");
    let before = fs::read(fold.join("results.json")).unwrap();
    assert_error("a run", &resume(&fold, &["backtest"]), 1, &["not a backtest", "--resume"]);
    assert_eq!(fs::read(fold.join("results.json")).unwrap(), before);

    fs::remove_file(folder.join("results.json")).unwrap();
    assert_error(
        "as a run",
        &resume(&folder, &[]),
        1,
        &["it is a backtest", "run_experiment backtest --resume"],
    );
    // With more rows, the cutoffs are others.
    fs::write(&csv, days() + "2024-07-19,50\n").unwrap();
    let parts = ["trained on the first 194 rows, expected 195", "try a new backtest"];
    assert_error("more rows", &resume(&folder, &["backtest"]), 1, &parts);
    fs::write(&csv, days()).unwrap();
    let (_, again) = results(&binary(&["backtest", "--json", "--resume"]).arg(&folder).output().unwrap());
    assert_eq!(again, folder);
}

#[test]
fn printed_configuration_of_a_backtest_has_its_folds_and_models() {
    let lab = Lab::new();
    let csv = write(&lab, "days.csv", &days());
    let args = [
        "--model=naive",
        "--folds=4",
        "--step=2",
        "--gap=1",
        "--ensemble=seasonal_naive",
        "--combine=median",
    ];
    let (_, folder) = results(&backtest(&lab, &csv, &args).output().unwrap());
    let printed = backtest(&lab, &csv, &args).arg("--print_config").output().unwrap();
    let file = write(&lab, "config.json", &text(&printed.stdout));
    for config in [file, folder.join("config.json")] {
        let (_, again) = results(&binary(&["backtest", "--json", "--config"]).arg(config).output().unwrap());
        assert_eq!(table(&again), table(&folder));
    }
}
