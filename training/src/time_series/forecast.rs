//! Forecasts of rows of a series, with the actual values, and their errors.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use tch::{Kind, Tensor};
use text_recognizer::lit_models::Metric;
use text_recognizer::util::files::write_atomic;

use super::{Forecaster, Series};

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
}

impl Forecast {
    /// Forecasts the rows `rows` of `series`.
    ///
    /// # Errors
    /// Fails if the forecaster does.
    pub fn new(forecaster: &dyn Forecaster, series: &Series, rows: Range<usize>) -> Result<Self> {
        let steps = forecaster.forecast_rows(series, rows.clone())?;
        let actual = series.values.f_narrow(0, rows.start as i64, rows.len() as i64)?;
        Ok(Self { time: series.timestamps.labels_of(rows), names: series.names.clone(), actual, steps })
    }

    /// Returns a metric over all forecasts of all steps ahead, without rows that have no forecast.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn metric(&self, metric: &dyn Metric) -> Result<f64> {
        let (mut sum, mut count) = (0.0, 0.0);
        for step in &self.steps {
            let made = step.f_isfinite()?.f_all_dim(1, false)?;
            let rows = made.f_nonzero()?.f_view(-1)?;
            let part = metric.sum(&step.f_index_select(0, &rows)?, &self.actual.f_index_select(0, &rows)?)?;
            sum += part.sum.f_double_value(&[])?;
            count += part.count.get()? as f64;
        }
        Ok(metric.finish(sum / count))
    }

    /// Writes the columns `time`, `actual` and `forecast` as CSV. With several columns, their names get the suffix `_NAME`; with
    /// several steps ahead, `forecast` gets the suffix `_STEP`. A missing forecast is an empty cell.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn write_csv(&self, path: &Path) -> Result<()> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let column = |prefix: &str, name: &str| {
            if self.names.len() > 1 { format!("{prefix}_{name}") } else { prefix.to_owned() }
        };
        let mut header = vec!["time".to_owned()];
        header.extend(self.names.iter().map(|name| column("actual", name)));
        for step in 1..=self.steps.len() {
            let step = if self.steps.len() > 1 { format!("_{step}") } else { String::new() };
            header.extend(self.names.iter().map(|name| column("forecast", name) + &step));
        }
        writer.write_record(&header)?;
        let rows = |tensor: &Tensor| -> Result<Vec<Vec<f64>>> { Ok(Vec::try_from(tensor)?) };
        let (actual, steps) = (rows(&self.actual)?, self.steps.iter().map(rows).collect::<Result<Vec<_>>>()?);
        let cell = |value: &f64| if value.is_nan() { String::new() } else { value.to_string() };
        for (row, time) in self.time.iter().enumerate() {
            let values = actual[row].iter().chain(steps.iter().flat_map(|step| &step[row]));
            writer.write_record(std::iter::once(time.clone()).chain(values.map(cell)))?;
        }
        Ok(write_atomic(path, &writer.into_inner().context("cannot write the forecast")?)?)
    }
}

/// Returns the mean absolute scaled error: `mae` divided by the mean absolute error of the naive forecast on the first `split`
/// rows of `series` (Hyndman and Koehler, "Another look at measures of forecast accuracy", 2006). It is infinite or NaN if
/// these rows are constant, and NaN if there is only one.
///
/// # Errors
/// Fails if libtorch does.
pub fn mase(mae: f64, series: &Series, split: usize) -> Result<f64> {
    if split < 2 {
        return Ok(f64::NAN);
    }
    let training = series.values.f_narrow(0, 0, split as i64)?;
    let naive = training.f_diff::<Tensor>(1, 0, None, None)?.f_abs()?.f_mean(Kind::Double)?;
    Ok(mae / naive.f_double_value(&[])?)
}
