//! The forecast errors of a model and of the baselines, in comparison.

use std::fmt::Write;

use anyhow::Result;
use serde_json::{Map, Value, json};
use text_recognizer::lit_models::MetricName;

use super::Forecasting;
use crate::format::number;
use crate::time_series::{Baseline, Forecast, mase};

/// The forecast errors on the validation split.
pub struct Comparison {
    /// The number of steps ahead.
    horizon: usize,
    /// Rows per season; `None` if unknown.
    season: Option<usize>,
    /// The model's mean absolute scaled error.
    mase: f64,
    /// The mean absolute errors: first of the model, then of the baselines that have enough rows before the split.
    maes: Vec<(String, f64)>,
}

impl Comparison {
    /// Compares the forecast of the model `name` with those of the baselines, over the same rows.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn new(name: &str, forecast: &Forecast, task: &Forecasting) -> Result<Self> {
        let mae = forecast.metric(&MetricName::Mae)?;
        let mut maes = vec![(name.to_owned(), mae)];
        let start = task.module.validation().start;
        let rows = start..start + forecast.time.len();
        for baseline in Baseline::ALL.into_iter().filter(|baseline| baseline.name() != name) {
            let forecaster = task.baseline(baseline);
            // A baseline is left out if it has too few rows before the split, or needs a season that is unknown.
            if let Ok(forecast) = Forecast::new(&forecaster, task.module.series(), rows.clone()) {
                maes.push((baseline.name().to_owned(), forecast.metric(&MetricName::Mae)?));
            }
        }
        let (horizon, season) = (forecast.steps.len(), task.module.baselines().season);
        Ok(Self { horizon, season, mase: mase(mae, task.module.series(), start)?, maes })
    }

    /// Returns a table with one line per model, the smallest error first.
    pub fn table(&self) -> String {
        let mut rows: Vec<_> = self.maes.iter().collect();
        rows.sort_by(|a, b| a.1.total_cmp(&b.1));
        let ahead =
            if self.horizon == 1 { "one step".into() } else { format!("1 to {} steps", self.horizon) };
        let season = self.season.map_or_else(String::new, |rows| format!(" (a season is {rows} rows)"));
        let mut text = format!("MAE of forecasts of the validation split, {ahead} ahead{season}\n");
        for (name, mae) in rows {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {name:<16}{:>10}", number(*mae));
        }
        if !self.mase.is_nan() {
            let _ = writeln!(text, "  MASE of {} {}", self.maes[0].0, number(self.mase));
        }
        text
    }

    /// Returns the errors as a JSON object.
    pub fn json(&self) -> Value {
        let maes: Map<String, Value> =
            self.maes.iter().map(|(name, mae)| (name.clone(), (*mae).into())).collect();
        json!({"mase": self.mase, "season": self.season, "mae": maes})
    }
}
