//! From the command line to a typed configuration.
//!
//! The flags are those of the chosen model and data; their defaults are, from weak to strong: the flag's own, the model's
//! (see [`ModelEntry::defaults`]), those of `--config FILE` or of the run that `--resume` continues. What is typed wins.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use clap::{ArgAction, ArgMatches, Args, Command, FromArgMatches};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use text_recognizer::lit_models::LitConfig;

use crate::doctor;
use crate::registry::{self, DataEntry, ModelEntry};
use crate::run::ForecastArgs;
use crate::say::LogLevel;
use crate::trainer::{LrFindConfig, TrainerConfig};

mod defaults;
mod resume;
mod typed;

use defaults::{in_file, read_config, with_config_defaults};
pub use resume::Resume;
use resume::{check_resume, find_resume};
use typed::{explain, is_typed, snake_case, value_of};

/// What a run is, in full: written to its `config.json`, repeated in its checkpoints, and taken by `--config`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// As in `--model`.
    pub model: String,
    /// As in `--data`.
    pub data: String,
    /// The model's flags.
    pub model_config: Value,
    /// The data's flags.
    pub data_config: Value,
    /// Loss, optimiser and schedule.
    pub lit: LitConfig,
    /// The trainer's flags.
    pub trainer: TrainerConfig,
    /// The learning-rate sweep's flags.
    pub lr_find: LrFindConfig,
}

/// The flags that say how to talk, and are no part of what a run is.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Model.
    #[arg(long = "model", default_value = "mlp")]
    model: String,
    /// Data set.
    #[arg(long = "data", default_value = "mnist")]
    data: String,
    /// Take defaults from this file; a run's own config.json reproduces the run.
    #[arg(long = "config")]
    pub config: Option<PathBuf>,
    /// Continue a run in its own folder: the folder, its last checkpoint, or `last` for the run that was saved last (of --model
    /// and --data, where they are given).
    #[arg(long = "resume", conflicts_with = "config")]
    pub resume: Option<PathBuf>,
    /// Print the configuration as JSON and do nothing.
    #[arg(long = "print_config")]
    pub print_config: bool,
    /// Print the results as one line of JSON.
    #[arg(long = "json")]
    pub json: bool,
    /// How much of the run's course is told, on standard error.
    #[arg(long = "log_level", value_enum, default_value_t = LogLevel::Info)]
    log_level: LogLevel,
    /// Say nothing but results and errors, as --log_level error.
    #[arg(long = "quiet", overrides_with = "log_level")]
    quiet: bool,
}

impl RunArgs {
    /// How much is told.
    pub fn level(&self) -> LogLevel {
        if self.quiet { LogLevel::Error } else { self.log_level }
    }
}

/// A command line, understood.
#[derive(Debug)]
pub enum Invocation {
    /// Train.
    Run(Box<Run>),
    /// Forecast the future of a series from a checkpoint.
    Forecast(Box<ForecastArgs>),
    /// Look at what this program runs on.
    Doctor,
}

/// A run to start or to continue.
#[derive(Debug)]
pub struct Run {
    /// How to talk.
    pub args: RunArgs,
    /// What to run.
    pub config: RunConfig,
    /// The checkpoint to continue from, and its run's folder.
    pub resume: Option<Resume>,
}

/// Why there is no invocation: clap's own message (with its exit code), or ours.
#[derive(Debug)]
pub enum CliError {
    /// Help, version, or a usage error.
    Clap(Box<clap::Error>),
    /// Anything else.
    Other(anyhow::Error),
}

impl From<clap::Error> for CliError {
    fn from(error: clap::Error) -> Self {
        Self::Clap(Box::new(error))
    }
}

