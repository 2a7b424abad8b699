//! Texts for a person, as files in `snapshots/`: help, errors and tables of results.
//!
//! A text that differs from its file fails the test. `INSTA_UPDATE=always cargo test -p training --test end_to_end snapshots`
//! writes the files anew; look at the difference with git.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use training::cli::CliError;
use training::commands::{self, Invocation};
use training::experiment::registry::{self, DATA, MODELS};
use training::experiment::{Experiment, Finished, Reporter, RunConfig};
use training::format;
use training::tasks::{Report, Trained};
use training::time_series::{Baseline, Target};
use training::trainer::callbacks::{
    Callback, Mode, Monitor, Position, ProgressReport, StopReason, Surroundings,
};
use training::trainer::{Best, FitSummary, Record, Signals, SingleProcess};

use crate::lab::Lab;

/// Compares `text` with the file `snapshots/NAME.snap`.
fn assert_snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Returns the help of a command or of one of its subcommands, in lines of at most 100 characters.
fn help(model: &str, data: &str, subcommand: Option<&str>) -> String {
    let (model, data) = (registry::model(model).unwrap(), registry::data(data).unwrap());
    let mut command = commands::command(model, data).term_width(100);
    command.build();
    let text = match subcommand {
        None => command.render_long_help(),
        Some(name) => command.find_subcommand_mut(name).unwrap().render_long_help(),
    };
    let lines: Vec<String> = text.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Splits a help into its flags, each with its lines, and the headings between them.
fn entries(help: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for line in help.lines() {
        let begins = !line.starts_with("        ") && !line.is_empty();
        match entries.last_mut() {
            Some(entry) if !begins => *entry += &format!("\n{line}"),
            _ => entries.push(line.to_owned()),
        }
    }
    entries.into_iter().map(|entry| entry.trim_end().to_owned()).collect()
}

/// Returns the flags of `text` that no text in `known` has, or has with another default.
fn news(text: &str, known: &[&str]) -> String {
    let known: HashSet<String> = known.iter().flat_map(|known| entries(known)).collect();
    // The flags of the choice itself have another default in each help.
    let is_choice =
        |entry: &String| ["--model ", "--data "].iter().any(|flag| entry.trim_start().starts_with(flag));
    let new = entries(text).into_iter().filter(|entry| !known.contains(entry) && !is_choice(entry));
    new.collect::<Vec<_>>().join("\n\n")
}

#[test]
fn help_of_the_default_model_and_data() {
    assert_snapshot("help", &help("mlp", "mnist", None));
}

/// The flags and defaults of each data that the help of the default model and data does not have, and of each model those
/// that the help of the first model of its task does not have.
#[test]
fn help_of_every_model_and_data() {
    let known = help("mlp", "mnist", None);
    let first_model = |task: &str| MODELS.iter().find(|model| model.task == task).unwrap();
    for data in DATA.iter().filter(|data| data.name != "mnist") {
        let model = first_model(data.task);
        let text = help(model.name, data.name, None);
        let text = format!("With --model {}:\n\n{}", model.name, news(&text, &[&known]));
        assert_snapshot(&format!("help_data_{}", data.name), &text);
    }
    for model in MODELS.iter().filter(|model| model.name != first_model(model.task).name) {
        let data = registry::default_data(model.name);
        let of_task = help(first_model(model.task).name, data, None);
        let text = help(model.name, data, None);
        let text = format!("With --data {data}:\n\n{}", news(&text, &[&known, &of_task]));
        assert_snapshot(&format!("help_model_{}", model.name), &text);
    }
}

#[test]
fn help_of_every_subcommand() {
    let command = commands::command(registry::model("mlp").unwrap(), registry::data("mnist").unwrap());
    let names: Vec<&str> = command.get_subcommands().map(|command| command.get_name()).collect();
    assert!(names.contains(&"forecast"), "{names:?}");
    for name in names {
        assert_snapshot(&format!("help_command_{name}"), &help("mlp", "mnist", Some(name)));
    }
}

/// Parses a command line.
fn parse(args: &[&str]) -> Result<Invocation, String> {
    let args = std::iter::once("run_experiment").chain(args.iter().copied()).map(OsString::from);
    commands::parse(args).map_err(|error| match error {
        CliError::Clap(error) => error.to_string(),
        CliError::Other(error) => format!("error: {error:#}\n"),
    })
}

/// Returns command lines, each with its message.
fn transcript<'a>(cases: impl IntoIterator<Item = (&'a [&'a str], String)>) -> String {
    let each =
        cases.into_iter().map(|(args, message)| format!("$ run_experiment {}\n{message}", args.join(" ")));
    each.collect::<Vec<_>>().join("\n")
}

const USAGE_ERRORS: &[&[&str]] = &[
    &["--model", "mpl"],
    &["--model"],
    &["--data", "mnits"],
    &["--batch_sise", "3"],
    &["--units", "5"],
    &["--season", "7"],
    &["--model", "dnn", "--fc1", "5"],
    &["--fc1", "many"],
    &["--batch_size", "0"],
    &["--batch_size=-1"],
    &["--max_epochs"],
    &["--min_epochs", "20"],
    &["--max_time", "soon"],
    &["--seed=-1"],
    &["--lr", "0"],
    &["--lr", "-1"],
    &["--lr", "fast"],
    &["--optimizer", "adan"],
    &["--nesterov"],
    &["--lr_schedule", "step", "--one_cycle_max_lr", "1"],
    &["--precision", "16"],
    &["--threads", "0"],
    &["--limit_val_batches", "1.5"],
    &["--val_check_interval", "often"],
    &["--accumulate_grad_batches", "0"],
    &["--gradient_clip_val=-1"],
    &["--ema_decay", "1"],
    &["--ema_decay", "0.9", "--stochastic_weight_avg"],
    &["--save_top_k", "0"],
    &["--log_every_n_steps", "0"],
    &["--name", "a/b"],
    &["--model", "mlp", "--data", "series"],
    &["--model", "lstm", "--data", "mnist"],
    &["--model", "lstm", "--split_time", "1.5"],
    &["--model", "lstm", "--shuffle_buffer", "none"],
    &["--config", "nowhere.json"],
    &["--config", "a", "--resume", "b"],
    &["--resume", "nowhere"],
    &["--resume", "last", "--log_dir", "nowhere"],
    &["--resume", "last", "--model", "lstm", "--log_dir", "nowhere"],
    &["forecast"],
    &["forecast", "--checkpoint", "a", "--model", "naive"],
    &["forecast", "--model", "lstm"],
    &["forecast", "--model", "naive", "--steps=-1"],
    &["completions", "tcsh"],
    &["completions"],
    &["doctor", "--fix"],
    &["train"],
    &["--model", "dnn", "--loss", "quantile", "--quantiles", "0.1", "0.9"],
    &["--model", "dnn", "--loss", "quantile", "--quantiles", "0.5", "0.1"],
    &["--model", "dnn", "--loss", "quantile", "--quantiles", "0.5", "1"],
    &["--model", "dnn", "--quantiles", "0.25", "0.5", "0.75"],
];

#[test]
fn usage_errors() {
    let cases = USAGE_ERRORS.iter().map(|&args| {
        let message = parse(args).err().unwrap_or_else(|| panic!("{args:?} is a command line"));
        (args, message)
    });
    assert_snapshot("usage_errors", &transcript(cases));
}

#[test]
fn configuration_errors() {
    let lab = Lab::new();
    let file = lab.path("config.json");
    let cases = [
        r#"{"trainer": {"max_epoch": 3}}"#,
        r#"{"trainer": {"loaders": {"batch_size": "many"}}}"#,
        r#"{"model": "mpl"}"#,
        r#"{"lr": 1, "lr": 2}"#,
        r#"{"trainer": {"lr": 1}, "lr": 2}"#,
        r#"{"trainr": {"max_epochs": 3}}"#,
        r#"{"resume": "last"}"#,
        "{\n  // my run\n  \"model\": \"linear\"\n}",
        "# my run\nmodel: linear\nlr: often",
        "lr = 1",
        "[1]",
        "{",
    ];
    let messages = cases.map(|content| {
        fs::write(&file, content).unwrap();
        let message = parse(&["--config", file.to_str().unwrap()]).unwrap_err();
        format!("{content}\n{}", message.replace(file.to_str().unwrap(), "[FILE]"))
    });
    assert_snapshot("configuration_errors", &messages.join("\n"));
}

/// Command lines that are right, but not for the data, the model or a file.
const COMMAND_ERRORS: &[&[&str]] = &[
    &["--fc1", "0"],
    &["--loss", "mse"],
    &["--loss", "quantile"],
    &["--load_checkpoint", "nowhere.safetensors"],
    &["--model", "lstm", "--loss", "cross_entropy"],
    &["--model", "lstm", "--window_size", "5000"],
    &["--model", "lstm", "--split_time", "9999"],
    &["--model", "lstm", "--early_stop_monitor", "f1", "--patience", "1"],
    &["--model", "seasonal_naive", "--season", "2000"],
    &["--model", "dnn", "--data", "csv"],
    &["--model", "dnn", "--data", "csv", "--csv", "nowhere.csv"],
    &["--model", "dnn", "--data", "csv", "--csv", "[SALES]", "--value_columns", "day"],
    &["--model", "dnn", "--data", "csv", "--csv", "[SALES]", "--time_column", "date"],
    &["--model", "dnn", "--data", "csv", "--csv", "[SALES]", "--time_column", "day", "--window_size", "199"],
    &[
        "--model",
        "dnn",
        "--data",
        "csv",
        "--csv",
        "[PROMO]",
        "--target",
        "sales",
        "--future_covariates",
        "sales",
    ],
    &["--model", "dnn", "--data", "csv", "--csv", "[PROMO]", "--target", "sale"],
    &["--model", "dnn", "--data", "csv", "--csv", "[PROMO]", "--past_covariates", "sales,promo"],
    &[
        "--model",
        "dnn",
        "--data",
        "csv",
        "--csv",
        "[PROMO]",
        "--target",
        "sales",
        "--future_covariates",
        "promo",
        "--horizon",
        "4",
        "--window_size",
        "3",
    ],
    &["--model", "dnn", "--data", "csv", "--csv", "[COUNTED]", "--calendar", "month"],
    &["forecast", "--model", "naive"],
    &["forecast", "--model", "naive", "--csv", "[SALES]", "--value_columns", "day"],
    &["forecast", "--model", "naive", "--csv", "[SALES]", "--time_column", "day", "--steps", "0"],
    &["forecast", "--model", "seasonal_naive", "--csv", "[COUNTED]"],
    &[
        "forecast",
        "--model",
        "moving_average",
        "--csv",
        "[SALES]",
        "--time_column",
        "day",
        "--average",
        "999",
    ],
    &["forecast", "--checkpoint", "nowhere.safetensors", "--csv", "[SALES]", "--time_column", "day"],
    &["forecast", "--checkpoint", "[SALES]", "--csv", "[SALES]", "--time_column", "day"],
    &["forecast", "--checkpoint", "[MLP]", "--csv", "[SALES]", "--time_column", "day"],
    &["forecast", "--checkpoint", "[DNN]", "--csv", "[SALES]", "--value_columns", "1,1"],
];

/// Runs without a report.
fn fit_quietly(experiment: &Experiment) -> anyhow::Result<()> {
    struct Quiet;
    impl Reporter for Quiet {}
    training::experiment::fit(experiment, &Quiet).map(|_| ())
}

#[test]
fn command_errors() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format1");
    let lab = Lab::new();
    let places = [
        ("[SALES]", golden.join("sales.csv")),
        ("[MLP]", golden.join("mlp-mnist/checkpoints/best.safetensors")),
        ("[DNN]", golden.join("dnn-csv/checkpoints/best.safetensors")),
        ("[COUNTED]", lab.path("counted.csv")),
        ("[PROMO]", lab.path("promo.csv")),
        ("[LOGS]", lab.logs()),
    ];
    fs::write(&places[3].1, "v\n1\n2\n3\n").unwrap();
    let rows = (1..29).map(|day| format!("2024-02-{day:02},{},{}\n", day * day % 7, day % 2));
    fs::write(&places[4].1, "day,sales,promo\n".to_owned() + &rows.collect::<String>()).unwrap();
    let places = places.map(|(name, path)| (name, path.to_str().unwrap().to_owned()));
    let cases = COMMAND_ERRORS.iter().map(|&args| {
        let real = |arg: &'static str| {
            places.iter().find(|(name, _)| *name == arg).map_or(arg, |(_, path)| path.as_str())
        };
        let mut command: Vec<&str> = args.iter().copied().map(real).collect();
        if args[0] != "forecast" {
            command.extend(["--device", "cpu", "--threads", "1", "--log_dir", real("[LOGS]")]);
        }
        let result = match parse(&command).unwrap() {
            Invocation::Fit(fit) => {
                let (config, signals) = (fit.config().clone(), Signals::silent());
                let experiment =
                    Experiment { config, resume: None, signals: &signals, strategy: &SingleProcess };
                fit_quietly(&experiment)
            }
            other => other.run().map(|_| ()),
        };
        let message = format!("error: {}\n", training::terminal::causes(&result.unwrap_err()));
        let message = places.iter().fold(message, |message, (name, path)| message.replace(path, name));
        (args, message)
    });
    assert_snapshot("command_errors", &transcript(cases));
}

