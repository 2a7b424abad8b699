//! `run_experiment` without a command: trains and evaluates a model.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use console::Term;
use serde_json::{Value, json};
use text_recognizer::lit_models::LitConfig;

use super::{Ended, download};
use crate::cli::{self, Choice, CliError};
use crate::experiment::registry::{self, DATA, MODELS, ModelKind};
use crate::experiment::{
    DataEntry, Experiment, FolderConfig, ModelEntry, OnDownload, Outcome, Reporter, Resume, RunConfig,
    check_resume, find_resume,
};
use crate::format::listed;
use crate::logging::{self, LogLevel};
use crate::report::ModelSummary;
use crate::time_series::{EnsembleConfig, FoldConfig};
use crate::trainer::callbacks::{Callback, Monitor, ProgressReport};
use crate::trainer::{LrFindConfig, LrFindResult, Signals, SingleProcess, TrainerConfig};
use crate::{experiment, format, process, terminal};

const ABOUT: &str = "Train a model on a data set and evaluate it";

/// The flags of a run besides those of the model, the data, the optimizer and the trainer.
#[derive(Debug, Clone, Args)]
pub(super) struct FitArgs {
    /// Train this model, or evaluate this baseline.
    #[arg(long = "model")]
    model: String,
    /// Use this data set.
    #[arg(long = "data")]
    data: String,
    /// Read the defaults of all flags from FILE, in JSON or YAML; the config.json of a run reproduces the run.
    #[arg(long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Continue a run: its folder, its last checkpoint, or `last` for the latest run (of --model and --data, if given).
    #[arg(long = "resume", value_name = "FOLDER", conflicts_with = "config")]
    resume: Option<PathBuf>,
    /// Continue a run although its data has changed since the checkpoint.
    #[arg(long = "allow_changed_data", requires = "resume")]
    allow_changed_data: bool,
    /// Print the configuration as JSON and exit.
    #[arg(long = "print_config")]
    pub print_config: bool,
    /// Print the results as one line of JSON.
    #[arg(long = "json")]
    pub json: bool,
    /// Print messages of this level and above on standard error.
    #[arg(long = "log_level", value_enum, default_value_t = LogLevel::Info)]
    log_level: LogLevel,
    /// Print only results and errors; same as --log_level error.
    #[arg(long = "quiet", overrides_with = "log_level")]
    quiet: bool,
}

/// Adds the flags of this model and this data.
pub fn with_flags(command: Command, model: &ModelEntry, data: &DataEntry) -> Command {
    let command = FitArgs::augment_args(command.next_help_heading("Run"));
    let command = FolderConfig::augment_args(named(command))
        .mut_arg("model", |arg| arg.default_value(model.name).required(false))
        .mut_arg("data", |arg| arg.default_value(data.name).required(false));
    let command = (model.flags.augment)(command.next_help_heading(format!("Model {}", model.name)));
    let command = (data.flags.augment)(command.next_help_heading(format!("Data {}", data.name)));
    let command = LitConfig::augment_args(command.next_help_heading("Loss and optimizer"));
    let command = LrFindConfig::augment_args(command.next_help_heading("Learning-rate finder"));
    let command = TrainerConfig::augment_args(command.next_help_heading("Trainer"));
    // Each flattened struct overwrites the description.
    let command = command.about(ABOUT).long_about(ABOUT);
    registry::defaults(model, data).fold(command, |command, (flag, value)| {
        // Some flags with a default for all models are those of some models only.
        let of_some = registry::OF_SOME_MODELS.contains(flag);
        let is_missing = || !command.get_arguments().any(|arg| arg.get_id() == flag);
        if of_some && is_missing() { command } else { command.mut_arg(flag, |arg| arg.default_value(*value)) }
    })
}

/// Adds the possible values of `--model` and `--data`.
fn named(command: Command) -> Command {
    let values = |entries: Vec<(&'static str, &'static str)>| {
        PossibleValuesParser::new(
            entries.into_iter().map(|(name, about)| PossibleValue::new(name).help(about)),
        )
    };
    let models = values(MODELS.iter().map(|entry| (entry.name, entry.about)).collect());
    let data = values(DATA.iter().map(|entry| (entry.name, entry.about)).collect());
    command.mut_arg("model", |arg| arg.value_parser(models)).mut_arg("data", |arg| arg.value_parser(data))
}

