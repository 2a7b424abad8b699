//! Early stopping: the end of a run that no longer improves.

use std::ops::ControlFlow;

use anyhow::Result;
use clap::{ArgAction, Args};
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
    /// Stop when the monitored metric is NaN or infinite.
    #[arg(long = "early_stop_check_finite", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = true)]
    pub early_stop_check_finite: bool,
}

impl Default for EarlyStoppingConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl EarlyStoppingConfig {
    /// The flags that a resumed run may change.
    pub const FREE: &[&str] = &["early_stop_patience", "early_stop_min_delta", "early_stop_check_finite"];

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

/// A callback that stops the run after `early_stop_patience` validations without improvement, or after a value that is NaN
/// or infinite.
#[derive(Debug)]
pub struct EarlyStopping {
    monitor: Monitor,
    config: EarlyStoppingConfig,
    min_epochs: u64,
    /// Validations since the last improvement.
    waited: u64,
    /// The value of the last validation, if it was NaN or infinite.
    nonfinite: Option<f64>,
    /// Whether the last validation reached `min_epochs` and a reason to stop.
    enough: bool,
}

/// The state of [`EarlyStopping`] in a checkpoint. The values are bits, because JSON has no NaN and no infinity.
#[derive(Serialize, Deserialize)]
struct State {
    best: Option<u64>,
    waited: u64,
    #[serde(default)]
    nonfinite: Option<u64>,
    enough: bool,
}

impl EarlyStopping {
    /// Creates early stopping on the metric of `monitor`. It never stops before `min_epochs` epochs.
    pub fn new(monitor: Monitor, config: &EarlyStoppingConfig, min_epochs: u64) -> Self {
        Self { monitor, config: config.clone(), min_epochs, waited: 0, nonfinite: None, enough: false }
    }

    /// Returns the metric that is monitored, with its best value so far.
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// Returns whether the run continues after the last validation. The answer is the same after a resume, unless the
    /// flags differ then.
    pub fn verdict(&self) -> ControlFlow<StopReason> {
        match self.reason() {
            Some(reason) if self.enough => ControlFlow::Break(StopReason::Callback(reason)),
            _ => ControlFlow::Continue(()),
        }
    }

    fn reason(&self) -> Option<String> {
        let metric = &self.monitor.metric;
        if let Some(value) = self.nonfinite.filter(|_| self.config.early_stop_check_finite) {
            return Some(format!("{metric} is {value}"));
        }
        let reason = || match self.monitor.best {
            Some(best) => format!("{metric} has not improved on {best:.5} for {} validations", self.waited),
            None => format!("{metric} has not been finite for {} validations", self.waited),
        };
        (self.waited >= self.config.early_stop_patience).then(reason)
    }
}

impl Callback for EarlyStopping {
    fn on_validation_end(&mut self, record: &Record) -> Result<ControlFlow<StopReason>> {
        let value = self.monitor.value(record)?;
        self.nonfinite = Some(value).filter(|value| !value.is_finite());
        if self.monitor.observe(value, self.config.early_stop_min_delta) {
            self.waited = 0;
        } else {
            self.waited += 1;
        }
        self.enough = record.epoch >= self.min_epochs && self.reason().is_some();
        Ok(self.verdict())
    }

    fn state(&self) -> Value {
        let Self { waited, nonfinite, enough, .. } = *self;
        let (best, nonfinite) = (self.monitor.best.map(f64::to_bits), nonfinite.map(f64::to_bits));
        json!(State { best, waited, nonfinite, enough })
    }

    fn load_state(&mut self, state: Value) -> Result<()> {
        let State { best, waited, nonfinite, enough } = serde_json::from_value(state)?;
        self.monitor.best = best.map(f64::from_bits).filter(|best| !best.is_nan());
        (self.waited, self.nonfinite, self.enough) = (waited, nonfinite.map(f64::from_bits), enough);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(patience: u64, min_delta: f64, check_finite: bool) -> EarlyStoppingConfig {
        EarlyStoppingConfig {
            early_stop_patience: patience,
            early_stop_min_delta: min_delta,
            early_stop_check_finite: check_finite,
            ..EarlyStoppingConfig::default()
        }
    }

    /// Returns the number of validations after which early stopping stops. Restores its state before each of them.
    fn stops_after(
        mode: Mode,
        config: &EarlyStoppingConfig,
        min_epochs: u64,
        values: &[f64],
    ) -> Option<usize> {
        let new = || EarlyStopping::new(Monitor::new("val_loss", mode), config, min_epochs);
        let mut state = new().state();
        for (at, &value) in values.iter().enumerate() {
            let mut callback = new();
            callback.load_state(serde_json::from_str(&state.to_string()).unwrap()).unwrap();
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
        let patience = |patience| config(patience, 0.0, true);
        let cases: &[(&str, Option<usize>, Option<usize>)] = &[
            ("gets better", stops_after(Mode::Min, &patience(1), 0, &[3.0, 2.0, 1.0]), None),
            ("patience 1", stops_after(Mode::Min, &patience(1), 0, &[3.0, 3.0, 1.0]), Some(2)),
            (
                "patience 2 is reset",
                stops_after(Mode::Min, &patience(2), 0, &[3.0, 4.0, 2.0, 2.0, 2.0]),
                Some(5),
            ),
            ("max", stops_after(Mode::Max, &patience(1), 0, &[1.0, 2.0, 1.5]), Some(3)),
            ("min_delta", stops_after(Mode::Min, &config(1, 0.5, true), 0, &[3.0, 2.4, 2.0]), Some(3)),
            ("min_epochs", stops_after(Mode::Min, &patience(1), 4, &[1.0, 1.0, 1.0, 1.0]), Some(4)),
        ];
        for (name, got, expected) in cases {
            assert_eq!(got, expected, "{name}");
        }
    }

    /// `lightning.pytorch.callbacks.EarlyStopping`: its best score is infinite at first, and `check_finite` stops at once.
    #[test]
    fn early_stopping_of_nan_and_infinity_is_that_of_lightning() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        let values: [(Mode, &[f64], _, _); 7] = [
            (Mode::Min, &[1.0, nan, 0.5], Some(2), None),
            (Mode::Min, &[nan, nan], Some(1), Some(2)),
            (Mode::Min, &[inf, inf], Some(1), Some(2)),
            (Mode::Min, &[nan, 1.0, nan, 0.5], Some(1), None),
            (Mode::Min, &[1.0, -inf, -inf, 1.0], Some(2), Some(4)),
            (Mode::Max, &[1.0, inf, inf, inf], Some(2), Some(4)),
            (Mode::Max, &[-inf, nan], Some(1), Some(2)),
        ];
        for (mode, values, checked, patient) in values {
            assert_eq!(stops_after(mode, &config(2, 0.0, true), 0, values), checked, "{values:?}");
            assert_eq!(stops_after(mode, &config(2, 0.0, false), 0, values), patient, "{values:?}");
        }
        assert_eq!(stops_after(Mode::Min, &config(2, 0.0, true), 3, &[nan, nan, nan]), Some(3));
    }

    #[test]
    fn early_stopping_on_unknown_metric_fails_and_lists_the_known() {
        let mut callback = EarlyStopping::new(Monitor::new("val_los", Mode::Min), &config(1, 0.0, true), 0);
        let record =
            Record { epoch: 1, step: 0, values: vec![("val_loss".into(), 1.0), ("val_acc".into(), 1.0)] };
        let error = callback.on_validation_end(&record).unwrap_err().to_string();
        assert!(error.contains("val_los:") && error.contains("val_loss, val_acc"), "{error}");
    }
}
