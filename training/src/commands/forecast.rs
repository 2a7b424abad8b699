//! `run_experiment forecast`: forecasts the time steps after the last row of a series.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::{ArgGroup, Args, Command};
use text_recognizer::util::files::write_atomic;

use crate::experiment::{TrainedForecaster, load_forecaster};
use crate::format::count;
use crate::logging::{self, LogLevel};
use crate::tasks::plot_future;
use crate::terminal;
use crate::time_series::{
    Bands, Baseline, BaselineConfig, BaselineForecaster, CsvConfig, Expected, Fill, Forecaster, Frequency,
    Future, Intervals, Level, Predicted, RoleConfig, Series, check_levels, read_csv_for, read_future,
};

mod many;

/// The line of the command in `--help`.
const ABOUT: &str = "Forecast the time steps after the last row of a file, with a checkpoint or a baseline";

/// The most time steps of a forecast, which bounds its memory.
const MAX_STEPS: usize = 1_000_000;

/// The most values of a forecast, over all steps and columns.
const MAX_VALUES: usize = 10 * MAX_STEPS;

/// The flags of `forecast`.
#[derive(Debug, Clone, Args)]
#[command(group(ArgGroup::new("forecaster").required(true).args(["checkpoint", "model"])))]
pub struct ForecastArgs {
    /// Forecast with this checkpoint, such as logs/lstm-series/version_0/checkpoints/best.safetensors.
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Forecast with this model, which needs no training, instead of a checkpoint.
    #[arg(long = "model", value_enum)]
    model: Option<Baseline>,
    /// Forecast this many time steps, at least 1 [default: the horizon of the model].
    #[arg(long = "steps")]
    steps: Option<usize>,
    /// Add intervals that should contain this percentage of the actual values, one or more, such as 80 95; columns NAME-lo-80 and
    /// NAME-hi-80.
    #[arg(long = "level", value_name = "PERCENT", num_args = 1.., value_delimiter = ',')]
    level: Vec<Level>,
    /// Read the future covariates of the rows after the last one from this file [default: from --csv, from the rows after the last
    /// target].
    #[arg(long = "future", value_name = "FILE", conflicts_with = "model", allow_hyphen_values = true)]
    future: Option<PathBuf>,
    /// Write to this CSV file [default: standard output].
    #[arg(long = "output", value_name = "FILE")]
    output: Option<PathBuf>,
    /// Plot the forecast after the latest rows, to STEM.png and STEM.svg.
    #[arg(long = "plot", value_name = "STEM")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    series: CsvConfig,
    #[command(flatten)]
    baselines: BaselineConfig,
    /// Fill missing values [default: as in training].
    #[arg(long = "fill", value_enum, conflicts_with = "model")]
    fill: Option<Fill>,
}

/// Adds the flags of `forecast`.
pub fn with_flags(command: Command) -> Command {
    // A checkpoint has its own values of these flags.
    let of_baselines = ["season"].iter().chain(BaselineConfig::FREE).chain(&RoleConfig::FLAGS);
    of_baselines.fold(ForecastArgs::augment_args(command).about(ABOUT), |command, flag| {
        command.mut_arg(flag, |arg| arg.conflicts_with("checkpoint"))
    })
}

impl ForecastArgs {
    /// Forecasts the time steps after the last row of a file, and writes them as CSV.
    ///
    /// # Errors
    /// Fails if the checkpoint is not that of a forecasting model, if the file lacks columns or rows that the model needs, or if
    /// the output cannot be written.
    pub fn run(&self) -> Result<()> {
        logging::start(LogLevel::Info);
        self.baselines.validate()?;
        self.check_output()?;
        let trained = self.checkpoint.as_deref().map(load_forecaster).transpose()?;
        let of_panel = trained.as_ref().is_some_and(|trained| trained.panel.is_some());
        if of_panel || !self.series.roles.series_column.is_empty() {
            return self.run_many(trained);
        }
        let mut series = self.read(trained.as_ref())?;
        let (forecaster, intervals) = match trained {
            Some(TrainedForecaster { forecaster, fill, season, intervals, .. }) => {
                series.fill(self.fill.unwrap_or(fill), season.or(series.season), &[])?;
                (forecaster, intervals)
            }
            None => {
                let forecaster = self.baseline(&series)?;
                forecaster.notes(&series, series.len())?.iter().for_each(|note| log::info!("{note}"));
                (Box::new(forecaster) as Box<dyn Forecaster>, None)
            }
        };
        series.notes.iter().for_each(|note| log::info!("{note}"));
        let steps = self.steps(&*forecaster, series.names.len())?;
        let made = forecaster.forecast_future(&series, steps)?;
        let predicted = Predicted::new(forecaster.quantiles(), &made)?;
        let forecast: Vec<Vec<f64>> = Vec::try_from(&predicted.made)?;
        check_finite(&series, &forecast)?;
        if self.model.is_none() && steps > forecaster.horizon() {
            log::info!(
                "the model forecasts {} at once; later steps are forecast from the forecasts before them",
                count(forecaster.horizon() as u64, "step")
            );
        }
        let bands = self.bands(&*forecaster, intervals, &series, steps)?;
        let ends = bands.map(|bands| bands.of_path(&predicted)).transpose()?.unwrap_or_default();
        let future = Future { series: &series, stride: forecaster.stride(), forecast, ends };
        if let Some(stem) = &self.plot {
            plot_future(stem, &future)?;
        }
        let table = future.csv()?;
        match &self.output {
            Some(path) => Ok(write_atomic(path, &table)?),
            None => terminal::write(&table),
        }
    }

