//! One interface for all models that forecast: trained networks, and rules without training.

use std::ops::Range;
use std::rc::Rc;

use anyhow::{Result, ensure};
use tch::{Device, Kind, Tensor};
use text_recognizer::data::{DataLoader, DataSpec, Dataset, Shuffle};
use text_recognizer::lit_models::LitModel;

use super::{Baseline, BaselineConfig, Layout, Past, Scaler, Series, WindowDataset};

/// A model that forecasts a series from its past.
pub trait Forecaster {
    /// Returns the model's name, as in `--model`.
    fn name(&self) -> &str;

    /// Returns the number of steps ahead of one forecast.
    fn horizon(&self) -> usize;

    /// Returns the rows from one step ahead to the next.
    fn stride(&self) -> usize;

    /// Forecasts the rows `rows` of `series`: for each step ahead `[rows, columns]`, where a row's forecast is made from the
    /// rows up to that many steps before it. NaN for the rows whose forecast would be made before `rows`.
    ///
    /// # Errors
    /// Fails if the rows before are too few, or the columns are not those of the model.
    fn forecast_rows(&self, series: &Series, rows: Range<usize>) -> Result<Vec<Tensor>>;

    /// Forecasts the `steps` steps after the last row of `series`, `[steps, columns]`, in its units.
    ///
    /// # Errors
    /// As [`Forecaster::forecast_rows`].
    fn forecast_future(&self, series: &Series, steps: usize) -> Result<Tensor>;
}

/// A trained network. It forecasts as many steps at once as its horizon has, and further steps from its own forecasts.
#[derive(Debug)]
pub struct NetworkForecaster {
    /// The model's name.
    pub name: String,
    /// The network, whose predictions are in the units of the series.
    pub lit: Rc<dyn LitModel>,
    /// The shapes and columns of its data.
    pub data: DataSpec,
    /// The scaling of its inputs.
    pub scaler: Scaler,
    /// Rows from one value of a window to the next.
    pub stride: usize,
    /// Windows per batch.
    pub batch_size: usize,
}

impl NetworkForecaster {
    /// Returns the sizes of a window, `[window_size, columns]`, after a check of the columns of `series`.
    fn window(&self, series: &Series) -> Result<[i64; 2]> {
        let [window_size, columns] = self.data.input_dims[..] else {
            anyhow::bail!("the checkpoint is not of a model of series");
        };
        let found = series.names.len() as i64;
        ensure!(
            found == columns,
            "the series has {found} columns, the model was trained on {columns}: {}",
            self.data.mapping.join(", ")
        );
        Ok([window_size, columns])
    }
}

impl Forecaster for NetworkForecaster {
    fn name(&self) -> &str {
        &self.name
    }

    fn horizon(&self) -> usize {
        self.data.output_dims.first().map_or(1, |&horizon| horizon as usize)
    }

    fn stride(&self) -> usize {
        self.stride
    }

    fn forecast_rows(&self, series: &Series, rows: Range<usize>) -> Result<Vec<Tensor>> {
        let [window_size, columns] = self.window(series)?;
        let reach = window_size as usize * self.stride;
        ensure!(
            rows.start >= reach,
            "the window is {reach} rows long: expected at most {}, the rows before the forecast",
            rows.start
        );
        let part = series.values.f_narrow(0, (rows.start - reach) as i64, (rows.len() + reach) as i64)?;
        let layout = Layout {
            window_size: window_size as usize,
            horizon: self.horizon(),
            shift: 1,
            stride: self.stride,
            sequence: false,
        };
        let windows = Box::new(WindowDataset::new(&self.scaler.transform(&part)?, layout)?);
        let placement = self.lit.parameters().placement();
        let windows = windows.to(placement.device, placement.kind)?;
        let loader = DataLoader::new(windows, self.batch_size, Shuffle::No)?;

        // Allocated before the first batch: small results between the large inputs would leave holes that no later batch
        // fits into, until all windows had been copied side by side.
        let size = [loader.rows() as i64, self.horizon() as i64, columns];
        let predictions = Tensor::f_empty(size, (placement.kind, Device::Cpu))?;
        let mut made = 0;
        for batch in loader.epoch(0, 0) {
            let batch = batch?;
            let (mut place, forecast) =
                (predictions.f_narrow(0, made, batch.len() as i64)?, self.lit.predict(&batch.x)?);
            // Copying would broadcast.
            ensure!(
                forecast.size() == place.size(),
                "the model forecasts {:?} where {:?} was expected",
                forecast.size(),
                place.size()
            );
            place.f_copy_(&forecast)?;
            made += batch.len() as i64;
        }
        let (windows, rows, stride) = (predictions.size()[0], rows.len() as i64, self.stride as i64);
        let steps = (0..self.horizon() as i64).map(|step| {
            let made = predictions.f_select(1, step)?.f_to_kind(Kind::Double)?;
            let before = step * stride;
            placed(&made.f_narrow(0, 0, windows.min(rows - before))?, before, rows)
        });
        steps.collect()
    }