/// Prints the epochs of a run on a terminal of `width` columns with a clock of its own.
fn epoch_table(width: usize, metrics: &[&str], monitor: &str, epochs: u64) -> String {
    let now = Rc::new(Cell::new(Duration::ZERO));
    let lines = Rc::new(RefCell::new(Vec::new()));
    let (clock, sink) = (Rc::clone(&now), Rc::clone(&lines));
    let surroundings = Surroundings {
        now: Box::new(move || clock.get()),
        width: Box::new(move || width),
        print: Box::new(move |line| sink.borrow_mut().push(line.to_owned())),
    };
    let names: Vec<String> = metrics.iter().map(ToString::to_string).collect();
    let monitors = vec![Monitor::new(monitor, Mode::Min)];
    let mut report = ProgressReport::with_surroundings(epochs, &names, monitors, surroundings);
    for epoch in 0..epochs {
        now.set(now.get() + Duration::from_millis(1500 + 40_000 * epoch));
        report.on_batch_end(Position { epoch, batch: 4, batches: 4 });
        // Falls, and rises again after the third epoch.
        let value = |at: usize| 0.5 + (epoch as f64 - 2.25).powi(2) / 8.0 + at as f64 / 3.0;
        let values = names.iter().enumerate().map(|(at, name)| (name.clone(), value(at))).collect();
        let record = Record { epoch: epoch + 1, step: 0, values };
        assert!(report.on_validation_end(&record).unwrap().is_continue());
    }
    report.on_fit_end();
    lines.take().join("\n")
}