/// A run to resume, with its configuration.
pub struct Resumed {
    pub resume: Resume,
    pub config: RunConfig,
    /// The flags that only a backtest has.
    pub own: Option<(FoldConfig, EnsembleConfig)>,
}

/// The source of the defaults of the flags: a configuration file, or the run to resume.
#[derive(Debug, Default)]
pub struct Base {
    resume: Option<Resume>,
    /// The path and the content of the configuration file.
    file: Option<(PathBuf, Value)>,
}

impl Base {
    /// Finds the run to resume, and reads the configuration file.
    ///
    /// # Errors
    /// Fails if there is no such run, or if the file cannot be read.
    pub fn find(choice: &Choice) -> Result<Self> {
        let Choice { model, data, config, resume, log_dir, .. } = choice;
        let log_dir = log_dir.as_deref().unwrap_or(Path::new(FolderConfig::LOG_DIR));
        let resume =
            resume.as_deref().map(|given| find_resume(given, model.as_deref(), data.as_deref(), log_dir));
        let resume = resume.transpose()?;
        let path = resume.as_ref().map(Resume::config).or_else(|| config.clone());
        let file = path.map(|path| Ok::<_, anyhow::Error>((cli::read_config(&path)?, path))).transpose()?;
        Ok(Self { resume, file: file.map(|(value, path)| (path, value)) })
    }

    /// Fails if the run to resume is a backtest and the command is not, or the other way around.
    ///
    /// # Errors
    /// Fails with the command to try.
    pub fn check_command(&self, is_backtest: bool) -> Result<()> {
        let Some(resume) = &self.resume else { return Ok(()) };
        let folder = resume.folder.display();
        ensure!(
            !resume.is_backtest() || is_backtest,
            "cannot resume {folder}: it is a backtest; try `run_experiment backtest --resume {folder}`"
        );
        ensure!(
            resume.is_backtest() || !is_backtest,
            "cannot resume {folder}: it is not a backtest; try `run_experiment --resume {folder}`"
        );
        Ok(())
    }

    /// Returns the model and data: the typed ones, else those of the configuration, else the defaults.
    ///
    /// # Errors
    /// Fails with clap's error if a name does not exist.
    pub fn entries(&self, choice: &Choice) -> Result<(&'static ModelEntry, &'static DataEntry), CliError> {
        let of_file =
            |key: &str| self.file.as_ref().and_then(|(_, base)| base[key].as_str()).map(str::to_owned);
        let model =
            choice.model.clone().or(of_file("model")).unwrap_or_else(|| registry::DEFAULT_MODEL.into());
        let data =
            choice.data.clone().or(of_file("data")).unwrap_or_else(|| registry::default_data(&model).into());
        let names = named(FitArgs::augment_args(Command::new("run_experiment")));
        let matches = names.try_get_matches_from(["run_experiment", "--model", &model, "--data", &data]);
        matches.map_err(|error| match &self.file {
            Some((path, _)) if !cli::is_typed(&error, &choice.typed) => cli::in_file(&error, path),
            _ => error.into(),
        })?;
        Ok((registry::model(&model)?, registry::data(&data)?))
    }

    /// Makes the values of the configuration the defaults of the flags.
    ///
    /// # Errors
    /// Fails if a name in the configuration is not a flag.
    pub fn apply(&self, command: Command, model: &ModelEntry, data: &DataEntry) -> Result<Command> {
        match &self.file {
            Some((path, base)) => cli::with_config_defaults(command, base, path, model, data),
            None => Ok(command),
        }
    }

    /// Returns the run to resume and its configuration. A flag that is missing in the file of an older version has its default.
    ///
    /// # Errors
    /// Fails if a value in the file is not valid for its flag.
    pub fn resumed(
        &self,
        command: &Command,
        model: &ModelEntry,
        data: &DataEntry,
    ) -> Result<Option<Resumed>, CliError> {
        let Some(resume) = &self.resume else { return Ok(None) };
        let nothing = [OsString::from(command.get_name())];
        let matches = command.clone().try_get_matches_from(&nothing);
        let matches = matches.map_err(|error| self.explain(error, &[], model, data))?;
        // Only a backtest has flags of folds and of an ensemble.
        let own = match matches.try_contains_id("folds") {
            Ok(_) => {
                Some((FoldConfig::from_arg_matches(&matches)?, EnsembleConfig::from_arg_matches(&matches)?))
            }
            Err(_) => None,
        };
        Ok(Some(Resumed { resume: resume.clone(), config: read(&matches, model, data)?, own }))
    }

