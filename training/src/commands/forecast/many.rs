//! Forecasts many series of one file.

use anyhow::{Context, Result, bail, ensure};
use text_recognizer::util::files::write_atomic;

use super::{ForecastArgs, check_finite, check_frequency};
use crate::experiment::TrainedForecaster;
use crate::terminal;
use crate::time_series::{CsvConfig, Expected, Forecaster, RoleConfig, Series, read_future, read_panel};

/// The most errors of series that a warning lists.
const MOST_ERRORS: usize = 3;

impl ForecastArgs {
    /// Forecasts each series of a file, and writes the forecasts as CSV, with the name of the series first. A series that cannot be
    /// forecast is left out.
    ///
    /// # Errors
    /// Fails if the file lacks columns that the model needs, if no series can be forecast, or if the output cannot be written.
    pub(super) fn run_many(&self, trained: Option<TrainedForecaster>) -> Result<()> {
        ensure!(
            self.level.is_empty() && self.plot.is_none(),
            "cannot make intervals or a plot for many series; try without --level and --plot"
        );
        let panel = trained.as_ref().map(|trained| {
            trained.panel.as_ref().context(
                "cannot forecast many series: the model was trained on one series, expected --series_column in training",
            )
        });
        let panel = panel.transpose()?;
        let config = match panel {
            Some(panel) => {
                let (series_column, static_covariates) = (panel.keys.clone(), panel.statics.names());
                let roles = RoleConfig { series_column, static_covariates, ..RoleConfig::default() };
                &CsvConfig { roles, ..self.series.clone() }
            }
            None => &self.series,
        };
        let expected = trained.as_ref().map(|trained| Expected {
            columns: &trained.columns,
            roles: trained.roles.as_ref(),
            frequency: trained.frequency,
        });
        let mut read = read_panel(config, expected)?;
        if let Some(future) = &self.future {
            read_future(config, future, &mut read.series)?;
        }
        read.notes.iter().for_each(|note| log::info!("{note}"));
        let longest =
            read.series.iter().max_by_key(|series| series.len()).context("found no series, expected one")?;
        check_frequency(trained.as_ref(), longest)?;
        let all: Box<dyn Forecaster> = match &trained {
            Some(trained) => of_checkpoint(trained, longest)?,
            None => Box::new(self.baseline(longest)?),
        };
        let is_regular = longest.timestamps.frequency().is_some();
        let columns = longest.names.clone();
        let steps = self.steps(&*all, columns.len().saturating_mul(read.series.len()))?;
        let mut writer = csv::Writer::from_writer(Vec::new());
        let header = ["series", if is_regular { "time" } else { "step" }].into_iter();
        writer.write_record(header.chain(columns.iter().map(String::as_str)))?;
        let (count, mut failed) = (read.series.len(), Vec::new());
        for series in &mut read.series {
            let made = self.of_one(series, trained.as_ref(), steps, is_regular);
            match made {
                Ok(rows) => rows.iter().try_for_each(|row| writer.write_record(row))?,
                Err(error) => failed.push(format!("{}: {error:#}", series.key)),
            }
        }
        ensure!(failed.len() < count, "cannot forecast any of {count} series; the first: {}", failed[0]);
        if !failed.is_empty() {
            let more = failed.len().saturating_sub(MOST_ERRORS);
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            let first = failed[..failed.len().min(MOST_ERRORS)].join("; ");
            log::warn!("left out {} of {count} series: {first}{more}", failed.len());
        }
        let table = writer.into_inner().context("cannot write the forecasts")?;
        match &self.output {
            Some(path) => Ok(write_atomic(path, &table)?),
            None => terminal::write(&table),
        }
    }

    /// Forecasts one series. Returns the rows of the table.
    fn of_one(
        &self,
        series: &mut Series,
        trained: Option<&TrainedForecaster>,
        steps: usize,
        is_regular: bool,
    ) -> Result<Vec<Vec<String>>> {
        let forecaster: Box<dyn Forecaster> = match trained {
            Some(trained) => {
                let fill = self.fill.unwrap_or(trained.fill);
                series.fill(fill, trained.season.or(series.season), &[])?;
                of_checkpoint(trained, series)?
            }
            None => Box::new(self.baseline(series)?),
        };
        let forecast: Vec<Vec<f64>> = Vec::try_from(forecaster.forecast_future(series, steps)?)?;
        check_finite(series, &forecast)?;
        let labels = match series.timestamps.after(steps, forecaster.stride()) {
            Some(times) => times.labels(),
            None if is_regular => bail!(
                "cannot forecast: its timestamps are irregular or too few, expected the frequency of the other series"
            ),
            None => (1..=steps).map(|step| step.to_string()).collect(),
        };
        let row = |(label, values): (String, &Vec<f64>)| {
            let cells = values.iter().map(f64::to_string);
            [series.key.clone(), label].into_iter().chain(cells).collect()
        };
        Ok(labels.into_iter().zip(&forecast).map(row).collect())
    }
}

/// Returns the model of a checkpoint for a series.
fn of_checkpoint(trained: &TrainedForecaster, series: &Series) -> Result<Box<dyn Forecaster>> {
    let panel = trained.panel.as_ref().context("found a model of one series, expected one of many")?;
    trained.forecaster.of_series(series, panel)
}
