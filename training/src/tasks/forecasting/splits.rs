//! The forecasts of the splits that a model was not trained on.

use std::ops::Range;

use anyhow::Result;
use text_recognizer::data::DataLoader;
use text_recognizer::lit_models::{Metric, MetricName};

use super::comparison::Comparison;
use super::coverage::Coverages;
use super::quantiles::QuantileErrors;
use super::{Forecasting, plots};
use crate::tasks::Trained;
use crate::time_series::{Bands, Forecast, Forecaster, Intervals, SeriesDataModule};
use crate::trainer::{Loaders, Record, RunFolder};

/// A split that a model was not trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    Validation,
    Test,
}

impl Split {
    /// Returns the name in sentences.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }

    /// Returns the prefix of the names of metrics.
    pub const fn stage(self) -> &'static str {
        match self {
            Self::Validation => "val",
            Self::Test => "test",
        }
    }
}

/// The forecasts of the validation split and the test split.
pub struct Splits {
    validation: OfSplit,
    test: Option<OfSplit>,
    /// The intervals from the errors on the validation split, and their levels.
    bands: Option<Bands>,
    /// The levels that were asked for.
    levels: Vec<crate::time_series::Level>,
}

/// The forecast of a split.
struct OfSplit {
    start: usize,
    forecast: Forecast,
}

impl Splits {
    /// Forecasts the rows of the splits that are in the loaders of a network, or all rows for a model without training. Returns
    /// `None` if there is no validation split.
    ///
    /// # Errors
    /// Fails if the model cannot forecast.
    pub fn forecast(task: &Forecasting, trained: &Trained) -> Result<Option<Self>> {
        let module = &task.module;
        let forecaster = &*task.forecaster(trained)?;
        let of =
            |rows: Range<usize>, loader: fn(&Loaders) -> Option<&DataLoader>| -> Result<Option<OfSplit>> {
                let Some(rows) = limited(module, trained, forecaster, rows, loader)? else { return Ok(None) };
                let start = rows.start;
                Ok(Some(OfSplit { start, forecast: Forecast::new(forecaster, module.series(), rows)? }))
            };
        let Some(validation) = of(module.validation(), |loaders| loaders.val.as_ref())? else {
            return Ok(None);
        };
        let test = module.test().map(|rows| of(rows, |loaders| loaders.test.as_ref())).transpose()?.flatten();
        let intervals = Intervals::of(&validation.forecast.predicted()?, &validation.forecast.actual)?;
        let bands =
            intervals.map(|intervals| Bands { levels: intervals.possible(&task.levels.level), intervals });
        Ok(Some(Self { validation, test, bands, levels: task.levels.level.clone() }))
    }

    /// Returns the splits that there are, with their forecasts.
    fn each(&self) -> impl Iterator<Item = (Split, &OfSplit)> {
        let test = self.test.iter().map(|of| (Split::Test, of));
        std::iter::once((Split::Validation, &self.validation)).chain(test)
    }

    /// Returns the forecast of the validation split.
    pub fn validation(&self) -> &Forecast {
        &self.validation.forecast
    }

    /// Returns the intervals from the errors on the validation split.
    pub fn into_intervals(self) -> Option<Intervals> {
        self.bands.map(|bands| bands.intervals)
    }

    /// Returns the metrics of the forecasts, named `val_METRIC` and `test_METRIC`.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn metrics(&self) -> Result<Record> {
        let mut values = Vec::new();
        for (split, of) in self.each() {
            let (stage, forecast) = (split.stage(), &of.forecast);
            for metric in MetricName::OF_NUMBERS {
                // A relative error has no value if all actual values are 0.
                if let Some(value) = forecast.metric(metric)? {
                    values.push((format!("{stage}_{}", metric.name()), value));
                }
            }
        }
        Ok(Record { epoch: 0, step: 0, values })
    }

    /// Compares the forecast of the validation split with those of the baselines.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn comparison(&self, name: &str, task: &Forecasting) -> Result<Comparison> {
        let OfSplit { start, forecast } = &self.validation;
        Comparison::new(name, (Split::Validation, *start), forecast, task)
    }

    /// Compares the forecast of the test split with those of the baselines; `None` without a test split.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn test_comparison(&self, name: &str, task: &Forecasting) -> Result<Option<Comparison>> {
        let test = self.test.as_ref();
        test.map(|OfSplit { start, forecast }| Comparison::new(name, (Split::Test, *start), forecast, task))
            .transpose()
    }

    /// Measures the coverage of the intervals on rows whose errors they are not from.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn coverage(&self) -> Result<Coverages> {
        match (&self.test, &self.bands) {
            (Some(test), Some(bands)) => Coverages::on_test(&self.levels, &bands.intervals, &test.forecast),
            _ => Coverages::on_half(&self.levels, &self.validation.forecast),
        }
    }

    /// Measures the errors of the quantiles of the splits; `None` for a model without quantiles.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn quantile_errors(&self) -> Result<Option<QuantileErrors>> {
        let forecasts = self.each().map(|(split, of)| (split.name(), &of.forecast));
        QuantileErrors::new(forecasts)
    }

    /// Writes the forecasts as CSV, plots them against the actual values, and plots the whole series. Returns the errors of files
    /// that cannot be written.
    pub fn write(&self, folder: &RunFolder, module: &SeriesDataModule) -> Vec<anyhow::Error> {
        let bands = self.bands.as_ref();
        let mut written = vec![plots::series(&folder.artifact("series"), module.series())];
        for (split, OfSplit { start, forecast }) in self.each() {
            let name = split.name();
            let stem = folder.artifact(match split {
                Split::Validation => "forecast",
                Split::Test => "test_forecast",
            });
            written.push(forecast.write_csv(&stem.with_extension("csv"), bands));
            written.push(plots::forecast(&stem, (name, *start), forecast, module.series(), bands));
        }
        written.into_iter().filter_map(Result::err).collect()
    }
}

/// Returns the rows of a split that a loader of a network has; all rows for a model without training. Returns `None` if there is no
/// loader: `--limit_val_batches` and `--limit_test_batches` limit the forecast too.
fn limited(
    module: &SeriesDataModule,
    trained: &Trained,
    forecaster: &dyn Forecaster,
    mut rows: Range<usize>,
    loader: fn(&Loaders) -> Option<&DataLoader>,
) -> Result<Option<Range<usize>>> {
    let Trained::Network(_, loaders, _) = trained else { return Ok(Some(rows)) };
    let Some(loader) = loader(loaders) else { return Ok(None) };
    if !loaders.overfits {
        // The target of the last window reaches horizon - 1 steps beyond its first row.
        let reach = (forecaster.horizon() - 1).saturating_mul(forecaster.stride());
        let made = module.rows_of(&rows, loader.rows())?;
        rows.end = rows.end.min(rows.start.saturating_add(made).saturating_add(reach));
    }
    Ok(Some(rows))
}
