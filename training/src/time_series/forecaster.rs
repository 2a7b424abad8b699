//! One interface for all models that forecast: trained networks and baselines.

use std::ops::Range;
use std::rc::Rc;

use anyhow::{Result, ensure};
use tch::{Device, Kind, Tensor};
use text_recognizer::data::{DataLoader, DataSpec, Dataset, Shuffle};
use text_recognizer::lit_models::LitModel;

use super::{
    Baseline, BaselineConfig, Covariates, Intervals, Layout, PanelExtras, Past, Predicted, Quantiles, Scaler,
    Series, WindowConfig, WindowDataset,
};
use crate::format::count;

/// A model that forecasts a series from its past.
pub trait Forecaster {
    /// Returns the number of steps ahead of one forecast.
    fn horizon(&self) -> usize;

    /// Returns the number of rows from one step ahead to the next.
    fn stride(&self) -> usize;

    /// Returns the quantiles that it forecasts, whose values its forecasts have in place of columns, see [`Quantiles`]; `None` for a
    /// model without quantiles.
    fn quantiles(&self) -> Option<&Quantiles> {
        None
    }

    /// Returns the rows, of `rows` rows, that are forecast `step + 1` steps ahead if no value is missing.
    fn rows_of_step(&self, rows: usize, step: usize) -> Range<usize> {
        step.saturating_mul(self.stride()).min(rows)..rows
    }

    /// Forecasts the rows `rows` of `series`. Returns one tensor `[rows, columns]` per step ahead, in the units of the series:
    /// tensor `k` has for each row the forecast from `k + 1` steps before it, or NaN if there is none. The first forecast is made
    /// from the rows before `rows`. A network has no forecast from a window with a missing value.
    ///
    /// # Errors
    /// Fails if there are too few rows before `rows`, or if the series has other columns than the model.
    fn forecast_rows(&self, series: &Series, rows: Range<usize>) -> Result<Vec<Tensor>>;

    /// Forecasts the next `steps` steps after the last row of `series`: `[steps, columns]`, in the units of the series.
    ///
    /// # Errors
    /// Fails if the series has too few rows, or other columns than the model.
    fn forecast_future(&self, series: &Series, steps: usize) -> Result<Tensor>;

    /// Returns the sizes of intervals for `steps` steps ahead from the errors of forecasts of `series` itself, each from the rows
    /// before it. Returns `None` for a model that was trained on a series, whose errors on it would be too small.
    ///
    /// # Errors
    /// Fails if the series has too few rows.
    fn rolling_intervals(&self, _series: &Series, _steps: usize) -> Result<Option<Intervals>> {
        Ok(None)
    }

    /// Returns this model for `series`, one of many. A series that the model was not trained on is scaled by its own rows.
    ///
    /// # Errors
    /// Fails if the series has no value, or other static covariates than the model.
    fn of_series(&self, series: &Series, panel: &PanelExtras) -> Result<Box<dyn Forecaster>>;
}

/// A trained network. It forecasts `horizon` steps at once, and further steps from its own forecasts.
#[derive(Debug, Clone)]
pub struct NetworkForecaster {
    /// The network. Its predictions are in the units of the series.
    pub lit: Rc<dyn LitModel>,
    /// The shapes and columns of its data.
    pub data: DataSpec,
    /// The scaling of the values of the series.
    pub scaler: Scaler,
    /// The inputs beside the values; `None` for none.
    pub covariates: Option<Covariates>,
    /// The static inputs of the series for a model of many series, whose predictions are in scaled units; `None` for other models.
    pub statics: Option<Vec<f64>>,
    /// The quantiles that it forecasts; `None` for a network without.
    pub quantiles: Option<Quantiles>,
    /// Rows from one time step of a window to the next.
    pub stride: usize,
    /// Windows per batch.
    pub batch_size: usize,
}

impl NetworkForecaster {
    /// Checks the columns of `series`, and returns the time steps of a window and the number of columns.
    fn window(&self, series: &Series) -> Result<[i64; 2]> {
        let (&[window_size, _], &[_, columns]) = (&self.data.input_dims[..], &self.data.output_dims[..])
        else {
            anyhow::bail!(
                "cannot forecast: the model has inputs of shape {:?} and forecasts of shape {:?}, expected [window_size, inputs] and \
                 [horizon, columns]",
                self.data.input_dims,
                self.data.output_dims
            );
        };
        let found = series.names.len() as i64;
        ensure!(
            found == columns,
            "cannot forecast: the series has {found} columns, expected the {columns} of the model: {}",
            self.data.mapping.join(", ")
        );
        Ok([window_size, columns])
    }

