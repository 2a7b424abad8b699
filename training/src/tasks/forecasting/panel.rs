//! Forecasting of many series with one model.

use std::fmt::Write;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use text_recognizer::data::DataModule;
use text_recognizer::lit_models::{LitConfig, LitModel, LossName, Metric, MetricName, mean_of_groups};
use text_recognizer::models::Model;
use text_recognizer::util::files::write_atomic;

use super::{Forecasting, ForecastingExtras, LitForecaster};
use crate::format::number;
use crate::tasks::{Report, Task, Trained};
use crate::time_series::{
    Baseline, BaselineForecaster, Forecast, Forecaster, MaseScales, Member, NetworkForecaster,
    PanelDataModule, mean,
};
use crate::trainer::{Record, RunFolder};

/// The most series that the table lists.
const MOST_SERIES: usize = 5;

/// The baselines beside the model. The statistical models would take long for many series.
const BASELINES: [Baseline; 4] =
    [Baseline::Naive, Baseline::MovingAverage, Baseline::SeasonalNaive, Baseline::Differencing];

/// The task of forecasting many series.
#[derive(Debug)]
pub struct PanelForecasting {
    module: Rc<PanelDataModule>,
}

/// The errors of the model on one series.
struct SeriesErrors {
    name: String,
    mae: f64,
    /// NaN if the training split has no changes to scale the error with.
    mase: f64,
}

/// Sums and weights of metrics, per column, over all series.
#[derive(Default)]
struct Sums(Vec<[f64; 2]>);

impl Sums {
    fn add(&mut self, parts: &[[f64; 2]]) {
        self.0.resize(parts.len().max(self.0.len()), [0.0; 2]);
        for (sum, part) in self.0.iter_mut().zip(parts) {
            *sum = [sum[0] + part[0], sum[1] + part[1]];
        }
    }

    /// Returns the mean over the columns that have the metric.
    fn mean(&self, metric: MetricName) -> Option<f64> {
        mean_of_groups(&self.0, |mean| metric.finish(mean))
    }
}

/// The errors of a model and of the baselines over all series.
struct Errors {
    /// Of the model, each metric.
    metrics: Vec<(MetricName, Sums)>,
    /// The mean absolute errors of the baselines that forecast all series.
    baselines: Vec<(&'static str, Sums)>,
    /// Of the model, per series.
    series: Vec<SeriesErrors>,
    season: Option<usize>,
    horizon: usize,
}

impl PanelForecasting {
    /// Creates the task for the series of `module`.
    pub fn new(module: Rc<PanelDataModule>) -> Self {
        Self { module }
    }

    fn baseline(&self, baseline: Baseline) -> BaselineForecaster {
        BaselineForecaster::new(baseline, self.module.baselines(), self.module.windows())
    }

    /// Returns the model, ready to forecast a series.
    fn forecaster(&self, trained: &Trained, member: &Member) -> Result<Box<dyn Forecaster>> {
        Ok(match trained {
            Trained::Baseline(baseline) => Box::new(self.baseline(*baseline)),
            Trained::Network(lit, loaders, _) => Box::new(NetworkForecaster {
                lit: Rc::clone(lit),
                data: self.module.spec(),
                scaler: member.scaler.clone(),
                covariates: self.module.covariates().cloned(),
                statics: Some(self.module.statics(member)?),
                quantiles: None,
                stride: self.module.windows().stride,
                batch_size: loaders.val.as_ref().unwrap_or(&loaders.train).batch_size(),
            }),
        })
    }

