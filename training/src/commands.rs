//! The commands of `run_experiment`, one file per command.

use std::ffi::OsString;

use anyhow::Result;
use clap::{Arg, ArgAction, Args, Command, FromArgMatches};

use crate::cli::{self, CliError};
use crate::experiment::registry::{DATA, MODELS};
use crate::experiment::{DataEntry, ModelEntry, registry};
use crate::version;

mod backtest;
mod completions;
mod data;
mod doctor;
mod download;
mod fit;
mod forecast;

pub use backtest::BacktestCommand;
pub use completions::CompletionsArgs;
pub use data::DataArgs;
pub use fit::FitCommand;
pub use forecast::ForecastArgs;

/// A parsed command line.
#[derive(Debug)]
pub enum Invocation {
    /// Trains and evaluates a model, or evaluates a baseline.
    Fit(Box<FitCommand>),
    /// Forecasts from several cutoffs of a series.
    Backtest(Box<BacktestCommand>),
    /// Forecasts the future of a series.
    Forecast(Box<ForecastArgs>),
    /// Shows how a file is read.
    Data(Box<DataArgs>),
    /// Prints the completions of a shell.
    Completions(CompletionsArgs),
    /// Checks libtorch, the devices and the data.
    Doctor,
}

impl Invocation {
    /// Runs the command.
    ///
    /// # Errors
    /// Fails if the command does.
    pub fn run(self) -> Result<Ended> {
        match self {
            Self::Fit(fit) => fit.run(),
            Self::Backtest(backtest) => backtest.run(),
            Self::Forecast(args) => args.run().map(|()| Ended::Done),
            Self::Data(args) => args.run().map(|()| Ended::Done),
            Self::Completions(args) => args.run().map(|()| Ended::Done),
            Self::Doctor => doctor::run().map(|()| Ended::Done),
        }
    }
}

/// The end of a command that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The command did all that it was asked for.
    Done,
    /// A signal stopped the command, by which the process now ends.
    BySignal(i32),
}

/// Parses a command line. The first argument is the name of the program.
///
/// # Errors
/// Fails if the command line is wrong, or asks for help or the version; clap has the text for all three.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, CliError> {
    let args: Vec<OsString> = args.into_iter().collect();
    cli::check_utf8(&args)?;
    let is_backtest = args.get(1).is_some_and(|word| word == backtest::NAME);
    let without_name = args.iter().enumerate().filter(|(at, _)| !(is_backtest && *at == 1));
    let flags: Vec<OsString> = without_name.map(|(_, arg)| arg.clone()).collect();
    let mut choice = cli::choice(&all_flags(), &flags);
    if is_backtest && choice.config.is_none() && choice.resume.is_none() {
        choice.data.get_or_insert_with(|| backtest::DATA.into());
        choice.model.get_or_insert_with(|| backtest::MODEL.into());
    }
    let base = fit::Base::find(&choice)?;
    base.check_command(is_backtest)?;
    let (model, data) = base.entries(&choice)?;
    // The values of a configuration are the defaults of the flags of training, which a backtest has too.
    let root = command(model, data);
    let trains =
        if is_backtest { cli::with_kebab_case(backtest::command(model, data)) } else { root.clone() };
    let trains = base.apply(trains, model, data)?;
    let resumed = base.resumed(&trains, model, data)?;
    let command = if is_backtest { root.mut_subcommand(backtest::NAME, |_| trains) } else { trains };
    let matches = command
        .try_get_matches_from(&args)
        .map_err(|error| base.explain(error, &choice.typed, model, data))?;
    Ok(match matches.subcommand() {
        Some((backtest::NAME, matches)) => {
            Invocation::Backtest(Box::new(BacktestCommand::new(matches, model, data, resumed)?))
        }
        Some(("doctor", _)) => Invocation::Doctor,
        Some(("forecast", matches)) => {
            Invocation::Forecast(Box::new(ForecastArgs::from_arg_matches(matches)?))
        }
        Some(("data", matches)) => Invocation::Data(Box::new(DataArgs::from_arg_matches(matches)?)),
        Some(("completions", matches)) => {
            Invocation::Completions(CompletionsArgs::from_arg_matches(matches)?)
        }
        _ => {
            let resumed = resumed.map(|resumed| (resumed.resume, resumed.config));
            Invocation::Fit(Box::new(FitCommand::new(&matches, model, data, resumed)?))
        }
    })
}