    /// Returns how many rows later the inputs are that are known beforehand.
    fn lead(&self) -> usize {
        self.horizon().saturating_mul(self.stride)
    }

    /// Returns the scaled inputs of `rows`, `[rows, inputs]`.
    fn inputs(&self, series: &Series, rows: Range<usize>) -> Result<Tensor> {
        let values = series.inputs().f_narrow(0, rows.start as i64, rows.len() as i64)?;
        let values = self.scaler.transform(&values)?;
        let inputs = match &self.covariates {
            Some(covariates) => covariates.inputs(&values, covariates.of(series)?, rows, self.lead())?,
            None => values,
        };
        self.with_statics(inputs)
    }

    /// Adds the static inputs to each row of `inputs: [rows, inputs]`.
    fn with_statics(&self, inputs: Tensor) -> Result<Tensor> {
        let Some(statics) = self.statics.as_ref().filter(|statics| !statics.is_empty()) else {
            return Ok(inputs);
        };
        let size = [inputs.size()[0], statics.len() as i64];
        let statics = Tensor::f_from_slice(statics)?.f_to_kind(inputs.kind())?.f_unsqueeze(0)?;
        Ok(Tensor::f_cat(&[inputs, statics.f_expand(size, false)?], 1)?)
    }

    /// Predicts the steps after windows, in the units of the series: `[batch, window_size, inputs] -> [batch, horizon, columns]`.
    fn predict(&self, x: &Tensor) -> Result<Tensor> {
        let made = self.lit.predict(x)?;
        Ok(if self.statics.is_some() { self.scaler.inverse(&made)? } else { made })
    }

    /// Returns the scaled inputs beside the values for the windows of forecasts after the end of `series`: for each block of a horizon,
    /// `[window_size, inputs]`; nothing without covariates. The windows begin at row `start` of the series.
    fn others(
        &self,
        series: &Series,
        start: usize,
        window_size: i64,
        blocks: usize,
        steps: usize,
    ) -> Result<Vec<Tensor>> {
        let Some(covariates) = &self.covariates else { return Ok(Vec::new()) };
        covariates.check_known(series, blocks.saturating_mul(self.lead()), steps, self.horizon())?;
        let values = covariates.of(series)?;
        let steps_of = |rows: Tensor| rows.f_slice(0, 0, None, self.stride as i64);
        let past = steps_of(covariates.past(values, start..series.len())?)?;
        let first = start + self.lead();
        let known = steps_of(covariates.known(values, first..series.len() + blocks * self.lead())?)?;
        let each = (0..blocks).map(|block| {
            let known = known.f_narrow(0, (block * self.horizon()) as i64, window_size)?;
            Ok(Tensor::f_cat(&[&past, &known], 1)?)
        });
        each.collect()
    }
}

impl Forecaster for NetworkForecaster {
    fn horizon(&self) -> usize {
        self.data.output_dims.first().map_or(1, |&horizon| horizon as usize)
    }

    fn stride(&self) -> usize {
        self.stride
    }

    fn quantiles(&self) -> Option<&Quantiles> {
        self.quantiles.as_ref()
    }

    /// Each window forecasts all steps ahead, within the rows.
    fn rows_of_step(&self, rows: usize, step: usize) -> Range<usize> {
        let first = step.saturating_mul(self.stride).min(rows);
        let reach = (self.horizon() - 1).saturating_mul(self.stride);
        first..first.saturating_add(rows.saturating_sub(reach)).min(rows)
    }