    /// Adds context to an error of clap: the file of a value, or the model or data of a flag. `typed` are the names of the typed
    /// flags.
    pub fn explain(
        &self,
        error: clap::Error,
        typed: &[String],
        model: &ModelEntry,
        data: &DataEntry,
    ) -> CliError {
        match &self.file {
            Some((path, _)) if !cli::is_typed(&error, typed) => cli::in_file(&error, path),
            _ => cli::of_another(error, model, data),
        }
    }
}

/// Reads the flags of a run.
fn read(matches: &ArgMatches, model: &ModelEntry, data: &DataEntry) -> Result<RunConfig, CliError> {
    Ok(RunConfig {
        model: model.name.into(),
        data: data.name.into(),
        model_config: (model.flags.read)(matches)?,
        data_config: (data.flags.read)(matches)?,
        lit: LitConfig::from_arg_matches(matches)?,
        trainer: TrainerConfig::from_arg_matches(matches)?,
        lr_find: LrFindConfig::from_arg_matches(matches)?,
        folder: FolderConfig::from_arg_matches(matches)?,
    })
}

/// Fails if a flag of training is typed for a baseline. The values of a configuration file have no effect on a baseline.
fn check_trained(matches: &ArgMatches, model: &ModelEntry) -> Result<()> {
    /// The flags of training that a baseline has a use for.
    const USED: [&str; 3] = ["fast_dev_run", "device", "threads"];
    if matches!(model.kind, ModelKind::Network(_)) {
        return Ok(());
    }
    let training = LrFindConfig::augment_args(LitConfig::augment_args(Command::new("")));
    let training = TrainerConfig::augment_args(training);
    let typed = training.get_arguments().filter(|arg| {
        matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
            && !USED.contains(&arg.get_id().as_str())
    });
    let typed: Vec<String> = typed.filter_map(|arg| Some(format!("--{}", arg.get_long()?))).collect();
    ensure!(
        typed.is_empty(),
        "cannot use {} with {1}: {1} has no training; try without {2}",
        listed(&typed),
        model.name,
        if typed.len() == 1 { "this flag" } else { "these flags" }
    );
    Ok(())
}

/// A run to start or to continue.
#[derive(Debug)]
pub struct FitCommand {
    pub(super) args: FitArgs,
    pub(super) config: RunConfig,
    pub(super) resume: Option<Resume>,
}

impl FitCommand {
    /// Reads and checks the flags.
    ///
    /// # Errors
    /// Fails if a value is impossible, or if a flag would change the experiment of a resumed run.
    pub fn new(
        matches: &ArgMatches,
        model: &ModelEntry,
        data: &DataEntry,
        resumed: Option<(Resume, RunConfig)>,
    ) -> Result<Self, CliError> {
        check_trained(matches, model)?;
        let config = read(matches, model, data)?;
        if let Some((_, before)) = &resumed {
            check_resume(before, &config)?;
        }
        let resume = resumed.map(|(resume, _)| resume);
        config.validate()?;
        Ok(Self { args: FitArgs::from_arg_matches(matches)?, config, resume })
    }

    /// Returns the run's configuration.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// Prepares the process and the messages.
    pub(super) fn start(&mut self) {
        let Self { args, config, resume } = self;
        // The process restarts itself, and a pipe can be read only once.
        let from_pipe = args.config.as_deref().is_some_and(|path| !path.is_file());
        if config.trainer.device.threads != Some(1) && !from_pipe {
            process::wait_briefly();
        }
        logging::start(if args.quiet { LogLevel::Error } else { args.log_level });
        if let Some(resume) = resume {
            resume.allow_changed_data = args.allow_changed_data;
        }
    }

    /// Runs, and prints the results.
    ///
    /// # Errors
    /// Fails like [`experiment::fit`], and if standard output cannot be written to.
    pub fn run(mut self) -> Result<Ended> {
        self.start();
        let Self { args, config, resume } = self;
        if args.print_config {
            return terminal::result(serde_json::to_string_pretty(&config)?).map(|()| Ended::Done);
        }
        resume.iter().for_each(note_resume);
        // Signals are caught before the run creates its folder, so that a signal leaves no incomplete folder.
        let signals = Signals::listen(|signal, folder| note_stopped(signal, folder, &[]))?;
        let experiment = Experiment { config, resume, signals: &signals, strategy: &SingleProcess };
        print(experiment::fit(&experiment, &TerminalReporter)?, args.json)
    }
}

