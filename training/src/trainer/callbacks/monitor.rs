//! A metric and its best value so far.

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::trainer::record::Record;

/// The direction in which a metric improves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Mode {
    /// Smaller is better.
    Min,
    /// Larger is better.
    Max,
}

/// A metric and its best value so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Monitor {
    /// The metric's name in a [`Record`].
    pub metric: String,
    /// Whether a smaller or a larger value is better.
    pub mode: Mode,
    /// The best value so far; `None` before the first that is better than infinitely bad.
    pub best: Option<f64>,
}

impl Monitor {
    /// Creates a monitor of `metric` without a best value.
    pub fn new(metric: &str, mode: Mode) -> Self {
        Self { metric: metric.to_owned(), mode, best: None }
    }

    /// Returns the metric's value in `record`.
    ///
    /// # Errors
    /// Fails if the record has no such metric; the error lists the metrics that it has.
    pub fn value(&self, record: &Record) -> Result<f64> {
        record.get(&self.metric).with_context(|| {
            let names: Vec<&str> = record.values.iter().map(|(name, _)| name.as_str()).collect();
            format!("cannot monitor {}: no such metric, expected one of {}", self.metric, names.join(", "))
        })
    }

    /// Returns whether `value` is better than `than` by more than `min_delta`. NaN is never better.
    pub fn is_better(&self, value: f64, than: f64, min_delta: f64) -> bool {
        match self.mode {
            Mode::Min => value < than - min_delta,
            Mode::Max => value > than + min_delta,
        }
    }

    /// Returns whether `value` is better than the best so far by more than `min_delta`, and updates the best. The best is
    /// infinitely bad at first, as in Lightning, so that neither NaN nor that infinity is an improvement.
    pub fn observe(&mut self, value: f64, min_delta: f64) -> bool {
        let worst = if self.mode == Mode::Min { f64::INFINITY } else { f64::NEG_INFINITY };
        let improved = self.is_better(value, self.best.unwrap_or(worst), min_delta);
        if improved {
            self.best = Some(value);
        }
        improved
    }
}
