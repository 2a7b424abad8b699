//! Forecasts of rows of a series, with the actual values, and their errors.

use std::fmt::Write;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use tch::Tensor;
use text_recognizer::lit_models::{Metric, MetricName, Running, mean_of_groups};
use text_recognizer::util::files::write_atomic;

use super::{Forecaster, Intervals, Level, Predicted, Quantiles, Series};

/// Forecasts of consecutive rows of a series, with the actual values.
#[derive(Debug)]
pub struct Forecast {
    /// The timestamps of the rows, as text.
    pub time: Vec<String>,
    /// The names of the columns.
    pub names: Vec<String>,
    /// The actual values, `[rows, columns]`, in double precision.
    pub actual: Tensor,
    /// The forecasts, one tensor `[rows, columns]` per step ahead: tensor `k` has the forecasts of each row from `k + 1` steps
    /// before it. A row without a forecast is NaN.
    pub steps: Vec<Tensor>,
    /// The quantiles of a model that forecasts them, and for each step ahead its forecasts of all of them,
    /// `[rows, quantiles * columns]`. The steps are then the medians.
    pub quantiles: Option<(Quantiles, Vec<Tensor>)>,
    /// Rows from one step ahead to the next.
    pub stride: usize,
    /// The number of forecasts without missing values: rows times columns times steps ahead.
    whole: usize,
}

impl Forecast {
    /// Forecasts the rows `rows` of `series`.
    ///
    /// # Errors
    /// Fails if the forecaster does.
    pub fn new(forecaster: &dyn Forecaster, series: &Series, rows: Range<usize>) -> Result<Self> {
        let made = forecaster.forecast_rows(series, rows.clone())?;
        let (steps, quantiles) = match forecaster.quantiles() {
            Some(quantiles) => {
                let medians = made.iter().map(|step| quantiles.median(step)).collect::<Result<_, _>>()?;
                (medians, Some((quantiles.clone(), made)))
            }
            None => (made, None),
        };
        let of_steps = (0..steps.len()).map(|step| forecaster.rows_of_step(rows.len(), step).len());
        let whole = of_steps.sum::<usize>() * series.names.len();
        let actual = series.values.f_narrow(0, rows.start as i64, rows.len() as i64)?;
        Ok(Self {
            time: series.timestamps.labels_of(rows),
            names: series.names.clone(),
            actual,
            steps,
            quantiles,
            stride: forecaster.stride(),
            whole,
        })
    }

