//! Forecasting: predicts the next values of a time series.

use std::rc::Rc;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use text_recognizer::data::{DataModule, DataSpec};
use text_recognizer::lit_models::{LitConfig, LitModel, Metric, MetricName};
use text_recognizer::models::Model;

use super::{Report, Task, Trained};
use crate::time_series::{
    Baseline, BaselineConfig, BaselineForecaster, Fill, Forecast, Forecaster, Frequency, NetworkForecaster,
    Scaler, SeriesDataModule,
};
use crate::trainer::{Loaders, Record, RunFolder};

mod comparison;
mod diagnosis;
mod lit;
mod plots;

use comparison::Comparison;
use diagnosis::Diagnosis;
pub use lit::LitForecaster;
pub use plots::series as plot_series;

/// The task of forecasting a series.
#[derive(Debug)]
pub struct Forecasting {
    module: Rc<SeriesDataModule>,
}

/// The fields that forecasting adds to a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForecastingExtras {
    /// The scaling of the series.
    pub scaler: Scaler,
    /// Rows from one time step of a window to the next.
    pub stride: usize,
    /// The numbers of rows that baselines use, with the season of the series.
    pub baselines: BaselineConfig,
    /// Whether the names of the columns come from the source of the series; `None` in a checkpoint of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<bool>,
    /// The values that a network gets for missing ones.
    #[serde(default)]
    pub fill: Fill,
    /// The frequency of the series; `None` for a series without one, and in a checkpoint of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency: Option<Frequency>,
}

impl Forecasting {
    /// The name of the task in checkpoints.
    pub const NAME: &str = "forecasting";

    /// Creates the task for the series of `module`.
    pub fn new(module: Rc<SeriesDataModule>) -> Self {
        Self { module }
    }

    fn network(&self, lit: &Rc<dyn LitModel>, loaders: &Loaders) -> Box<dyn Forecaster> {
        Box::new(NetworkForecaster {
            lit: Rc::clone(lit),
            data: self.module.spec(),
            scaler: self.module.scaler().clone(),
            stride: self.module.windows().stride,
            batch_size: loaders.val.as_ref().unwrap_or(&loaders.train).batch_size(),
        })
    }

    fn baseline(&self, baseline: Baseline) -> BaselineForecaster {
        let windows = self.module.windows();
        BaselineForecaster {
            baseline,
            config: self.module.baselines().clone(),
            horizon: windows.horizon,
            stride: windows.stride,
        }
    }

    /// Forecasts the rows of the validation split that are in `loaders`, or all without `loaders`. Returns `None` if `loaders`
    /// have no validation split.
    fn forecast(&self, forecaster: &dyn Forecaster, loaders: Option<&Loaders>) -> Result<Option<Forecast>> {
        let mut rows = self.module.validation();
        if let Some(loaders) = loaders {
            let Some(val) = &loaders.val else { return Ok(None) };
            // `--limit_val_batches` limits the forecast too.
            if !loaders.overfits {
                // The target of the last window reaches horizon - 1 steps beyond its first row.
                let reach = (forecaster.horizon() - 1).saturating_mul(forecaster.stride());
                let made = self.module.rows_of(val.rows())?;
                rows.end = rows.end.min(rows.start.saturating_add(made).saturating_add(reach));
            }
        }
        Forecast::new(forecaster, self.module.series(), rows).map(Some)
    }
}

impl Task for Forecasting {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn lit(&self, model: Box<dyn Model>, config: &LitConfig) -> Result<Rc<dyn LitModel>> {
        let DataSpec { output_dims, .. } = self.module.spec();
        let horizon = output_dims.first().copied().unwrap_or(1);
        let lit = LitForecaster::new(model, config.clone(), self.module.scaler().clone(), horizon)?;
        Ok(Rc::new(lit.masked(self.module.has_missing())))
    }

    fn extras(&self) -> Value {
        json!(ForecastingExtras {
            scaler: self.module.scaler().clone(),
            stride: self.module.windows().stride,
            baselines: self.module.baselines().clone(),
            named: Some(self.module.series().named),
            fill: self.module.windows().fill,
            frequency: self.module.series().timestamps.frequency(),
        })
    }

    /// Forecasts the validation split, writes the forecast and its plots, and compares its error with those of the baselines.
    fn report(&self, name: &str, trained: &Trained, folder: Option<&RunFolder>) -> Result<Report> {
        let (forecast, metrics) = match trained {
            Trained::Network(lit, loaders, _) => {
                (self.forecast(&*self.network(lit, loaders), Some(loaders))?, None)
            }
            Trained::Baseline(baseline) => {
                let forecast = self.forecast(&self.baseline(*baseline), None)?;
                let metrics = forecast.as_ref().map(metrics).transpose()?;
                (forecast, metrics)
            }
        };
        let Some(forecast) = forecast else { return Ok(Report { metrics, ..Report::default() }) };
        let errors = folder.map_or(Vec::new(), |folder| write(folder, &forecast, &self.module));
        let comparison = Comparison::new(name, &forecast, self)?;
        let diagnosis = match trained {
            Trained::Network(lit, loaders, summary) => {
                Diagnosis::of_network(&comparison, &forecast, &self.module, (&**lit, loaders, summary))?
            }
            Trained::Baseline(_) => Diagnosis::default(),
        };
        let json = [("forecast", comparison.json()), ("findings", diagnosis.json())];
        Ok(Report {
            metrics,
            table: comparison.table() + &diagnosis.table(),
            json: json.into_iter().map(|(name, json)| (name.to_owned(), json)).collect(),
            errors,
        })
    }
}

/// Returns the metrics of a forecast as validation metrics, named `val_METRIC`.
fn metrics(forecast: &Forecast) -> Result<Record> {
    let mut values = Vec::new();
    for metric in MetricName::OF_NUMBERS {
        // A relative error has no value if all actual values are 0.
        if let Some(value) = forecast.metric(metric)? {
            values.push((format!("val_{}", metric.name()), value));
        }
    }
    Ok(Record { epoch: 0, step: 0, values })
}

/// Writes a forecast as CSV, plots it against the actual values, and plots the whole series. Returns the errors of files that
/// cannot be written.
fn write(folder: &RunFolder, forecast: &Forecast, module: &SeriesDataModule) -> Vec<anyhow::Error> {
    let written = [
        forecast.write_csv(&folder.artifact("forecast.csv")),
        plots::series(&folder.artifact("series"), module.series()),
        plots::forecast(folder, forecast, module),
    ];
    written.into_iter().filter_map(Result::err).collect()
}