    fn forecast_rows(&self, series: &Series, rows: Range<usize>) -> Result<Vec<Tensor>> {
        let [window_size, columns] = self.window(series)?;
        let reach = (window_size as usize).saturating_mul(self.stride);
        ensure!(
            rows.start >= reach,
            "cannot forecast: a window spans {reach} rows, expected at most the {} rows before the forecast",
            rows.start
        );
        let inputs = self.inputs(series, rows.start - reach..rows.end)?;
        let layout = Layout {
            window_size: window_size as usize,
            horizon: self.horizon(),
            shift: 1,
            stride: self.stride,
            sequence: false,
        };
        let windows = Box::new(WindowDataset::new(&inputs, layout)?);
        let placement = self.lit.parameters().placement();
        let windows = windows.to(placement.device, placement.kind)?;
        let loader = DataLoader::new(windows, self.batch_size, Shuffle::No)?;

        // Allocated once, before the first batch. If each batch allocated a small result between two large inputs, the freed
        // memory would be too fragmented for the next input, and the process would grow to the size of all windows.
        let outputs = columns * self.quantiles.as_ref().map_or(1, Quantiles::count);
        let size = [loader.rows() as i64, self.horizon() as i64, outputs];
        let predictions = Tensor::f_empty(size, (Kind::Double, Device::Cpu))?;
        let mut made = 0;
        for batch in loader.epoch(0, 0) {
            let batch = batch?;
            let (mut place, forecast) =
                (predictions.f_narrow(0, made, batch.len() as i64)?, self.predict(&batch.x)?);
            // A copy would broadcast another shape without an error.
            ensure!(
                forecast.size() == place.size(),
                "cannot forecast: the model returned shape {:?}, expected {:?}",
                forecast.size(),
                place.size()
            );
            place.f_copy_(&forecast)?;
            made += batch.len() as i64;
        }
        for window in 0..loader.rows() {
            // The row of the last input; an input that depends on a later row would be the target.
            if series.looks_ahead(rows.start + window - self.stride, self.lead()) {
                let _ = predictions.f_get(window as i64)?.f_fill_(f64::NAN)?;
            }
        }
        let (windows, rows, stride) = (predictions.size()[0], rows.len() as i64, self.stride as i64);
        let steps = (0..self.horizon() as i64).map(|step| {
            let made = predictions.f_select(1, step)?;
            let before = step * stride;
            placed(&made.f_narrow(0, 0, windows.min(rows - before))?, before, rows)
        });
        steps.collect()
    }

    fn forecast_future(&self, series: &Series, steps: usize) -> Result<Tensor> {
        let [window_size, _] = self.window(series)?;
        let (rows, stride) = (series.len() as i64, self.stride as i64);
        let reach = (window_size - 1).saturating_mul(stride).saturating_add(1);
        ensure!(
            rows >= reach,
            "cannot forecast: the series has {rows} rows, expected at least {reach}, the rows of a window"
        );
        let blocks = steps.div_ceil(self.horizon());
        let others = self.others(series, (rows - reach) as usize, window_size, blocks, steps)?;
        let last = series.inputs().f_slice(0, rows - reach, rows, stride)?;
        let mut window = self.scaler.transform(&last)?; // [window_size, columns]
        let first = Tensor::f_cat(&[&[&window], &others.iter().take(1).collect::<Vec<_>>()[..]].concat(), 1)?;
        let missing = first.f_isnan()?.f_sum(Kind::Int64)?.f_int64_value(&[])?;
        ensure!(
            missing == 0,
            "cannot forecast: found {} in the last window of {window_size} time steps, expected none; try --fill forward",
            count(missing as u64, "missing value")
        );
        let mut forecasts = Vec::new();
        for block in 0..blocks {
            let inputs = match others.get(block) {
                Some(others) => Tensor::f_cat(&[&window, others], 1)?,
                None => window.shallow_clone(),
            };
            let inputs = self.with_statics(inputs)?;
            let next = self.predict(&inputs.f_unsqueeze(0)?)?.f_squeeze_dim(0)?.to_device(Device::Cpu); // [horizon, outputs]
            let median = self.quantiles.as_ref().map(|quantiles| quantiles.median(&next)).transpose()?;
            let values = self.scaler.transform(median.as_ref().unwrap_or(&next))?;
            let grown = Tensor::f_cat(&[window, values], 0)?;
            window = grown.f_narrow(0, grown.size()[0] - window_size, window_size)?;
            forecasts.push(next);
        }
        Ok(Tensor::f_cat(&forecasts, 0)?.f_narrow(0, 0, steps as i64)?)
    }

    fn of_series(&self, series: &Series, panel: &PanelExtras) -> Result<Box<dyn Forecaster>> {
        let known = panel.scalers.get(&series.key).cloned();
        let scaler = known.map_or_else(|| Scaler::fit(panel.scaling, &series.values), Ok)?;
        Ok(Box::new(Self { scaler, statics: Some(panel.statics.encode(series)?), ..self.clone() }))
    }
}

/// A baseline. It forecasts each column separately, without training.
#[derive(Debug, Clone)]
pub struct BaselineForecaster {
    /// The kind of baseline.
    pub baseline: Baseline,
    /// The numbers of rows that it averages.
    pub config: BaselineConfig,
    /// Steps ahead of one forecast.
    pub horizon: usize,
    /// Rows from one step ahead to the next.
    pub stride: usize,
}

