//! `run_experiment backtest`: forecasts from several cutoffs, and compares the forecasts with the actual values.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use console::Term;

use super::fit::{self, FitCommand};
use super::{CliError, Ended};
use crate::experiment::{self, BacktestOutcome, DataEntry, Experiment, FOLDS, ModelEntry, Resume, RunConfig};
use crate::time_series::FoldConfig;
use crate::trainer::{Signals, SingleProcess};
use crate::{format, terminal};

/// The line of the command in `--help`.
const ABOUT: &str =
    "Backtest a model or baseline: forecast from several cutoffs, and measure errors and intervals";

/// The name of the command.
pub const NAME: &str = "backtest";

/// Returns the command with the flags of this model and this data.
pub fn command(model: &ModelEntry, data: &DataEntry) -> Command {
    let command = FoldConfig::augment_args(Command::new(NAME).next_help_heading("Folds"));
    fit::with_flags(command, model, data).about(ABOUT).long_about(ABOUT)
}

/// A backtest to start or to continue.
#[derive(Debug)]
pub struct BacktestCommand {
    fit: FitCommand,
    folds: FoldConfig,
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
        resumed: Option<(Resume, RunConfig, FoldConfig)>,
    ) -> Result<Self, CliError> {
        let folds = FoldConfig::from_arg_matches(matches)?;
        let before = resumed.as_ref().map(|(.., folds)| folds.clone());
        if let Some(before) = before.filter(|before| *before != folds) {
            return Err(anyhow::anyhow!(
                "cannot resume with other folds: found {folds:?}, expected {before:?}; try a new backtest"
            )
            .into());
        }
        let resumed = resumed.map(|(resume, config, _)| (resume, config));
        let has_levels = matches.try_contains_id("level").unwrap_or_default();
        let typed_levels = has_levels && matches.value_source("level") == Some(ValueSource::CommandLine);
        Ok(Self { fit: FitCommand::new(matches, model, data, resumed)?, folds, typed_levels })
    }

    /// Runs, and prints the results.
    ///
    /// # Errors
    /// Fails like [`experiment::backtest`], and if standard output cannot be written to.
    pub fn run(mut self) -> Result<Ended> {
        if !self.fit.start()? {
            return Ok(Ended::Done);
        }
        let FitCommand { args, config, resume } = self.fit;
        if let Some(Resume { folder, .. }) = &resume {
            log::info!("resuming {}", folder.display());
        }
        let signals = Signals::listen(|signal, folder| {
            fit::note_stopped(signal, folder.map(of_backtest).as_deref(), &[NAME]);
        })?;
        let experiment = Experiment { config, resume, signals: &signals, strategy: &SingleProcess };
        match experiment::backtest(&experiment, &self.folds, self.typed_levels)? {
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