/// Logs which run is resumed, and from where.
fn note_resume(resume: &Resume) {
    let Resume { folder, checkpoint, passed_over, .. } = resume;
    if let Some(passed) = passed_over {
        log::warn!("passed over the later run {}: it trains nothing", passed.display());
    }
    match checkpoint {
        Some(_) => log::info!("resuming {}", folder.display()),
        None => log::warn!("starting {} again: it ended before its first checkpoint", folder.display()),
    }
}

/// Writes the signal that stopped a run, and the command that continues it, which begins with `command`.
pub(super) fn note_stopped(signal: i32, folder: Option<&Path>, command: &[&str]) {
    terminal::note(match folder {
        Some(folder) => {
            format!("stopped by signal {signal}; to continue:\n  {}", resume_command(folder, command))
        }
        None => format!("stopped by signal {signal}: there is nothing to continue"),
    });
}

/// Prints the outcome of a run: notes on standard error, then the results on standard output.
fn print(outcome: Outcome, as_json: bool) -> Result<Ended> {
    match outcome {
        Outcome::Finished(finished) => {
            note(&finished.profile);
            if as_json {
                terminal::result(finished.json())?;
            } else {
                let width = terminal::columns(&Term::stdout());
                terminal::result(format::wrap(&finished.table(), width))?;
                let place = finished.folder.as_deref().unwrap_or(Path::new("no files were written"));
                terminal::result(place.display())?;
            }
            let mut errors = finished.errors.into_iter();
            let Some(first) = errors.next() else { return Ok(Ended::Done) };
            errors.for_each(|error| log::error!("{}", terminal::causes(&error)));
            Err(first)
        }
        Outcome::Stopped { signal, folder, profile } => {
            note(&profile);
            note_stopped(signal, folder.as_deref(), &[]);
            Ok(Ended::BySignal(signal))
        }
        Outcome::LrFound { result, folder, plot } => {
            let json = || json!({"lr": result.suggestion, "reason": result.reason, "folder": folder});
            let text = if as_json { json().to_string() } else { lr_found(&result, plot.as_deref()) };
            terminal::result(text)?;
            Ok(Ended::Done)
        }
    }
}

fn note(text: &str) {
    if !text.is_empty() {
        terminal::note(text);
    }
}

fn lr_found(result: &LrFindResult, plot: Option<&Path>) -> String {
    let plot = plot.map_or(String::new(), |plot| format!("\n{}", plot.display()));
    format!("learning rate {:.3e}: {}{plot}", result.suggestion, result.reason)
}

/// Returns the command that continues the run from any folder, quoted for a shell. The folder of this process comes first,
/// because paths in the run's configuration are relative to it.
fn resume_command(folder: &Path, command: &[&str]) -> String {
    let program = std::env::args_os().next().unwrap_or_else(|| "run_experiment".into());
    // A name that begins with a dash would be read as a flag.
    let is_flag = folder.as_os_str().as_encoded_bytes().starts_with(b"-");
    let folder = if is_flag { &Path::new(".").join(folder) } else { folder };
    let words =
        std::iter::once(terminal::shell_quote(&program)).chain(command.iter().map(|&word| word.into()));
    let program = words.collect::<Vec<String>>().join(" ");
    let command = format!("{program} --resume {}", terminal::shell_quote(folder));
    match std::env::current_dir() {
        Ok(here) => format!("cd {} && {command}", terminal::shell_quote(here)),
        Err(_) => command,
    }
}

/// Writes the progress of a run to standard error.
struct TerminalReporter;

impl Reporter for TerminalReporter {
    fn download(&self) -> Option<OnDownload> {
        Some(download::report())
    }

    fn on_start(&self, summary: &ModelSummary) {
        log::info!("{}", format::wrap(&summary.to_string(), terminal::columns(&Term::stderr())));
    }

    fn on_lr_found(&self, result: &LrFindResult, plot: Option<&Path>) {
        log::info!("{}", lr_found(result, plot));
    }

    fn progress(
        &self,
        max_epochs: u64,
        metrics: &[String],
        monitors: Vec<Monitor>,
    ) -> Option<Box<dyn Callback>> {
        let shows = log::log_enabled!(log::Level::Info);
        shows.then(|| -> Box<dyn Callback> { Box::new(ProgressReport::new(max_epochs, metrics, monitors)) })
    }
}