impl BaselineForecaster {
    /// Creates the baseline for forecasts of the windows of `windows`.
    pub fn new(baseline: Baseline, config: &BaselineConfig, windows: &WindowConfig) -> Self {
        let WindowConfig { horizon, stride, .. } = *windows;
        Self { baseline, config: config.clone(), horizon, stride }
    }

    /// The most rows whose errors intervals are from. More would add little.
    const MOST_ORIGINS: usize = 2000;

    /// Returns a note per column on the form that a statistical model has on the first `rows` rows of `series`; none for a rule.
    ///
    /// # Errors
    /// Fails like the forecast of the rows after these.
    pub fn notes(&self, series: &Series, rows: usize) -> Result<Vec<String>> {
        let notes = series.names.iter().enumerate().map(|(column, name)| {
            let values = series.column(column)?;
            let note = self.baseline.from_past(&self.config, &values, rows)?.note();
            Ok(note.map(|note| if series.names.len() > 1 { format!("column {name}: {note}") } else { note }))
        });
        notes.filter_map(Result::transpose).collect()
    }

    /// Calls `forecast` with the baseline of each column, which is estimated on the first `rows` rows.
    fn each_column<T>(
        &self,
        series: &Series,
        rows: usize,
        forecast: impl Fn(Past<'_>) -> text_recognizer::Result<T>,
    ) -> Result<Vec<T>> {
        let columns = (0..series.names.len()).map(|column| {
            let values = series.column(column)?;
            Ok(forecast(self.baseline.from_past(&self.config, &values, rows)?)?)
        });
        columns.collect()
    }
}

impl Forecaster for BaselineForecaster {
    fn horizon(&self) -> usize {
        self.horizon
    }

    fn stride(&self) -> usize {
        self.stride
    }

    fn forecast_rows(&self, series: &Series, rows: Range<usize>) -> Result<Vec<Tensor>> {
        let forecast = |past: Past<'_>| past.forecast(rows.clone(), self.horizon, self.stride);
        let columns = self.each_column(series, rows.start, forecast)?;
        (0..self.horizon).map(|step| stacked(columns.iter().map(|steps| &steps[step][..]))).collect()
    }

    fn rolling_intervals(&self, series: &Series, steps: usize) -> Result<Option<Intervals>> {
        let rows = series.len() / 2..series.len();
        let rows = rows.start.max(rows.end.saturating_sub(Self::MOST_ORIGINS))..rows.end;
        let actual = series.values.f_narrow(0, rows.start as i64, rows.len() as i64)?;
        let rolling = Self { horizon: steps, config: self.config.clone(), ..*self };
        let steps: Vec<Predicted> =
            rolling.forecast_rows(series, rows)?.into_iter().map(Predicted::from).collect();
        Intervals::of(&steps, &actual)
    }

    fn forecast_future(&self, series: &Series, steps: usize) -> Result<Tensor> {
        let rows = steps.checked_mul(self.stride).and_then(|rows| rows.checked_add(series.len()));
        ensure!(
            rows.is_some(),
            "cannot forecast {steps} steps: the row number overflows, expected fewer steps"
        );
        let columns = self.each_column(series, series.len(), |past| past.future(steps, self.stride))?;
        stacked(columns.iter().map(|column| &column[..]))
    }

    fn of_series(&self, _series: &Series, _panel: &PanelExtras) -> Result<Box<dyn Forecaster>> {
        Ok(Box::new(self.clone()))
    }
}

/// Returns columns of values as a tensor, `[rows, columns]`.
fn stacked<'a>(columns: impl Iterator<Item = &'a [f64]>) -> Result<Tensor> {
    let columns = columns.map(|column| Ok(Tensor::f_from_slice(column)?)).collect::<Result<Vec<_>>>()?;
    Ok(Tensor::f_stack(&columns, 1)?)
}

/// Returns `rows` rows: those of `made` after the first `before` rows, and NaN elsewhere.
fn placed(made: &Tensor, before: i64, rows: i64) -> Result<Tensor> {
    let nan = |rows: i64| Tensor::f_full([rows, made.size()[1]], f64::NAN, (Kind::Double, Device::Cpu));
    Ok(Tensor::f_cat(&[nan(before)?, made.shallow_clone(), nan(rows - before - made.size()[0])?], 0)?)
}