const CLASSIFICATION: &[&str] = &["train_loss", "train_acc", "val_loss", "val_acc"];
const FORECASTING: &[&str] =
    &["train_loss", "val_loss", "val_mae", "val_mse", "val_rmse", "val_mape", "val_smape"];

#[test]
fn epoch_tables() {
    let tables = [60, 80, 160].map(|width| {
        format!(
            "{width} columns\n{}\n\n{}\n",
            epoch_table(width, CLASSIFICATION, "val_loss", 5),
            epoch_table(width, FORECASTING, "val_mae", 12)
        )
    });
    assert_snapshot("epoch_tables", &tables.join("\n"));
}

fn config(args: &[&str]) -> RunConfig {
    match parse(args) {
        Ok(Invocation::Fit(fit)) => fit.config().clone(),
        other => panic!("{other:?}"),
    }
}

/// Returns the results of a run with these values.
fn finished(config: RunConfig, values: &[(&str, f64)], report: Report, skipped: u64) -> Finished {
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    let summary = FitSummary {
        stop: StopReason::MaxEpochs,
        epochs: 10,
        steps: 4300,
        skipped,
        train_time: Duration::from_millis(16_050),
        train_batches: 4300,
        best: Some(Best { metric: "val_loss".into(), value: 0.0712, epoch: 7 }),
        losses: None,
    };
    let results = Record { epoch: 10, step: 4300, values };
    let (profile, errors) = (String::new(), Vec::new());
    Finished { config, folder: None, summary: Some(summary), results, report, profile, errors }
}