    /// Returns the intervals of the levels that were asked for. Those of a baseline are from the errors of its forecasts of the file.
    ///
    /// # Errors
    /// Fails if there are too few errors of earlier forecasts.
    fn bands(
        &self,
        forecaster: &dyn Forecaster,
        of_checkpoint: Option<Intervals>,
        series: &Series,
        steps: usize,
    ) -> Result<Option<Bands>> {
        if self.level.is_empty() {
            return Ok(None);
        }
        check_levels(&self.level)?;
        let rolling = forecaster.rolling_intervals(series, steps).context(
            "cannot make intervals from the errors of forecasts of the second half of the rows (try without --level)",
        )?;
        let intervals = rolling.or(of_checkpoint).context(
            "cannot make intervals: found no errors of earlier forecasts, expected those of a validation split; try a checkpoint \
             of a run with a validation split, and fewer steps and columns",
        )?;
        intervals.check(&self.level, steps)?;
        Ok(Some(Bands { intervals, levels: self.level.clone() }))
    }

    /// Returns the number of steps of a forecast of `columns` columns.
    fn steps(&self, forecaster: &dyn Forecaster, columns: usize) -> Result<usize> {
        let steps = self.steps.unwrap_or(forecaster.horizon());
        ensure!((1..=MAX_STEPS).contains(&steps), "--steps is {steps}: expected 1 to {MAX_STEPS}");
        let values = steps.saturating_mul(columns);
        ensure!(
            values <= MAX_VALUES,
            "cannot forecast {steps} steps of {columns} columns: found {values} values, expected at most {MAX_VALUES}; try fewer \
             --steps or --value_columns"
        );
        Ok(steps)
    }

    /// Fails if the output would replace the file that is read.
    fn check_output(&self) -> Result<()> {
        let real = |path: &Option<PathBuf>| path.as_ref().and_then(|path| path.canonicalize().ok());
        let Some(output) = real(&self.output) else { return Ok(()) };
        for (flag, input) in [("csv", &self.series.csv), ("future", &self.future)] {
            ensure!(
                real(input).is_none_or(|input| input != output),
                "cannot write {}: it is the --{flag} file, expected another; try another --output",
                output.display()
            );
        }
        Ok(())
    }

    /// Reads the file, with the columns and the frequency of the model.
    ///
    /// # Errors
    /// Fails if the file has another frequency than the series that the model was trained on.
    fn read(&self, trained: Option<&TrainedForecaster>) -> Result<Series> {
        let expected = trained.map(|trained| Expected {
            columns: &trained.columns,
            roles: trained.roles.as_ref(),
            frequency: trained.frequency,
        });
        let mut series = read_csv_for(&self.series, expected)?;
        if let Some(future) = &self.future {
            read_future(&self.series, future, std::slice::from_mut(&mut series))?;
        }
        check_frequency(trained, &series)?;
        Ok(series)
    }

    fn baseline(&self, series: &Series) -> Result<BaselineForecaster> {
        let expected = "cannot forecast without a model: expected --checkpoint FILE or --model BASELINE";
        let baseline = self.model.context(expected)?;
        let config = self.baselines.clone().of(series);
        Ok(BaselineForecaster { baseline, config, horizon: 1, stride: 1 })
    }
}

/// Fails if the series has another frequency than the one that the model was trained on.
fn check_frequency(trained: Option<&TrainedForecaster>, series: &Series) -> Result<()> {
    let is_time = |frequency: &Frequency| !matches!(frequency, Frequency::Number(_));
    let Some(expected) = trained.and_then(|trained| trained.frequency).filter(is_time) else { return Ok(()) };
    let Some(found) = series.timestamps.frequency().filter(is_time) else {
        log::warn!(
            "the frequency of the series is unknown, and the model was trained on a series that is {expected}"
        );
        return Ok(());
    };
    ensure!(
        expected == found,
        "cannot forecast: the frequency of the series is {found}, expected {expected} as in training; try a file of that frequency"
    );
    Ok(())
}

/// Fails if a forecast is no finite number.
fn check_finite(series: &Series, forecast: &[Vec<f64>]) -> Result<()> {
    for (row, step) in forecast.iter().zip(1..) {
        let found = row.iter().position(|value| !value.is_finite());
        if let Some(column) = found {
            bail!(
                "cannot forecast step {step} of column {}: found {}, expected a finite number; try fewer --steps, another model, or a \
                 file without missing values at its end",
                series.names[column],
                row[column]
            );
        }
    }
    Ok(())
}