impl From<anyhow::Error> for CliError {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

/// Understands a command line, program name first.
///
/// # Errors
/// For help and version too, which clap prints.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, CliError> {
    let args: Vec<OsString> = args.into_iter().map(snake_case).collect();
    // Which flags there are depends on these, so they are looked at first.
    let named = |flag: &str| value_of(&args, flag);
    let config_path = named("--config").map(PathBuf::from);
    let resume = match named("--resume") {
        Some(given) => {
            Some(find_resume(Path::new(&given), named("--model"), named("--data"), named("--log_dir"))?)
        }
        None => None,
    };
    let config_path = resume.as_ref().map(|resume| resume.folder.join("config.json")).or(config_path);
    let base = config_path.as_deref().map(read_config).transpose()?;
    let text = |key: &str| base.as_ref().and_then(|base| base[key].as_str()).map(str::to_owned);
    let model = named("--model").or(text("model")).unwrap_or_else(|| "mlp".into());
    let data = named("--data").or(text("data")).unwrap_or_else(|| registry::default_data(&model).into());
    // A name that does not exist gets clap's answer, with what was meant.
    let run_args = RunArgs::augment_args(Command::new("run_experiment"));
    named_args(run_args).try_get_matches_from(["run_experiment", "--model", &model, "--data", &data])?;

    let (model, data) = (registry::model(&model)?, registry::data_module(&data)?);
    let mut command = command(&model, &data);
    if let Some(base) = &base {
        let path = config_path.as_deref().unwrap_or(Path::new(""));
        command = with_config_defaults(command, base, path, &model, &data)?;
    }
    let matches = command.try_get_matches_from(&args).map_err(|error| {
        let file = config_path.as_deref().filter(|_| !is_typed(&error, &args));
        match file {
            Some(file) => in_file(&error, file),
            None => explain(error, &model, &data),
        }
    })?;
    match matches.subcommand() {
        Some(("doctor", _)) => return Ok(Invocation::Doctor),
        Some(("forecast", matches)) => {
            return Ok(Invocation::Forecast(Box::new(ForecastArgs::from_arg_matches(matches)?)));
        }
        _ => {}
    }
    let run_args = RunArgs::from_arg_matches(&matches)?;
    let config = run_config(&matches, &model, &data)?;
    if let (Some(_), Some(base)) = (&resume, &base) {
        check_resume(base, &config)?;
    }
    registry::check_pair(&model, &data)?;
    config.trainer.validate().map_err(anyhow::Error::from)?;
    config.lit.validate().map_err(anyhow::Error::from)?;
    Ok(Invocation::Run(Box::new(Run { args: run_args, config, resume })))
}

fn run_config(matches: &ArgMatches, model: &ModelEntry, data: &DataEntry) -> Result<RunConfig> {
    Ok(RunConfig {
        model: model.name.into(),
        data: data.name.into(),
        model_config: (model.flags.read)(matches)?,
        data_config: (data.flags.read)(matches)?,
        lit: LitConfig::from_arg_matches(matches)?,
        trainer: TrainerConfig::from_arg_matches(matches)?,
        lr_find: LrFindConfig::from_arg_matches(matches)?,
    })
}

const ABOUT: &str = "Train a model on a data set, and test it";

/// The command with the flags of this model and this data.
pub fn command(model: &ModelEntry, data: &DataEntry) -> Command {
    let command = Command::new("run_experiment")
        .version(format!("{}, libtorch {}", env!("CARGO_PKG_VERSION"), doctor::libtorch_version()))
        .subcommand(
            Command::new("doctor")
                .about("Show what libtorch, devices and data were found, and train a step on each"),
        )
        .subcommand(
            ForecastArgs::augment_args(Command::new("forecast"))
                .about("Forecast what follows a file's last row, from a checkpoint alone"),
        )
        .args_conflicts_with_subcommands(true)
        .disable_version_flag(true)
        .arg(clap::Arg::new("version").long("version").action(ArgAction::Version).help("Print the version"))
        .max_term_width(110)
        // So that --lr -1 is an impossible value, and not an unknown flag -1.
        .allow_negative_numbers(true)
        // As in argparse: what is said last wins.
        .args_override_self(true)
        .next_help_heading("Run");
    let command = named_args(RunArgs::augment_args(command))
        .mut_arg("model", |arg| arg.default_value(model.name))
        .mut_arg("data", |arg| arg.default_value(data.name));
    let command = (model.flags.augment)(command.next_help_heading(format!("Model {}", model.name)));
    let command = (data.flags.augment)(command.next_help_heading(format!("Data {}", data.name)));
    let command = LitConfig::augment_args(command.next_help_heading("Loss and optimizer"));
    let command = LrFindConfig::augment_args(command.next_help_heading("Learning-rate sweep"));
    let command = TrainerConfig::augment_args(command.next_help_heading("Trainer"));
    // Each flattened struct leaves its own description behind.
    let command = command.about(ABOUT).long_about(ABOUT);
    let defaults = model.defaults.iter().chain(data.defaults);
    defaults.fold(command, |command, (flag, value)| command.mut_arg(flag, |arg| arg.default_value(*value)))
}