    /// Returns the forecasts of each step ahead with their pairs of quantiles.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn predicted(&self) -> Result<Vec<Predicted>> {
        match &self.quantiles {
            Some((quantiles, steps)) => {
                steps.iter().map(|step| Predicted::new(Some(quantiles), step)).collect()
            }
            None => Ok(self.steps.iter().map(|step| step.shallow_clone().into()).collect()),
        }
    }

    /// Returns the sum and the weight of a metric per column, over all steps ahead. An element without a forecast or without an
    /// actual value adds nothing.
    pub(crate) fn parts(&self, metric: MetricName) -> Result<Vec<[f64; 2]>> {
        parts(metric, self.steps.iter().map(|step| (step, &self.actual)))
    }

    /// Returns a metric of each column, over all steps ahead and all elements with a forecast and an actual value; NaN for a column
    /// without such elements.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn columns(&self, metric: MetricName) -> Result<Vec<f64>> {
        Ok(self.parts(metric)?.into_iter().map(|[sum, weight]| metric.finish(sum / weight)).collect())
    }

    /// Returns the mean of a metric over all columns that have it; `None` if none has.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn metric(&self, metric: MetricName) -> Result<Option<f64>> {
        Ok(mean_of_groups(&self.parts(metric)?, |mean| metric.finish(mean)))
    }

    /// Returns how many elements the metrics are over.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn counts(&self) -> Result<Counts> {
        let total =
            |metric| -> Result<f64> { Ok(self.parts(metric)?.iter().map(|[_, weight]| weight).sum()) };
        let compared = total(MetricName::Mae)? as usize;
        let nonzero = total(MetricName::Mape)? as usize;
        Ok(Counts { compared, nonzero, missing: self.whole.saturating_sub(compared) })
    }

    /// Removes the forecasts of the elements that `other` does not forecast, so that the errors of both are over the same elements.
    ///
    /// # Errors
    /// Fails if `other` has other rows or columns.
    pub fn only_where(mut self, other: &Self) -> Result<Self> {
        for (step, other) in self.steps.iter_mut().zip(&other.steps) {
            *step = step.f_where_scalarother(&other.f_isfinite()?, f64::NAN)?;
        }
        Ok(self)
    }

    /// Writes the columns `time`, `actual` and `forecast` as CSV, and the lower and upper ends of the intervals as `lo-LEVEL` and
    /// `hi-LEVEL`. With several columns, their names get the suffix `_NAME`; with several steps ahead, those of forecasts get the
    /// suffix `_STEP`. A missing forecast is an empty cell.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn write_csv(&self, path: &Path, bands: Option<&Bands>) -> Result<()> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        self.write_to(&mut writer, bands, None, true)?;
        Ok(write_atomic(path, &writer.into_inner().context("cannot write the forecast")?)?)
    }

    /// Writes the columns of [`Forecast::write_csv`], after a column with the name of the series if it is one of many. `is_first` is
    /// whether the names of the columns come first.
    ///
    /// # Errors
    /// Fails if a row cannot be written.
    pub fn write_to(
        &self,
        writer: &mut csv::Writer<Vec<u8>>,
        bands: Option<&Bands>,
        series: Option<&str>,
        is_first: bool,
    ) -> Result<()> {
        let column = |prefix: &str, name: &str| {
            if self.names.len() > 1 { format!("{prefix}_{name}") } else { prefix.to_owned() }
        };
        let values =
            |tensor: &Tensor| -> Result<Vec<f64>> { Ok(Vec::try_from(tensor.f_contiguous()?.f_view(-1)?)?) };
        let mut header: Vec<String> = series.map(|_| "series".to_owned()).into_iter().collect();
        header.push("time".to_owned());
        header.extend(self.names.iter().map(|name| column("actual", name)));
        let (mut tables, columns) = (vec![values(&self.actual)?], self.names.len());
        for (at, predicted) in self.predicted()?.iter().enumerate() {
            let step = if self.steps.len() > 1 { format!("_{}", at + 1) } else { String::new() };
            header.extend(self.names.iter().map(|name| column("forecast", name) + &step));
            tables.push(values(&predicted.made)?);
            for (level, ends) in bands.map_or_else(|| Ok(Vec::new()), |bands| bands.ends(predicted, at))? {
                for (end, prefix) in ends.iter().zip(["lo", "hi"]) {
                    let prefix = format!("{prefix}-{level}");
                    header.extend(self.names.iter().map(|name| column(&prefix, name) + &step));
                    tables.push(values(end)?);
                }
            }
        }
        if is_first {
            writer.write_record(&header)?;
        }
        let mut cell = String::new();
        for (row, time) in self.time.iter().enumerate() {
            series.map_or(Ok(()), |series| writer.write_field(series))?;
            writer.write_field(time)?;
            for value in tables.iter().flat_map(|table| &table[row * columns..][..columns]) {
                cell.clear();
                if !value.is_nan() {
                    // Writing to a string cannot fail.
                    let _ = write!(cell, "{value}");
                }
                writer.write_field(&cell)?;
            }
            writer.write_record(None::<&[u8]>)?;
        }
        Ok(())
    }
}

/// Returns the sum and the weight of a metric per column, over pairs of forecasts and actual values, each `[rows, columns]`.
fn parts<'a>(
    metric: MetricName,
    pairs: impl Iterator<Item = (&'a Tensor, &'a Tensor)>,
) -> Result<Vec<[f64; 2]>> {
    let mut running = Running::default();
    for (made, actual) in pairs {
        let actual = actual.f_where_scalarother(&made.f_isfinite()?, f64::NAN)?;
        let part = metric.by_column(actual.size()[1] as usize).sum(made, &actual)?;
        running.add(&part.sum, part.count)?;
    }
    Ok(running.parts().to_vec())
}

