//! `run_experiment forecast`: the future of a series.

use std::io;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Command};
use text_recognizer::util::files::write_atomic;

use crate::experiment::load_forecaster;
use crate::time_series::{
    Baseline, BaselineConfig, BaselineForecaster, CsvConfig, Forecaster, Series, read_csv,
};

/// The line of the command in `--help`.
const ABOUT: &str = "Forecast the steps after a file's last row, with a checkpoint or a baseline";

/// The flags of `forecast`.
#[derive(Debug, Clone, Args)]
pub struct ForecastArgs {
    /// Checkpoint of a forecasting model, as in logs/lstm-series/version_0/checkpoints/best.safetensors.
    #[arg(long = "checkpoint", value_name = "FILE", required_unless_present = "model")]
    checkpoint: Option<PathBuf>,
    /// Baseline to forecast with, without a checkpoint.
    #[arg(long = "model", value_enum, conflicts_with = "checkpoint")]
    model: Option<Baseline>,
    /// Steps to forecast [default: the model's horizon].
    #[arg(long = "steps")]
    steps: Option<usize>,
    /// File to write [default: standard output].
    #[arg(long = "output", value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    series: CsvConfig,
    #[command(flatten)]
    baselines: BaselineConfig,
}

/// Adds the flags of `forecast`.
pub fn with_flags(command: Command) -> Command {
    // A checkpoint has these lengths already.
    let of_baselines = BaselineConfig::FREE.iter();
    of_baselines.fold(ForecastArgs::augment_args(command).about(ABOUT), |command, flag| {
        command.mut_arg(flag, |arg| arg.conflicts_with("checkpoint"))
    })
}

impl ForecastArgs {
    /// Forecasts the steps after the last row of a file, and writes them as CSV.
    ///
    /// # Errors
    /// Fails if the checkpoint is not of a forecasting model, or the file has not the columns and rows that it needs.
    pub fn run(&self) -> Result<()> {
        let series = read_csv(&self.series)?;
        let forecaster = self.forecaster(&series)?;
        let steps = self.steps.unwrap_or(forecaster.horizon());
        ensure!(steps > 0, "--steps is 0: expected at least 1");
        let forecast: Vec<Vec<f64>> = Vec::try_from(forecaster.forecast_future(&series, steps)?)?;
        let table = table(&series, forecaster.stride(), &forecast)?;
        match &self.output {
            Some(path) => Ok(write_atomic(path, &table)?),
            None => io::Write::write_all(&mut io::stdout(), &table).context("writing to standard output"),
        }
    }

    fn forecaster(&self, series: &Series) -> Result<Box<dyn Forecaster>> {
        match (&self.checkpoint, self.model) {
            (Some(path), _) => load_forecaster(path),
            (None, Some(baseline)) => {
                let config = self.baselines.clone().of(series);
                Ok(Box::new(BaselineForecaster { baseline, config, horizon: 1, stride: 1 }))
            }
            (None, None) => {
                bail!("cannot forecast without a model: expected --checkpoint FILE or --model BASELINE")
            }
        }
    }
}

/// Returns the forecast as CSV, with the next timestamps if those of the series are regular, else with the steps ahead.
fn table(series: &Series, stride: usize, forecast: &[Vec<f64>]) -> Result<Vec<u8>> {
    let steps = forecast.len();
    let times = steps.checked_mul(stride).and_then(|rows| series.timestamps.after(rows));
    let (column, labels): (_, Vec<String>) = match times {
        Some(times) => ("time", times.labels().into_iter().skip(stride - 1).step_by(stride).collect()),
        None => ("step", (1..=steps).map(|step| step.to_string()).collect()),
    };
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(std::iter::once(column).chain(series.names.iter().map(String::as_str)))?;
    for (label, row) in labels.into_iter().zip(forecast) {
        let cells = row.iter().map(|value| (*value as f32).to_string());
        writer.write_record(std::iter::once(label).chain(cells))?;
    }
    writer.into_inner().context("writing the forecast")
}
