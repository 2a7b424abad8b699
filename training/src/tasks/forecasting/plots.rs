//! The plots of a forecast and of its series.

use anyhow::{Context, Result};
use tch::Tensor;

use crate::report::plots::{self, ForecastColumn, PathsColumn, PlotLabels};
use crate::time_series::{Forecast, SeriesDataModule};
use crate::trainer::RunFolder;

/// The most points in time whose forecasts of several steps are plotted.
const MOST_ORIGINS: usize = 6;

fn labels<'a>(title: &'a str, module: &SeriesDataModule) -> PlotLabels<'a> {
    let x_is_date = module.series().timestamps.is_date();
    PlotLabels { title, x: "time", x_is_date, y: "value" }
}

/// Plots the whole series.
pub fn series(folder: &RunFolder, module: &SeriesDataModule) -> Result<()> {
    let series = module.series();
    let columns =
        series.names.iter().zip(0..).map(|(name, column)| Ok((name.clone(), series.column(column)?)));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let x = series.timestamps.numbers();
    plots::series(&folder.artifact("series"), &labels("series", module), &x, &columns)
}

/// Plots a forecast over the actual values: of one step ahead for each row, and of several steps ahead from a few points in time,
/// with some of the past.
pub fn forecast(folder: &RunFolder, forecast: &Forecast, module: &SeriesDataModule) -> Result<()> {
    match &forecast.steps[..] {
        [only] => one_step(folder, forecast, only, module),
        _ => several_steps(folder, forecast, module),
    }
}

fn column(tensor: &Tensor, at: usize) -> Result<Vec<f64>> {
    Ok(Vec::<f64>::try_from(tensor.f_select(1, at as i64)?)?)
}

fn one_step(folder: &RunFolder, forecast: &Forecast, step: &Tensor, module: &SeriesDataModule) -> Result<()> {
    let columns = forecast.names.iter().cloned().zip(0..).map(|(name, at)| {
        Ok(ForecastColumn { name, actual: column(&forecast.actual, at)?, forecast: column(step, at)? })
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let from = module.validation().start;
    let x = &module.series().timestamps.numbers()[from..from + forecast.time.len()];
    let labels = labels("one-step forecast of the validation split", module);
    plots::forecast(&folder.artifact("forecast"), &labels, x, &columns)
}

fn several_steps(folder: &RunFolder, forecast: &Forecast, module: &SeriesDataModule) -> Result<()> {
    let (rows, horizon) = (forecast.time.len(), forecast.steps.len());
    let reach = (horizon - 1).saturating_mul(forecast.stride).min(rows.saturating_sub(1));
    let origins = origins(rows, reach);
    let from = module.validation().start;
    let start = from.saturating_sub(2 * (reach + 1));
    let numbers = module.series().timestamps.numbers();
    let x =
        numbers.get(start..from + rows).context("cannot plot the forecast: its rows have no timestamps")?;
    let columns = forecast.names.iter().cloned().zip(0..).map(|(name, at)| {
        let actual = module.series().column(at)?.get(start..from + rows).unwrap_or_default().to_vec();
        let steps = forecast.steps.iter().map(|step| column(step, at)).collect::<Result<Vec<_>>>()?;
        let path = |origin: usize| {
            let places =
                steps.iter().enumerate().map(move |(step, made)| (origin + step * forecast.stride, made));
            places.filter_map(|(row, made)| Some((*numbers.get(from + row)?, *made.get(row)?))).collect()
        };
        Ok(PathsColumn { name, actual, paths: origins.iter().map(|&origin| path(origin)).collect() })
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let title = match origins.len() {
        1 => format!("forecast of {horizon} steps in the validation split"),
        many => format!("{many} of the forecasts of {horizon} steps in the validation split"),
    };
    plots::paths(&folder.artifact("forecast"), &labels(&title, module), x, &columns)
}

/// Returns the first rows of a few forecasts over `rows` rows, the first and the last complete one among them. Each ends `reach`
/// rows after its first, and they do not overlap if there is room.
fn origins(rows: usize, reach: usize) -> Vec<usize> {
    let last = rows.saturating_sub(reach + 1);
    let count = (rows / (reach + 1)).clamp(1, MOST_ORIGINS);
    (0..count).map(|at| at * last / (count - 1).max(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_of_forecasts_do_not_overlap_and_include_the_first_and_the_last() {
        assert_eq!(origins(12, 11), [0]);
        assert_eq!(origins(13, 11), [0]);
        assert_eq!(origins(36, 11), [0, 12, 24]);
        assert_eq!(origins(1000, 11), [0, 197, 395, 592, 790, 988]);
        assert_eq!(origins(1, 0), [0]);
    }
}
