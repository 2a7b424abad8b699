//! The length of a run.

use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};
use text_recognizer::{Error, Result};

use crate::flags::{Auto, default_flags};

/// The limits of a run's length, in epochs, steps and time.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetConfig {
    /// Stop after this many epochs; auto: as many as take about 3,000 steps, at least 1.
    #[arg(long = "max_epochs", default_value_t = Auto::Number(10))]
    pub max_epochs: Auto<u64>,
    /// Disable early stopping before this many epochs.
    #[arg(long = "min_epochs", default_value_t = 0)]
    pub min_epochs: u64,
    /// Stop after this many optimizer steps.
    #[arg(long = "max_steps")]
    pub max_steps: Option<u64>,
    /// Stop after this time, as seconds, MM:SS, HH:MM:SS or DD:HH:MM:SS; the time before a resume counts.
    #[arg(long = "max_time", value_parser = parse_time)]
    pub max_time: Option<u64>,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl BudgetConfig {
    /// The flags that a resumed run may change.
    pub const FREE: &[&str] = &["max_epochs", "min_epochs", "max_steps", "max_time"];

    /// Checks the values.
    ///
    /// # Errors
    /// Fails if a value is impossible; the error names the first one.
    pub fn validate(&self) -> Result<()> {
        if let Some(max_epochs) = self.max_epochs.number().filter(|max| self.min_epochs > *max) {
            let expected = format!("at most max_epochs, {max_epochs}");
            return Err(Error::invalid("min_epochs", self.min_epochs, expected));
        }
        Ok(())
    }

    /// Returns the number of epochs after which a run with `steps` optimizer steps per epoch stops.
    pub fn max_epochs(&self, steps: u64) -> u64 {
        let auto = || AUTO_STEPS.div_ceil(steps.max(1)).max(self.min_epochs);
        self.max_epochs.number().unwrap_or_else(auto)
    }

    /// Returns the time after which the run stops.
    pub fn max_time(&self) -> Option<Duration> {
        self.max_time.map(Duration::from_secs)
    }
}

/// The optimizer steps of a run with `--max_epochs auto`. Linear, dense and recurrent models of series of 100 to 4,000 rows are close
/// to their best validation loss after them, with Adam and a cosine schedule.
const AUTO_STEPS: u64 = 3000;

/// Returns the seconds of a time such as `90`, `02:03`, `1:00:00` or `01:00:00:01`.
fn parse_time(text: &str) -> Result<u64, String> {
    let units = [1, 60, 3600, 86400];
    let parts: Vec<&str> = text.split(':').rev().collect();
    let seconds = parts.iter().zip(units).map(|(part, unit)| part.parse::<u64>().ok()?.checked_mul(unit));
    (parts.len() <= units.len())
        .then(|| seconds.sum::<Option<u64>>())
        .flatten()
        .ok_or_else(|| "expected seconds, MM:SS, HH:MM:SS or DD:HH:MM:SS".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_epochs_auto_takes_about_the_same_steps_for_any_length() {
        let budget = BudgetConfig { max_epochs: Auto::AUTO, ..BudgetConfig::default() };
        for (steps, epochs) in [(0, 3000), (3, 1000), (7, 429), (3000, 1), (1 << 40, 1)] {
            assert_eq!(budget.max_epochs(steps), epochs, "{steps}");
        }
        let budget = BudgetConfig { min_epochs: 5, ..budget };
        budget.validate().unwrap();
        assert_eq!(budget.max_epochs(2000), 5);
        assert_eq!(BudgetConfig::default().max_epochs(2000), 10);
    }

    #[test]
    fn parse_time_of_each_form_returns_seconds_and_of_others_fails() {
        for (text, seconds) in [("90", 90), ("02:03", 123), ("1:00:00", 3600), ("01:00:00:01", 86401)] {
            assert_eq!(parse_time(text), Ok(seconds), "{text}");
        }
        for text in ["", "x", "1:2:3:4:5", "-1", "99999999999999999999:0"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}