/// Returns the mean over the columns of a metric of pairs of forecasts and actual values, each `[rows, columns]`; `None` if no column
/// has it.
///
/// # Errors
/// Fails if libtorch does.
pub(super) fn mean_of_columns(metric: MetricName, pairs: &[(Tensor, Tensor)]) -> Result<Option<f64>> {
    let parts = parts(metric, pairs.iter().map(|(made, actual)| (made, actual)))?;
    Ok(mean_of_groups(&parts, |mean| metric.finish(mean)))
}

/// The intervals around forecasts, and the levels of them that are written and plotted.
#[derive(Debug, Clone)]
pub struct Bands {
    /// The sizes of the intervals.
    pub intervals: Intervals,
    /// The levels, in the order of the columns of a table.
    pub levels: Vec<Level>,
}

impl Bands {
    /// Returns the lower and the upper end of the intervals of each level, for a forecast `step` steps ahead, from 0:
    /// `[rows, columns]`.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn ends(&self, predicted: &Predicted, step: usize) -> Result<Vec<(Level, [Tensor; 2])>> {
        self.levels.iter().map(|&level| Ok((level, self.intervals.ends(predicted, step, level)?))).collect()
    }
}

impl Bands {
    /// Returns the lower and the upper end of the interval of each step of a forecast of the future, for each level `[steps][columns]`.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn of_path(&self, predicted: &Predicted) -> Result<Vec<PathEnds>> {
        let rows = |values: Tensor| -> Result<Vec<Vec<f64>>> { Ok(Vec::try_from(values)?) };
        let ends = |&level: &Level| {
            let [low, high] = self.intervals.ends_from(predicted, 0, level)?;
            Ok((level, [rows(low)?, rows(high)?]))
        };
        self.levels.iter().map(ends).collect()
    }
}

/// A level, and the lower and the upper ends of its intervals, `[steps][columns]` each.
pub type PathEnds = (Level, [Vec<Vec<f64>>; 2]);

/// Numbers of elements of a forecast: rows times columns times steps ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Those with a forecast and an actual value, which the metrics are over.
    pub compared: usize,
    /// Those of them whose actual value is not 0, which the MAPE is over.
    pub nonzero: usize,
    /// Those without a forecast or without an actual value, because a value is missing.
    pub missing: usize,
}

/// The scales of the mean absolute scaled error (MASE) of each column: the mean absolute difference of two values of the
/// training split that are a season apart (Hyndman and Koehler, "Another look at measures of forecast accuracy", 2006; with a
/// season as in the M4 competition).
#[derive(Debug, Clone, PartialEq)]
pub struct MaseScales {
    /// The rows between the two values: a season, or 1 if the season is unknown or as long as the training split.
    pub season: usize,
    /// The scale of each column; 0 for a column that repeats, and NaN for one without two values.
    pub columns: Vec<f64>,
}

impl MaseScales {
    /// Returns the scales of `series`, whose first `split` rows are the training split.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn new(series: &Series, split: usize, season: Option<usize>) -> Result<Self> {
        let season = season.filter(|&season| season < split).unwrap_or(1);
        let rows = split.saturating_sub(season) as i64;
        let at = |row: usize| series.values.f_narrow(0, row as i64, rows);
        let changes = at(season.min(split))?.f_sub(&at(0)?)?.f_abs()?;
        let columns = Vec::<f64>::try_from(changes.f_nanmean(0, false, tch::Kind::Double)?)?;
        Ok(Self { season, columns })
    }

    /// Returns the MASE of each column with these mean absolute errors; NaN for a column whose scale is 0 or NaN.
    pub fn scaled(&self, maes: &[f64]) -> Vec<f64> {
        let each = self.columns.iter().zip(maes);
        each.map(|(&scale, mae)| if scale > 0.0 { mae / scale } else { f64::NAN }).collect()
    }
}

#[cfg(test)]
mod tests;