/// Returns the command with the flags of this model and this data.
pub fn command(model: &ModelEntry, data: &DataEntry) -> Command {
    let command = fit::with_flags(root(), model, data);
    let command = command
        .subcommand(backtest::listed(model, data))
        .subcommand(forecast::with_flags(Command::new("forecast")))
        .subcommand(data::with_flags(Command::new("data")))
        .subcommand(Command::new("doctor").about(doctor::ABOUT))
        .subcommand(CompletionsArgs::augment_args(Command::new("completions")).about(completions::ABOUT));
    cli::with_kebab_case(command)
}

/// Returns the command with the flags of every model and data.
fn all_flags() -> Command {
    let (model, data) = (registry::DEFAULT_MODEL, registry::default_data(registry::DEFAULT_MODEL));
    let (Ok(model), Ok(data)) = (registry::model(model), registry::data(data)) else { return root() };
    let of_models = MODELS.iter().map(|entry| (entry.flags.augment)(Command::new("")));
    let of_data = DATA.iter().map(|entry| (entry.flags.augment)(Command::new("")));
    let of_backtest = backtest::with_own_flags(Command::new(""));
    let more: Vec<Command> = of_models.chain(of_data).chain([of_backtest]).collect();
    cli::with_kebab_case(cli::union(command(model, data), &more))
}

