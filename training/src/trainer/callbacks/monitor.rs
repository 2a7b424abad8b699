//! The best value of a metric so far.

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::trainer::record::Record;

/// Whether a smaller or a larger value is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Mode {
    /// Smaller is better.
    Min,
    /// Larger is better.
    Max,
}

/// Watches one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Monitor {
    /// The metric's name in a [`Record`].
    pub metric: String,
    /// Whether it should be small or large.
    pub mode: Mode,
    /// The best value so far.
    pub best: Option<f64>,
}

impl Monitor {
    /// Watches `metric`, with nothing seen.
    pub fn new(metric: &str, mode: Mode) -> Self {
        Self { metric: metric.to_owned(), mode, best: None }
    }

    /// The metric's value.
    ///
    /// # Errors
    /// When the record has no such metric: the message lists those that it has.
    pub fn value(&self, record: &Record) -> Result<f64> {
        record.get(&self.metric).with_context(|| {
            let names: Vec<&str> = record.values.iter().map(|(name, _)| name.as_str()).collect();
            format!("there is no metric {}; those measured are {}", self.metric, names.join(", "))
        })
    }

    /// Whether `value` is better than `than`. NaN is better than nothing and worse than anything.
    pub fn is_better(&self, value: f64, than: f64, min_delta: f64) -> bool {
        match self.mode {
            _ if than.is_nan() => !value.is_nan(),
            Mode::Min => value < than - min_delta,
            Mode::Max => value > than + min_delta,
        }
    }

    /// Takes in `value`; tells whether it is the best so far by more than `min_delta`.
    pub fn observe(&mut self, value: f64, min_delta: f64) -> bool {
        let improved = self.best.is_none_or(|best| self.is_better(value, best, min_delta));
        if improved {
            self.best = Some(value);
        }
        improved
    }
}
