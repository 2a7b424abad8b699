//! The plots of a forecast and of its series.

use std::path::Path;

use anyhow::Result;
use tch::Tensor;

use crate::report::plots::{self, ForecastColumn, PathsColumn, PlotLabels};
use crate::time_series::{Forecast, Series, SeriesDataModule};
use crate::trainer::RunFolder;

/// The most points in time whose forecasts of several steps are plotted.
const MOST_ORIGINS: usize = 6;

/// The most groups of rows of a long series. A plot has far fewer dots than such a series has rows.
const MOST_GROUPS: usize = 4096;

fn labels<'a>(title: &'a str, series: &Series) -> PlotLabels<'a> {
    PlotLabels { title, x: "time", x_is_date: series.timestamps.is_date(), y: "value" }
}

/// Plots the columns of a series, one below the other. A long series is plotted by the extremes of groups of rows.
///
/// # Errors
/// Fails if a column has no value, or if the files cannot be written.
pub fn series(stem: &Path, series: &Series) -> Result<()> {
    let rows = series.len();
    let group = rows.div_ceil(MOST_GROUPS);
    // A group of fewer rows would save nothing.
    let group = if group < 4 { 1 } else { group };
    let x = |row: usize| series.timestamps.numbers_of(row..row + 1);
    let x: Vec<f64> = match group {
        1 => series.timestamps.numbers(),
        _ => (0..rows)
            .step_by(group)
            .flat_map(|start| [x(start), x((start + group / 2).min(rows - 1))].concat())
            .collect(),
    };
    let column = |column: usize| -> Result<Vec<f64>> {
        let values = series.column(column)?;
        Ok(if group == 1 { values } else { values.chunks(group).flat_map(extremes).collect() })
    };
    let columns = series.names.iter().enumerate().map(|(at, name)| Ok((name.clone(), column(at)?)));
    plots::series(stem, &labels("series", series), &x, &columns.collect::<Result<Vec<_>>>()?)
}

/// Returns the least and the greatest value, or NaN if all are missing.
fn extremes(values: &[f64]) -> [f64; 2] {
    values.iter().fold([f64::NAN; 2], |[least, greatest], &value| [least.min(value), greatest.max(value)])
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
    let x = module.series().timestamps.numbers_of(from..from + forecast.time.len());
    let labels = labels("one-step forecast of the validation split", module.series());
    plots::forecast(&folder.artifact("forecast"), &labels, &x, &columns)
}

fn several_steps(folder: &RunFolder, forecast: &Forecast, module: &SeriesDataModule) -> Result<()> {
    let (rows, horizon) = (forecast.time.len(), forecast.steps.len());
    let reach = (horizon - 1).saturating_mul(forecast.stride).min(rows.saturating_sub(1));
    let origins = origins(rows, reach);
    let from = module.validation().start;
    let start = from.saturating_sub(2 * (reach + 1));
    let x = module.series().timestamps.numbers_of(start..from + rows);
    let columns = forecast.names.iter().cloned().zip(0..).map(|(name, at)| {
        let actual = module.series().column(at)?.get(start..from + rows).unwrap_or_default().to_vec();
        let steps = forecast.steps.iter().map(|step| column(step, at)).collect::<Result<Vec<_>>>()?;
        let path = |origin: usize| {
            let places =
                steps.iter().enumerate().map(move |(step, made)| (origin + step * forecast.stride, made));
            places.filter_map(|(row, made)| Some((*x.get(from - start + row)?, *made.get(row)?))).collect()
        };
        Ok(PathsColumn { name, actual, paths: origins.iter().map(|&origin| path(origin)).collect() })
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let title = match origins.len() {
        1 => format!("forecast of {horizon} steps in the validation split"),
        many => format!("{many} of the forecasts of {horizon} steps in the validation split"),
    };
    plots::paths(&folder.artifact("forecast"), &labels(&title, module.series()), &x, &columns)
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
    fn extremes_of_values_with_gaps_leave_them_out() {
        assert_eq!(extremes(&[2.0, f64::NAN, -1.0]), [-1.0, 2.0]);
        assert!(extremes(&[f64::NAN]).iter().all(|value| value.is_nan()));
    }

    #[test]
    fn origins_of_forecasts_do_not_overlap_and_include_the_first_and_the_last() {
        assert_eq!(origins(12, 11), [0]);
        assert_eq!(origins(13, 11), [0]);
        assert_eq!(origins(36, 11), [0, 12, 24]);
        assert_eq!(origins(1000, 11), [0, 197, 395, 592, 790, 988]);
        assert_eq!(origins(1, 0), [0]);
    }
}