/// Returns the report on a baseline of 8 weeks of daily sales: a trend, a weekly pattern, and an odd day.
fn forecast_report(baseline: Baseline, args: &[&str]) -> Report {
    let lab = Lab::new();
    let file = lab.path("sales.csv");
    let row = |day: u64| {
        let sales =
            day as f64 * 0.25 + if day % 7 < 5 { 10.0 } else { 3.5 } + if day == 45 { 8.0 } else { 0.0 };
        format!("2024-{:02}-{:02},{sales}\n", 1 + day / 28, 1 + day % 28)
    };
    fs::write(&file, "day,sales\n".to_owned() + &(0..56).map(row).collect::<String>()).unwrap();
    let flags = ["--model", baseline.name(), "--data", "csv", "--csv", file.to_str().unwrap()];
    let config = config(&[&flags[..], args].concat());
    let data = registry::data("csv").unwrap().build(&config.data_config, Target::default(), None).unwrap();
    let trained = Trained::Baseline(baseline);
    data.task.report(baseline.name(), &trained, None).unwrap()
}

#[test]
fn results_tables() {
    let values =
        [("val_loss", 0.071_234_5), ("val_acc", 0.978_1), ("test_loss", 0.068_7), ("test_acc", 0.98)];
    let table = |width: usize, finished: &Finished| {
        format!("{width} columns\n{}\n", format::wrap(&finished.table(), width))
    };
    let classification = finished(config(&[]), &values, Report::default(), 0);
    let skipped = finished(config(&[]), &values[..2], Report::default(), 1);
    let texts = [
        table(80, &classification),
        table(60, &classification),
        table(40, &classification),
        table(80, &skipped),
    ];
    assert_snapshot("results_tables", &texts.join("\n"));
}

#[test]
fn forecast_comparisons() {
    let weekly = ["--time_column", "day", "--season", "7", "--average", "3", "--difference_average", "5"];
    let of = |baseline, more: &[&str]| {
        let report = forecast_report(baseline, &[&weekly[..], more].concat());
        let metrics = report.metrics.as_ref().unwrap().values.clone();
        let metrics: Vec<String> =
            metrics.iter().map(|(name, value)| format!("{name} {}", format::number(*value))).collect();
        format!("{}\n{}", metrics.join("\n"), report.table)
    };
    let texts = [
        of(Baseline::Naive, &[]),
        of(Baseline::SeasonalNaive, &["--horizon", "3"]),
        of(Baseline::MovingAverage, &["--past_average", "1"]),
    ];
    assert_snapshot("forecast_comparisons", &texts.join("\n"));
}
