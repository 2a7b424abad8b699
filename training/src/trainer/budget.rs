//! The length of a run.

use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};
use text_recognizer::{Error, Result};

use crate::flags::default_flags;

/// The budget of a run.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetConfig {
    /// Stop after this many epochs.
    #[arg(long = "max_epochs", default_value_t = 10)]
    pub max_epochs: u64,
    /// Do not stop early before this many epochs.
    #[arg(long = "min_epochs", default_value_t = 0)]
    pub min_epochs: u64,
    /// Stop after this many optimizer steps.
    #[arg(long = "max_steps")]
    pub max_steps: Option<u64>,
    /// Stop after this much time, as DD:HH:MM:SS, HH:MM:SS, or seconds.
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
    /// Names the first impossible value.
    pub fn validate(&self) -> Result<()> {
        if self.min_epochs > self.max_epochs {
            let expected = format!("at most max_epochs, {}", self.max_epochs);
            return Err(Error::invalid("min_epochs", self.min_epochs, expected));
        }
        Ok(())
    }

    /// Returns the time after which the run stops.
    pub fn max_time(&self) -> Option<Duration> {
        self.max_time.map(Duration::from_secs)
    }
}

fn parse_time(text: &str) -> Result<u64, String> {
    let units = [1, 60, 3600, 86400];
    let parts: Vec<&str> = text.split(':').rev().collect();
    let seconds = parts.iter().zip(units).map(|(part, unit)| part.parse::<u64>().ok()?.checked_mul(unit));
    (parts.len() <= units.len())
        .then(|| seconds.sum::<Option<u64>>())
        .flatten()
        .ok_or_else(|| "expected DD:HH:MM:SS, HH:MM:SS, MM:SS, or seconds".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_time_reads_every_form_and_refuses_others() {
        for (text, seconds) in [("90", 90), ("02:03", 123), ("1:00:00", 3600), ("01:00:00:01", 86401)] {
            assert_eq!(parse_time(text), Ok(seconds), "{text}");
        }
        for text in ["", "x", "1:2:3:4:5", "-1", "99999999999999999999:0"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}
