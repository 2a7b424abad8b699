//! Forecasts: of the validation part, to be compared with what came, and of the future.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use tch::{Device, Kind, Tensor};
use text_recognizer::data::{DataConfig, DataLoader, DataModule};
use text_recognizer::lit_models::{LitModel, Metric};

use super::{Baseline, Scaler, Series, SeriesDataModule};
use crate::trainer::checkpoint::write_atomic;

/// Forecasts of a part of a series, with what came.
#[derive(Debug)]
pub struct Forecast {
    /// The rows' times.
    pub time: Vec<String>,
    /// The columns' names.
    pub names: Vec<String>,
    /// `[rows, columns]`
    pub actual: Tensor,
    /// For each step ahead `[rows, columns]`: what was forecast for a row that many steps before. NaN where no window is.
    pub steps: Vec<Tensor>,
}

impl Forecast {
    /// Forecasts every row of the validation part, in a few large batches.
    ///
    /// # Errors
    /// When the loader's windows are not the model's.
    pub fn of_validation(lit: &dyn LitModel, loader: &DataLoader, module: &SeriesDataModule) -> Result<Self> {
        // Memory of its own, had before the first batch's: small results kept among the large inputs would leave holes that
        // no later batch fits into, until all windows had been copied side by side.
        let DataConfig { output_dims, .. } = module.config();
        let size = [&[loader.rows() as i64], &output_dims[..]].concat();
        let predictions = Tensor::f_empty(&size, (lit.parameters().placement().kind, Device::Cpu))?; // [windows, horizon, columns]
        let mut made = 0;
        for batch in loader.epoch(0, 0) {
            let batch = batch?;
            let (mut place, forecast) =
                (predictions.f_narrow(0, made, batch.len() as i64)?, lit.predict(&batch.x)?);
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
        let (from, to) = module.validation();
        let (windows, rows, stride) =
            (predictions.size()[0], (to - from) as i64, module.windows().stride as i64);
        let steps = (0..predictions.size()[1]).map(|step| {
            let made = predictions.f_select(1, step)?.f_to_kind(Kind::Double)?;
            let before = step * stride;
            placed(&made.f_narrow(0, 0, windows.min(rows - before))?, before, rows)
        });
        let steps = steps.collect::<Result<_>>()?;
        Self::new(module, steps)
    }

    /// Forecasts of the validation part by a rule, column by column, as many steps ahead as the module's horizon.
    ///
    /// # Errors
    /// When the part before it is too short for the rule.
    pub fn by_baseline(baseline: Baseline, module: &SeriesDataModule) -> Result<Self> {
        let (from, to) = module.validation();
        let series = module.series();
        let columns =
            (0..series.names.len()).map(|column| series.column(column)).collect::<Result<Vec<_>, _>>()?;
        let steps = (0..module.windows().horizon).map(|step| {
            // As a network's: every forecast is made within the validation part, so its first rows have none of later steps.
            let gap = (step * module.windows().stride).min(to - from);
            let made = columns.iter().map(|column| {
                Ok(Tensor::from_slice(&baseline.forecast(module.baselines(), column, from + gap, to, gap)?))
            });
            let made = Tensor::f_stack(&made.collect::<Result<Vec<_>>>()?, 1)?;
            placed(&made, gap as i64, (to - from) as i64)
        });
        let steps = steps.collect::<Result<_>>()?;
        Self::new(module, steps)
    }

    fn new(module: &SeriesDataModule, steps: Vec<Tensor>) -> Result<Self> {
        let (from, to) = module.validation();
        let series = module.series();
        let actual = series.values.f_narrow(0, from as i64, (to - from) as i64)?.f_to_kind(Kind::Double)?;
        Ok(Self { time: series.time[from..to].to_vec(), names: series.names.clone(), actual, steps })
    }

    /// A metric over all forecasts, of every step ahead.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn metric(&self, metric: Metric) -> Result<f64> {
        let (mut sum, mut count) = (0.0, 0.0);
        for step in &self.steps {
            let made = step.f_isfinite()?.f_all_dim(1, false)?;
            let rows = made.f_nonzero()?.f_view(-1)?;
            let part = metric.sum(&step.f_index_select(0, &rows)?, &self.actual.f_index_select(0, &rows)?)?;
            sum += part.sum.f_double_value(&[])?;
            count += part.count as f64;
        }
        Ok(metric.finish(sum / count))
    }