    /// Forecasts the validation split of each series, adds the rows to `writer`, and compares the errors with those of the baselines.
    fn errors(
        &self,
        name: &str,
        trained: &Trained,
        mut writer: Option<&mut csv::Writer<Vec<u8>>>,
    ) -> Result<Errors> {
        let season = self.module.baselines().season;
        let mut metrics: Vec<_> = MetricName::OF_NUMBERS.map(|metric| (metric, Sums::default())).into();
        let others = BASELINES.into_iter().filter(|baseline| baseline.name() != name);
        let mut baselines: Vec<_> = others.map(|baseline| (baseline, Some(Sums::default()))).collect();
        let mut series = Vec::with_capacity(self.module.members().len());
        for member in self.module.members() {
            let in_series = || format!("series {}", member.series.key);
            let (rows, own) = (member.validation.clone(), &member.series);
            let forecaster = self.forecaster(trained, member).with_context(in_series)?;
            let forecast = Forecast::new(&*forecaster, own, rows.clone()).with_context(in_series)?;
            for (metric, sums) in &mut metrics {
                sums.add(&forecast.parts(*metric)?);
            }
            for (baseline, sums) in &mut baselines {
                // A baseline that cannot forecast one of the series is left out.
                *sums = match (sums.take(), Forecast::new(&self.baseline(*baseline), own, rows.clone())) {
                    (Some(mut sums), Ok(made)) => {
                        sums.add(&made.only_where(&forecast)?.parts(MetricName::Mae)?);
                        Some(sums)
                    }
                    _ => None,
                };
            }
            let maes = forecast.columns(MetricName::Mae)?;
            let scales = MaseScales::new(own, rows.start, season)?;
            series.push(SeriesErrors {
                name: own.key.clone(),
                mae: mean_of(&maes),
                mase: mean_of(&scales.scaled(&maes)),
            });
            if let Some(writer) = &mut writer {
                forecast.write_to(writer, None, Some(&own.key), series.len() == 1)?;
            }
        }
        let baselines = baselines.into_iter().filter_map(|(baseline, sums)| Some((baseline.name(), sums?)));
        let horizon = self.module.windows().horizon;
        Ok(Errors { metrics, baselines: baselines.collect(), series, season, horizon })
    }
}

/// Returns the mean of the values that are not NaN; NaN if all are.
fn mean_of(values: &[f64]) -> f64 {
    mean(values.iter().copied().filter(|value| !value.is_nan()))
}

impl Errors {
    fn mae(&self) -> f64 {
        self.metrics
            .iter()
            .find(|(metric, _)| *metric == MetricName::Mae)
            .and_then(|(metric, sums)| sums.mean(*metric))
            .unwrap_or(f64::NAN)
    }

    /// Returns the mean over all series that have a MASE.
    fn mase(&self) -> f64 {
        mean_of(&self.series.iter().map(|series| series.mase).collect::<Vec<_>>())
    }

    /// Returns the mean absolute errors by name, the model first.
    fn maes(&self, name: &str) -> Vec<(String, f64)> {
        let baselines = self
            .baselines
            .iter()
            .map(|(name, sums)| ((*name).to_owned(), sums.mean(MetricName::Mae).unwrap_or(f64::NAN)));
        std::iter::once((name.to_owned(), self.mae())).chain(baselines).collect()
    }

    fn record(&self) -> Record {
        let values = self
            .metrics
            .iter()
            .filter_map(|(metric, sums)| Some((format!("val_{}", metric.name()), sums.mean(*metric)?)));
        Record { epoch: 0, step: 0, values: values.collect() }
    }

