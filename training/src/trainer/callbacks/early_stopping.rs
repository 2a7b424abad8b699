//! Early stopping: the end of a run that no longer improves.

use std::ops::ControlFlow;

use anyhow::Result;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use text_recognizer::Error;

use super::{Callback, Mode, Monitor, StopReason};
use crate::flags::default_flags;
use crate::trainer::record::Record;

/// The flags of early stopping.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStoppingConfig {
    /// Stop after this many validations without improvement of the monitored metric; 0: off.
    #[arg(long = "early_stop_patience", visible_alias = "patience", default_value_t = 10)]
    pub early_stop_patience: u64,
    /// Monitor this metric for early stopping.
    #[arg(long = "early_stop_monitor", default_value = "val_loss")]
    pub early_stop_monitor: String,
    /// Set whether a smaller (min) or a larger (max) value of --early_stop_monitor is better.
    #[arg(long = "early_stop_mode", value_enum, default_value_t = Mode::Min)]
    pub early_stop_mode: Mode,
    /// Count only changes larger than this as an improvement.
    #[arg(long = "early_stop_min_delta", default_value_t = 0.0)]
    pub early_stop_min_delta: f64,
}

impl Default for EarlyStoppingConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl EarlyStoppingConfig {
    /// The flags that a resumed run may change.
    pub const FREE: &[&str] = &["early_stop_patience", "early_stop_min_delta"];

    /// Checks the values.
    ///
    /// # Errors
    /// Fails if a value is impossible; the error names the first one.
    pub fn validate(&self) -> text_recognizer::Result<()> {
        let min_delta = self.early_stop_min_delta;
        if !(min_delta >= 0.0 && min_delta.is_finite()) {
            return Err(Error::invalid("early_stop_min_delta", min_delta, "a finite number, 0 or greater"));
        }
        Ok(())
    }
}

/// A callback that stops the run after `patience` validations without improvement.
#[derive(Debug)]
pub struct EarlyStopping {
    monitor: Monitor,
    patience: u64,
    min_delta: f64,
    min_epochs: u64,
    /// Validations since the last improvement.
    waited: u64,
    /// Whether the last validation reached both `patience` and `min_epochs`.
    enough: bool,
}

impl EarlyStopping {
    /// Creates early stopping on the metric of `monitor`. It never stops before `min_epochs` epochs. Only a change
    /// larger than `min_delta` is an improvement.
    pub fn new(monitor: Monitor, patience: u64, min_delta: f64, min_epochs: u64) -> Self {
        Self { monitor, patience, min_delta, min_epochs, waited: 0, enough: false }
    }

    /// Returns the metric that is monitored, with its best value so far.
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// Returns whether the run continues after the last validation. The answer is the same after a resume, unless the
    /// patience is larger then.
    pub fn verdict(&self) -> ControlFlow<StopReason> {
        if !self.enough || self.waited < self.patience {
            return ControlFlow::Continue(());
        }
        let best = self.monitor.best.unwrap_or(f64::NAN);
        let reason =
            format!("{} has not improved on {best:.5} for {} validations", self.monitor.metric, self.waited);
        ControlFlow::Break(StopReason::Callback(reason))
    }
}

impl Callback for EarlyStopping {
    fn on_validation_end(&mut self, record: &Record) -> Result<ControlFlow<StopReason>> {
        let value = self.monitor.value(record)?;
        if self.monitor.observe(value, self.min_delta) {
            self.waited = 0;
        } else {
            self.waited += 1;
        }
        self.enough = self.waited >= self.patience && record.epoch >= self.min_epochs;
        Ok(self.verdict())
    }

    fn state(&self) -> Value {
        // Saved as bits, because JSON has no NaN and no infinity.
        json!({"best": self.monitor.best.map(f64::to_bits), "waited": self.waited, "enough": self.enough})
    }

    fn load_state(&mut self, state: Value) -> Result<()> {
        let best: Option<u64> = serde_json::from_value(state["best"].clone())?;
        self.monitor.best = best.map(f64::from_bits);
        self.waited = serde_json::from_value(state["waited"].clone())?;
        self.enough = serde_json::from_value(state["enough"].clone())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the number of validations after which early stopping stops. Restores its state before each of them.
    fn stops_after(
        mode: Mode,
        patience: u64,
        min_delta: f64,
        min_epochs: u64,
        values: &[f64],
    ) -> Option<usize> {
        let new = || EarlyStopping::new(Monitor::new("val_loss", mode), patience, min_delta, min_epochs);
        let mut state = new().state();
        for (at, &value) in values.iter().enumerate() {
            let mut callback = new();
            callback.load_state(state).unwrap();
            let record = Record { epoch: at as u64 + 1, step: 0, values: vec![("val_loss".into(), value)] };
            if callback.on_validation_end(&record).unwrap().is_break() {
                return Some(at + 1);
            }
            state = callback.state();
        }
        None
    }

    #[test]
    fn early_stopping_after_patience_stops() {
        let nan = f64::NAN;
        let cases: &[(&str, Option<usize>, Option<usize>)] = &[
            ("gets better", stops_after(Mode::Min, 1, 0.0, 0, &[3.0, 2.0, 1.0]), None),
            ("patience 1", stops_after(Mode::Min, 1, 0.0, 0, &[3.0, 3.0, 1.0]), Some(2)),
            ("patience 2 is reset", stops_after(Mode::Min, 2, 0.0, 0, &[3.0, 4.0, 2.0, 2.0, 2.0]), Some(5)),
            ("max", stops_after(Mode::Max, 1, 0.0, 0, &[1.0, 2.0, 1.5]), Some(3)),
            ("min_delta", stops_after(Mode::Min, 1, 0.5, 0, &[3.0, 2.4, 2.0]), Some(3)),
            ("min_epochs", stops_after(Mode::Min, 1, 0.0, 4, &[1.0, 1.0, 1.0, 1.0]), Some(4)),
            ("NaN is no improvement", stops_after(Mode::Min, 1, 0.0, 0, &[1.0, nan]), Some(2)),
            ("NaN after NaN is no improvement", stops_after(Mode::Min, 1, 0.0, 0, &[nan, nan]), Some(2)),
            ("a number after NaN is", stops_after(Mode::Min, 2, 0.0, 0, &[nan, nan, 1.0]), None),
        ];
        for (name, got, expected) in cases {
            assert_eq!(got, expected, "{name}");
        }
    }

    #[test]
    fn early_stopping_on_unknown_metric_fails_and_lists_the_known() {
        let mut callback = EarlyStopping::new(Monitor::new("val_los", Mode::Min), 1, 0.0, 0);
        let record =
            Record { epoch: 1, step: 0, values: vec![("val_loss".into(), 1.0), ("val_acc".into(), 1.0)] };
        let error = callback.on_validation_end(&record).unwrap_err().to_string();
        assert!(error.contains("val_los:") && error.contains("val_loss, val_acc"), "{error}");
    }
}