    /// Writes time, what came and what was forecast; `_NAME` and `_STEP` tell columns and steps ahead apart where there are
    /// several.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_csv(&self, path: &Path) -> Result<()> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let column = |what: &str, name: &str| {
            if self.names.len() > 1 { format!("{what}_{name}") } else { what.to_owned() }
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
        // What is not there is an empty cell. The series is of f32: the digits beyond are none of its own.
        let cell = |value: &f64| if value.is_nan() { String::new() } else { (*value as f32).to_string() };
        for (row, time) in self.time.iter().enumerate() {
            let values = actual[row].iter().chain(steps.iter().flat_map(|step| &step[row]));
            writer.write_record(std::iter::once(time.clone()).chain(values.map(cell)))?;
        }
        write_atomic(path, &writer.into_inner().context("writing the forecast")?)
    }
}

/// `made`, from row `before` on of `rows`; NaN elsewhere.
fn placed(made: &Tensor, before: i64, rows: i64) -> Result<Tensor> {
    let nan = |rows: i64| Tensor::f_full([rows, made.size()[1]], f64::NAN, (Kind::Double, Device::Cpu));
    Ok(Tensor::f_cat(&[nan(before)?, made.shallow_clone(), nan(rows - before - made.size()[0])?], 0)?)
}

/// Mean absolute scaled error: `mae` over the naive forecast's error on the training part (Hyndman and Koehler, "Another look
/// at measures of forecast accuracy", 2006). Infinite or NaN where that part is constant.
///
/// # Errors
/// When the training part has a single row.
pub fn mase(mae: f64, module: &SeriesDataModule) -> Result<f64> {
    let (split, _) = module.validation();
    ensure!(split > 1, "the training part has {split} row: the naive forecast needs two");
    let training = module.series().values.f_narrow(0, 0, split as i64)?.f_to_kind(Kind::Double)?;
    let naive = training.f_diff::<Tensor>(1, 0, None, None)?.f_abs()?.f_mean(Kind::Double)?;
    Ok(mae / naive.f_double_value(&[])?)
}

/// Forecasts `steps` values after the end of `series`, `[steps, columns]`, in its units: as many at once as the model's
/// horizon, each lot from what was forecast before.
///
/// # Errors
/// When the series has other columns than the model was trained on, or is shorter than its window.
pub fn future(
    lit: &dyn LitModel,
    data: &DataConfig,
    scaler: &Scaler,
    stride: usize,
    series: &Series,
    steps: usize,
) -> Result<Tensor> {
    let [window_size, columns] = data.input_dims[..] else {
        anyhow::bail!("the checkpoint is not of a model of series");
    };
    let found = series.names.len() as i64;
    ensure!(
        found == columns,
        "the series has {found} columns, the model was trained on {columns}: {}",
        data.mapping.join(", ")
    );
    let (rows, stride) = (series.len() as i64, stride as i64);
    let reach = (window_size - 1) * stride + 1;
    ensure!(rows >= reach, "the series has {rows} rows, the model forecasts from the last {reach}");
    let scaled = scaler.transform(&series.values)?;
    let mut window = scaled.f_slice(0, rows - reach, rows, stride)?; // [window_size, columns]
    let mut forecasts = Vec::new();
    let mut made = 0;
    while made < steps as i64 {
        let next = lit.predict(&window.f_unsqueeze(0)?)?.f_squeeze_dim(0)?.to_device(Device::Cpu); // [horizon, columns]
        made += next.size()[0];
        let grown = Tensor::f_cat(&[&window, &scaler.transform(&next)?.f_to_kind(window.kind())?], 0)?;
        window = grown.f_narrow(0, grown.size()[0] - window_size, window_size)?;
        forecasts.push(next);
    }
    Ok(Tensor::f_cat(&forecasts, 0)?.f_narrow(0, 0, steps as i64)?.f_to_kind(Kind::Double)?)
}