    fn forecast_future(&self, series: &Series, steps: usize) -> Result<Tensor> {
        let [window_size, _] = self.window(series)?;
        let (rows, stride) = (series.len() as i64, self.stride as i64);
        let reach = (window_size - 1) * stride + 1;
        ensure!(rows >= reach, "the series has {rows} rows, the model forecasts from the last {reach}");
        let scaled = self.scaler.transform(&series.values)?;
        let mut window = scaled.f_slice(0, rows - reach, rows, stride)?; // [window_size, columns]
        let mut forecasts = Vec::new();
        let mut made = 0;
        while made < steps as i64 {
            let next = self.lit.predict(&window.f_unsqueeze(0)?)?.f_squeeze_dim(0)?.to_device(Device::Cpu); // [horizon, columns]
            made += next.size()[0];
            let grown =
                Tensor::f_cat(&[&window, &self.scaler.transform(&next)?.f_to_kind(window.kind())?], 0)?;
            window = grown.f_narrow(0, grown.size()[0] - window_size, window_size)?;
            forecasts.push(next);
        }
        Ok(Tensor::f_cat(&forecasts, 0)?.f_narrow(0, 0, steps as i64)?.f_to_kind(Kind::Double)?)
    }
}

/// A rule that forecasts each column by itself, without training.
#[derive(Debug, Clone)]
pub struct BaselineForecaster {
    /// The rule.
    pub baseline: Baseline,
    /// How far it looks back.
    pub config: BaselineConfig,
    /// Steps ahead of one forecast.
    pub horizon: usize,
    /// Rows from one step ahead to the next.
    pub stride: usize,
}

impl BaselineForecaster {
    /// Stacks what `forecast` gives for the past of each column: `[rows, columns]`.
    fn columns(
        &self,
        series: &Series,
        forecast: impl Fn(&Past<'_>) -> text_recognizer::Result<Vec<f64>>,
    ) -> Result<Tensor> {
        let made = (0..series.names.len()).map(|column| {
            let values = series.column(column)?;
            Ok(Tensor::from_slice(&forecast(&self.baseline.from_past(&self.config, &values)?)?))
        });
        Ok(Tensor::f_stack(&made.collect::<Result<Vec<_>>>()?, 1)?)
    }
}

impl Forecaster for BaselineForecaster {
    fn name(&self) -> &str {
        self.baseline.name()
    }

    fn horizon(&self) -> usize {
        self.horizon
    }

    fn stride(&self) -> usize {
        self.stride
    }

    fn forecast_rows(&self, series: &Series, rows: Range<usize>) -> Result<Vec<Tensor>> {
        let steps = (0..self.horizon).map(|step| {
            // As a network's: every forecast is made from `rows.start` on, so its first rows have none of later steps.
            let gap = step.saturating_mul(self.stride).min(rows.len());
            let made = self.columns(series, |past| past.forecast(rows.start + gap, rows.end, gap))?;
            placed(&made, gap as i64, rows.len() as i64)
        });
        steps.collect()
    }

    fn forecast_future(&self, series: &Series, steps: usize) -> Result<Tensor> {
        let rows = steps.checked_mul(self.stride).and_then(|rows| rows.checked_add(series.len()));
        ensure!(
            rows.is_some(),
            "cannot forecast {steps} steps: expected a number of rows that can be counted"
        );
        self.columns(series, |past| {
            let gaps = (1..=steps).map(|step| step * self.stride - 1);
            gaps.map(|gap| Ok(past.forecast(series.len() + gap, series.len() + gap + 1, gap)?[0])).collect()
        })
    }
}

/// Returns `made` from row `before` on of `rows` rows, and NaN elsewhere.
fn placed(made: &Tensor, before: i64, rows: i64) -> Result<Tensor> {
    let nan = |rows: i64| Tensor::f_full([rows, made.size()[1]], f64::NAN, (Kind::Double, Device::Cpu));
    Ok(Tensor::f_cat(&[nan(before)?, made.shallow_clone(), nan(rows - before - made.size()[0])?], 0)?)
}
