//! `run_experiment backtest`: forecasts from several cutoffs, and compares the forecasts with the actual values.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use console::Term;

use super::fit::{self, FitCommand, Resumed};
use super::{CliError, Ended};
use crate::experiment::registry;
use crate::experiment::{
    self, BacktestConfig, BacktestOutcome, DataEntry, Experiment, FOLDS, ModelEntry, Resume,
};
use crate::time_series::{EnsembleConfig, FoldConfig};
use crate::trainer::{Signals, SingleProcess};
use crate::{format, terminal};

/// The line of the command in `--help`.
const ABOUT: &str =
    "Backtest a model or baseline: forecast from several cutoffs, and measure errors and intervals";

/// The name of the command.
pub const NAME: &str = "backtest";

/// The default of `--data`.
pub const DATA: &str = "csv";
/// The default of `--model`.
pub const MODEL: &str = "linear";

/// Returns the command for the list of commands: with the flags of this model and data, or of the defaults for a model and data that
/// cannot be backtested.
pub fn listed(model: &ModelEntry, data: &DataEntry) -> Command {
    match (registry::model(MODEL), registry::data(DATA)) {
        (Ok(of_series), Ok(series)) if data.task != series.task => command(of_series, series),
        _ => command(model, data),
    }
}

/// Returns the command with the flags of this model and this data.
pub fn command(model: &ModelEntry, data: &DataEntry) -> Command {
    let command = Command::new(NAME).next_help_heading("Folds and ensemble");
    fit::with_flags(with_own_flags(command), model, data).about(ABOUT).long_about(ABOUT)
}

/// Adds the flags that only a backtest has.
pub fn with_own_flags(command: Command) -> Command {
    EnsembleConfig::augment_args(FoldConfig::augment_args(command))
}

/// A backtest to start or to continue.
#[derive(Debug)]
pub struct BacktestCommand {
    fit: FitCommand,
    folds: FoldConfig,
    ensemble: EnsembleConfig,
    /// Whether the levels of intervals are typed, so that each must be possible.
    typed_levels: bool,
}

impl BacktestCommand {
    /// Reads and checks the flags.
    ///
    /// # Errors
    /// Fails if a value is impossible, or if a flag would change a resumed backtest.
    pub fn new(
        matches: &ArgMatches,
        model: &ModelEntry,
        data: &DataEntry,
        resumed: Option<Resumed>,
    ) -> Result<Self, CliError> {
        let (folds, ensemble) =
            (FoldConfig::from_arg_matches(matches)?, EnsembleConfig::from_arg_matches(matches)?);
        if let Some(Resumed { own: Some(before), .. }) = &resumed
            && *before != (folds.clone(), ensemble.clone())
        {
            let (of_folds, of_ensemble) = before;
            return Err(anyhow!(
                "cannot resume with other folds or models: found {folds:?}, {ensemble:?}, expected {of_folds:?}, {of_ensemble:?}; \
                 try a new backtest"
            )
            .into());
        }
        let resumed = resumed.map(|resumed| (resumed.resume, resumed.config));
        let has_levels = matches.try_contains_id("level").unwrap_or_default();
        let typed_levels = has_levels && matches.value_source("level") == Some(ValueSource::CommandLine);
        Ok(Self { fit: FitCommand::new(matches, model, data, resumed)?, folds, ensemble, typed_levels })
    }

    /// Runs, and prints the results.
    ///
    /// # Errors
    /// Fails like [`experiment::backtest`], and if standard output cannot be written to.
    pub fn run(mut self) -> Result<Ended> {
        self.fit.start();
        let FitCommand { args, config, resume } = self.fit;
        if args.print_config {
            let config = BacktestConfig { run: &config, folds: &self.folds, ensemble: &self.ensemble };
            return terminal::result(serde_json::to_string_pretty(&config)?).map(|()| Ended::Done);
        }
        if let Some(Resume { folder, .. }) = &resume {
            log::info!("resuming {}", folder.display());
        }
        let signals = Signals::listen(|signal, folder| {
            fit::note_stopped(signal, folder.map(of_backtest).as_deref(), &[NAME]);
        })?;
        let experiment = Experiment { config, resume, signals: &signals, strategy: &SingleProcess };
        match experiment::backtest(&experiment, &self.folds, &self.ensemble, self.typed_levels)? {
            BacktestOutcome::Finished(report, folder) => {
                if args.json {
                    terminal::result(report.json(&experiment.config.data, folder.path()))?;
                } else {
                    let width = terminal::columns(&Term::stdout());
                    terminal::result(format::wrap(&report.table()?, width))?;
                    terminal::result(folder.path().display())?;
                }
                Ok(Ended::Done)
            }
            BacktestOutcome::Stopped(signal, folder) => {
                fit::note_stopped(signal, Some(&folder), &[NAME]);
                Ok(Ended::BySignal(signal))
            }
        }
    }
}

/// Returns the folder of the backtest of a run, `BACKTEST/folds/fold_1/version_0`; other folders are those of a backtest.
fn of_backtest(folder: &Path) -> PathBuf {
    let above = |levels: usize| folder.ancestors().nth(levels);
    match above(2).is_some_and(|folds| folds.ends_with(FOLDS)) {
        true => above(3).unwrap_or(folder).to_owned(),
        false => folder.to_owned(),
    }
}