    fn table(&self, name: &str) -> String {
        let ahead =
            if self.horizon == 1 { "one step".into() } else { format!("1 to {} steps", self.horizon) };
        let season = self.season.map_or_else(String::new, |rows| format!(" (a season is {rows} rows)"));
        let mut text = format!(
            "MAE of forecasts of the validation splits of {} series, {ahead} ahead{season}\n",
            self.series.len()
        );
        let mut maes = self.maes(name);
        maes.sort_by(|a, b| a.1.total_cmp(&b.1));
        // Writing to a string cannot fail.
        for (name, mae) in maes {
            let _ = writeln!(text, "  {name:<16}{:>10}", number(mae));
        }
        if !self.mase().is_nan() {
            let _ = writeln!(text, "  MASE of {name}, mean over the series {}", number(self.mase()));
        }
        let mut worst: Vec<&SeriesErrors> = self.series.iter().collect();
        // Those without a MASE come last.
        let key = |series: &SeriesErrors| if series.mase.is_nan() { f64::NEG_INFINITY } else { series.mase };
        worst.sort_by(|a, b| key(b).total_cmp(&key(a)));
        let _ = writeln!(text, "{:<18} {:>10}{:>12}", "Largest MASE", "MAE", "MASE");
        for SeriesErrors { name, mae, mase } in worst.iter().take(MOST_SERIES) {
            let mase = if mase.is_nan() { String::new() } else { number(*mase) };
            let _ = writeln!(text, "  {name:<16} {:>10}{mase:>12}", number(*mae));
        }
        if let Some(more) = worst.len().checked_sub(MOST_SERIES).filter(|more| *more > 0) {
            let _ = writeln!(text, "  and {more} more series (results.json has all)");
        }
        text
    }

    fn json(&self, name: &str, short: &[String]) -> Value {
        let maes: Map<String, Value> =
            self.maes(name).into_iter().map(|(name, mae)| (name, mae.into())).collect();
        let series: Map<String, Value> = self
            .series
            .iter()
            .map(|SeriesErrors { name, mae, mase }| (name.clone(), json!({"mae": mae, "mase": mase})))
            .collect();
        json!({"mae": maes, "mase": self.mase(), "season": self.season, "series": series, "too_short": short})
    }
}

impl Task for PanelForecasting {
    fn name(&self) -> &'static str {
        Forecasting::NAME
    }

    fn lit(&self, model: Box<dyn Model>, config: &LitConfig) -> Result<Rc<dyn LitModel>> {
        ensure!(
            config.loss != LossName::Quantile,
            "cannot use --loss quantile for many series: their results have no intervals, expected another loss; try --loss mae, or \
             one series per file"
        );
        let horizon = self.module.windows().horizon as i64;
        let lit = LitForecaster::new(model, config.clone(), self.module.scaler(), horizon)?;
        Ok(Rc::new(lit.masked(self.module.has_missing()).with_units(self.module.units()?)))
    }

    fn extras(&self, _config: Option<&LitConfig>) -> Result<Value> {
        let longest = self.module.members().iter().max_by_key(|member| member.series.len());
        Ok(json!(ForecastingExtras {
            scaler: self.module.scaler(),
            stride: self.module.windows().stride,
            baselines: self.module.baselines().clone(),
            named: longest.map(|member| member.series.named),
            fill: self.module.windows().fill,
            frequency: longest.and_then(|member| member.series.timestamps.frequency()),
            covariates: self.module.covariates().cloned(),
            panel: Some(self.module.extras()),
            intervals: None,
            quantiles: None,
        }))
    }

    /// Forecasts the validation split of each series, writes the forecasts, and compares their errors with those of the baselines.
    fn report(&self, name: &str, trained: &Trained, folder: Option<&RunFolder>) -> Result<Report> {
        let mut writer = folder.map(|_| csv::Writer::from_writer(Vec::new()));
        let errors = self.errors(name, trained, writer.as_mut())?;
        let written = writer.zip(folder).map(|(writer, folder)| {
            let bytes = writer.into_inner().context("cannot write the forecasts")?;
            Ok(write_atomic(folder.artifact("forecast.csv"), &bytes)?)
        });
        let json = json!(errors.json(name, self.module.short()));
        Ok(Report {
            metrics: matches!(trained, Trained::Baseline(_)).then(|| errors.record()),
            table: errors.table(name),
            json: [("forecast".to_owned(), json)].into_iter().collect(),
            errors: written.into_iter().filter_map(Result::err).collect(),
            ..Report::default()
        })
    }
}
