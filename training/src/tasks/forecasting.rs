//! Forecasting: predicts the next values of a time series.

use std::rc::Rc;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use text_recognizer::data::{DataModule, DataSpec};
use text_recognizer::lit_models::{LitConfig, LitModel};
use text_recognizer::models::Model;

use super::{Report, Task, Trained};
use crate::time_series::{
    Baseline, BaselineConfig, BaselineForecaster, Covariates, Fill, Forecaster, Frequency, Intervals, Level,
    LevelConfig, NetworkForecaster, PanelExtras, Quantiles, Scaler, SeriesDataModule,
};
use crate::trainer::{Loaders, RunFolder};

mod backtest;
mod comparison;
mod coverage;
mod diagnosis;
mod lit;
mod panel;
mod plots;
mod quantiles;
mod splits;

pub use backtest::BacktestReport;
pub use comparison::Comparable;
use diagnosis::Diagnosis;
pub use lit::LitForecaster;
pub use panel::PanelForecasting;
pub use plots::{future as plot_future, series as plot_series};
use splits::Splits;

/// The task of forecasting a series.
#[derive(Debug)]
pub struct Forecasting {
    module: Rc<SeriesDataModule>,
    levels: LevelConfig,
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
    /// The sizes of intervals; `None` without a validation split, and in a checkpoint of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intervals: Option<Intervals>,
    /// The inputs of a network beside the values of the series; `None` for none, and in a checkpoint of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covariates: Option<Covariates>,
    /// The series of a model of many series; `None` for one series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub panel: Option<PanelExtras>,
    /// The quantiles that a network forecasts; `None` for a model without, and in a checkpoint of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantiles: Option<Quantiles>,
}

impl Forecasting {
    /// The name of the task in checkpoints.
    pub const NAME: &str = "forecasting";

    /// Creates the task for the series of `module`, whose forecasts have intervals of `levels`.
    pub fn new(module: Rc<SeriesDataModule>, levels: LevelConfig) -> Self {
        Self { module, levels }
    }

    fn network(&self, lit: &Rc<dyn LitModel>, loaders: &Loaders) -> Result<Box<dyn Forecaster>> {
        Ok(Box::new(NetworkForecaster {
            lit: Rc::clone(lit),
            data: self.module.spec(),
            scaler: self.module.scaler().clone(),
            covariates: self.module.covariates().cloned(),
            statics: None,
            quantiles: Quantiles::of(lit.config())?,
            stride: self.module.windows().stride,
            batch_size: loaders.val.as_ref().unwrap_or(&loaders.train).batch_size(),
        }))
    }

    /// Returns the fields of a checkpoint that are known before training.
    fn extras_before(&self, config: Option<&LitConfig>) -> Result<ForecastingExtras> {
        Ok(ForecastingExtras {
            scaler: self.module.scaler().clone(),
            stride: self.module.windows().stride,
            baselines: self.module.baselines().clone(),
            named: Some(self.module.series().named),
            fill: self.module.windows().fill,
            frequency: self.module.series().timestamps.frequency(),
            intervals: None,
            covariates: self.module.covariates().cloned(),
            panel: None,
            quantiles: config.map(Quantiles::of).transpose()?.flatten(),
        })
    }

    fn baseline(&self, baseline: Baseline) -> BaselineForecaster {
        BaselineForecaster::new(baseline, self.module.baselines(), self.module.windows())
    }

    fn forecaster(&self, trained: &Trained) -> Result<Box<dyn Forecaster>> {
        match trained {
            Trained::Network(lit, loaders, _) => self.network(lit, loaders),
            Trained::Baseline(baseline) => Ok(Box::new(self.baseline(*baseline))),
        }
    }
}

impl Task for Forecasting {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn levels(&self) -> &[Level] {
        &self.levels.level
    }

    fn lit(&self, model: Box<dyn Model>, config: &LitConfig) -> Result<Rc<dyn LitModel>> {
        let DataSpec { output_dims, .. } = self.module.spec();
        let horizon = output_dims.first().copied().unwrap_or(1);
        let lit = LitForecaster::new(model, config.clone(), self.module.scaler().clone(), horizon)?;
        Ok(Rc::new(lit.masked(self.module.has_missing())))
    }

    fn network_shapes(&self, data: DataSpec, config: &LitConfig) -> Result<DataSpec> {
        Ok(match Quantiles::of(config)? {
            Some(quantiles) => quantiles.shapes(data),
            None => data,
        })
    }

    fn extras(&self, config: Option<&LitConfig>) -> Result<Value> {
        Ok(json!(self.extras_before(config)?))
    }

    /// Forecasts the validation split and the test split, writes the forecasts and their plots, compares their errors with those of
    /// the baselines, and measures how many actual values the intervals contain.
    fn report(&self, name: &str, trained: &Trained, folder: Option<&RunFolder>) -> Result<Report> {
        if let Trained::Baseline(baseline) = trained {
            let notes =
                self.baseline(*baseline).notes(self.module.series(), self.module.validation().start)?;
            notes.iter().for_each(|note| log::info!("{note}"));
        }
        let Some(splits) = Splits::forecast(self, trained)? else { return Ok(Report::default()) };
        let mut report = Report {
            metrics: matches!(trained, Trained::Baseline(_)).then(|| splits.metrics()).transpose()?,
            errors: folder.map_or(Vec::new(), |folder| splits.write(folder, &self.module)),
            ..Report::default()
        };
        let comparison = splits.comparison(name, self)?;
        let diagnosis = match trained {
            Trained::Network(lit, loaders, summary) => {
                let of = (&**lit, &**loaders, summary);
                Diagnosis::of_network(&comparison, splits.validation(), &self.module, of)?
            }
            Trained::Baseline(_) => Diagnosis::default(),
        };
        report.table = comparison.table();
        report.add("forecast", comparison.json());
        if let Some(test) = splits.test_comparison(name, self)? {
            report.table += &test.table();
            report.add("test_forecast", test.json());
        }
        let coverage = splits.coverage()?;
        report.table += &coverage.table();
        report.table += &diagnosis.table();
        report.add("coverage", coverage.json());
        report.add("findings", diagnosis.json());
        if let Some(errors) = splits.quantile_errors()? {
            report.table += &errors.table();
            report.add("quantiles", errors.json());
        }
        let intervals = splits.into_intervals();
        let config = match trained {
            Trained::Network(lit, ..) => Some(lit.config()),
            Trained::Baseline(_) => None,
        };
        report.extras = Some(json!(ForecastingExtras { intervals, ..self.extras_before(config)? }));
        Ok(report)
    }
}