/// Lists what `--model` and `--data` can be.
fn named_args(command: Command) -> Command {
    let names = |entries: Vec<(&'static str, &'static str)>| {
        PossibleValuesParser::new(
            entries.into_iter().map(|(name, about)| clap::builder::PossibleValue::new(name).help(about)),
        )
    };
    let models = names(registry::all_models().iter().map(|entry| (entry.name, entry.about)).collect());
    let data = names(registry::data_modules().iter().map(|entry| (entry.name, entry.about)).collect());
    command.mut_arg("model", |arg| arg.value_parser(models)).mut_arg("data", |arg| arg.value_parser(data))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use text_recognizer::optim::ScheduleName;

    use super::*;

    fn parsed(args: &[&str]) -> Result<RunConfig, String> {
        let args = std::iter::once("run_experiment").chain(args.iter().copied()).map(OsString::from);
        match parse(args) {
            Ok(Invocation::Run(run)) => Ok(run.config),
            Ok(other) => Err(format!("{other:?}")),
            Err(CliError::Clap(error)) => Err(error.to_string()),
            Err(CliError::Other(error)) => Err(format!("{error:#}")),
        }
    }

    #[test]
    fn the_command_of_every_model_and_data_is_sound() {
        for model in registry::all_models() {
            for data in registry::data_modules() {
                command(&model, &data).debug_assert();
            }
        }
    }

    #[test]
    fn kebab_case_is_snake_case() {
        let config = parsed(&["--max-epochs=3", "--batch-size", "7", "--lr", "1e-4"]).unwrap();
        assert_eq!((config.trainer.max_epochs, config.trainer.batch_size), (3, 7));
        assert_eq!(config.lit.optimizer.lr, 1e-4);
    }

    #[test]
    fn what_a_person_mistypes_is_explained() {
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
            (&["--resume", "/nowhere"], &["/nowhere", "neither a checkpoint"]),
        ];
        for (args, expected) in cases {
            let error = parsed(args).unwrap_err();
            for part in *expected {
                assert!(error.contains(part), "{args:?}: {error} does not say {part}");
            }
        }
    }

    #[test]
    fn a_configuration_fed_back_is_itself_and_typed_flags_win() {
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
        assert!(parsed(&["--config", path]).unwrap_err().contains("max_epoch is no flag"));
    }

    #[test]
    fn one_cycle_is_the_schedule_of_its_highest_rate() {
        let schedule = |args: &[&str]| parsed(args).unwrap().lit.schedule.lr_schedule;
        assert_eq!(schedule(&[]), ScheduleName::Exponential);
        assert_eq!(schedule(&["--model", "dnn"]), ScheduleName::Constant);
        assert_eq!(schedule(&["--one_cycle_max_lr", "1e-2"]), ScheduleName::OneCycle);
        assert_eq!(schedule(&["--lr_schedule", "constant"]), ScheduleName::Constant);
    }

    #[test]
    fn every_preset_is_a_configuration_of_its_model() {
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
    fn a_resumed_run_may_change_its_budget_and_nothing_else() {
        let base = parsed(&[]).unwrap();
        let json = serde_json::to_value(&base).unwrap();
        assert!(check_resume(&json, &parsed(&["--max_epochs", "50"]).unwrap()).is_ok());
        let error = check_resume(&json, &parsed(&["--batch_size", "64", "--seed", "1"]).unwrap())
            .unwrap_err()
            .to_string();
        assert!(error.contains("--batch_size: 128 -> 64") && error.contains("--seed: 42 -> 1"), "{error}");
    }
}