fn root() -> Command {
    Command::new("run_experiment")
        .version(format!("{}, libtorch {}", env!("CARGO_PKG_VERSION"), version::libtorch()))
        .args_conflicts_with_subcommands(true)
        .disable_version_flag(true)
        .arg(Arg::new("version").long("version").action(ArgAction::Version).help("Print the version"))
        .max_term_width(110)
        // --lr -1 is then an error of the value -1, instead of an unknown flag -1.
        .allow_negative_numbers(true)
        // The last value of a repeated flag wins, as in Python's argparse.
        .args_override_self(true)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use signal_hook::consts::SIGTERM;
    use text_recognizer::optim::ScheduleName;

    use super::*;
    use crate::experiment::{self, Experiment, Outcome, Reporter, RunConfig, check_resume};
    use crate::trainer::{Signals, SingleProcess};

    fn parsed(args: &[&str]) -> Result<RunConfig, String> {
        let args = std::iter::once("run_experiment").chain(args.iter().copied()).map(OsString::from);
        match parse(args) {
            Ok(Invocation::Fit(fit)) => Ok(fit.config().clone()),
            Ok(other) => Err(format!("{other:?}")),
            Err(CliError::Clap(error)) => Err(error.to_string()),
            Err(CliError::Other(error)) => Err(format!("{error:#}")),
        }
    }

    #[test]
    fn command_of_every_model_and_data_is_valid() {
        for model in MODELS.iter() {
            for data in DATA.iter() {
                command(model, data).debug_assert();
            }
        }
    }

    #[test]
    fn flags_in_kebab_case_equal_those_in_snake_case() {
        let config = parsed(&["--max-epochs=3", "--batch-size", "7", "--lr", "1e-4"]).unwrap();
        assert_eq!(config.trainer.budget.max_epochs, 3.into());
        assert_eq!(config.trainer.loaders.batch_size, 7.into());
        assert_eq!(config.lit.optimizer.lr, 1e-4);
    }

    #[test]
    fn mistyped_flag_or_value_is_an_error_with_its_name() {
        let cases: &[(&[&str], &[&str])] = &[
            (&["--model", "mlpp"], &["mlpp", "'mlp'"]),
            (&["--data", "mnits"], &["mnits", "'mnist'"]),
            (&["--max_epoch", "3"], &["--max_epochs"]),
            (&["--lr", "0"], &["lr is 0", "greater than 0"]),
            (&["--lr", "-1"], &["lr"]),
            (&["--batch_size", "0"], &["batch_size is 0", "at least 1"]),
            (&["--max_epochs", "-1"], &["max_epochs"]),
            (&["--min_epochs", "20"], &["min_epochs is 20", "at most max_epochs, 10"]),
            (&["--config", "/nowhere.json"], &["/nowhere.json"]),
            (&["--resume", "/nowhere"], &["cannot resume /nowhere", "neither a checkpoint"]),
        ];
        for (args, expected) in cases {
            let error = parsed(args).unwrap_err();
            for part in *expected {
                assert!(error.contains(part), "{args:?}: no {part:?} in {error}");
            }
        }
    }

    #[test]
    fn config_file_reproduces_the_run_and_typed_flags_override_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let typed = [
            "--fc1",
            "64",
            "--nesterov",
            "--optimizer",
            "sgd",
            "--momentum",
            "0.9",
            "--limit_val_batches",
            "0.5",
        ];
        let config = parsed(&typed).unwrap();
        fs::write(&path, serde_json::to_string(&config).unwrap()).unwrap();
        let path = path.to_str().unwrap();
        assert_eq!(parsed(&["--config", path]).unwrap(), config);
        let changed = parsed(&["--config", path, "--fc1", "32", "--nesterov=false"]).unwrap();
        assert_eq!(changed.model_config["fc1"], 32);
        assert!(!changed.lit.optimizer.nesterov);
        fs::write(path, r#"{"trainer": {"max_epoch": 3}}"#).unwrap();
        assert!(parsed(&["--config", path]).unwrap_err().contains("max_epoch is not a flag"));
    }

    #[test]
    fn invalid_value_is_an_error_of_the_place_it_came_from() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let path = path.to_str().unwrap();
        fs::write(path, r#"{"trainer": {"loaders": {"batch_size": "many"}}}"#).unwrap();
        let of_file = parsed(&["--config", path, "--name", "many"]).unwrap_err();
        assert!(of_file.contains("cannot use the configuration"), "{of_file}");
        let typed = parsed(&["--config", path, "--batch-size", "many"]).unwrap_err();
        assert!(!typed.contains("configuration") && typed.contains("--batch_size"), "{typed}");
        assert_eq!(
            parsed(&["--config", path, "--batch_size", "7"]).unwrap().trainer.loaders.batch_size,
            7.into()
        );
    }

    #[test]
    fn one_cycle_max_lr_selects_the_one_cycle_schedule() {
        let schedule = |args: &[&str]| parsed(args).unwrap().lit.schedule.lr_schedule;
        assert_eq!(schedule(&[]), ScheduleName::Exponential);
        assert_eq!(schedule(&["--model", "dnn"]), ScheduleName::Constant);
        assert_eq!(schedule(&["--one_cycle_max_lr", "1e-2"]), ScheduleName::OneCycle);
        assert_eq!(schedule(&["--lr_schedule", "constant"]), ScheduleName::Constant);
    }

    #[test]
    fn signal_in_a_smoke_test_stops_it_without_results() {
        struct Silent;
        impl Reporter for Silent {}
        let config = parsed(&["--model", "dnn", "--fast_dev_run", "--device", "cpu"]).unwrap();
        let signals = Signals::silent();
        signals.raise(SIGTERM);
        let experiment = Experiment { config, resume: None, signals: &signals, strategy: &SingleProcess };
        let outcome = experiment::fit(&experiment, &Silent).unwrap();
        assert!(matches!(outcome, Outcome::Stopped { signal: SIGTERM, folder: None, .. }), "{outcome:?}");
    }

    #[test]
    fn preset_of_every_model_differs_from_its_defaults() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("presets");
        let mut presets = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let config = parsed(&["--config", path.to_str().unwrap()]).unwrap();
            assert_eq!(config.model, path.file_stem().unwrap().to_str().unwrap());
            assert_ne!(config, parsed(&["--model", &config.model]).unwrap(), "{}", config.model);
            presets += 1;
        }
        assert_eq!(presets, 6);
    }

    #[test]
    fn check_resume_allows_another_budget_and_nothing_else() {
        let base = parsed(&[]).unwrap();
        assert!(check_resume(&base, &parsed(&["--max_epochs", "50"]).unwrap()).is_ok());
        let error = check_resume(&base, &parsed(&["--batch_size", "64", "--seed", "1"]).unwrap())
            .unwrap_err()
            .to_string();
        assert!(error.contains("--batch_size: 128 -> 64") && error.contains("--seed: 42 -> 1"), "{error}");
    }

    #[test]
    fn free_flags_exist() {
        let all = all_flags();
        for name in crate::experiment::free() {
            assert!(all.get_arguments().any(|arg| arg.get_long() == Some(name)), "{name}");
        }
    }

    #[test]
    fn config_of_an_earlier_version_is_read() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format1");
        let path = folder.join("mlp-mnist/config.json");
        let config = parsed(&["--config", path.to_str().unwrap()]).unwrap();
        assert_eq!((&config.model_config["fc1"], config.trainer.budget.max_epochs), (&4.into(), 1.into()));
    }
}
