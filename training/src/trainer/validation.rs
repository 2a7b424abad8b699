//! The schedule of validation.

use clap::Args;
use serde::{Deserialize, Serialize};
use text_recognizer::{Error, Result};

use super::callbacks::Position;
use super::loaders::BatchLimit;
use crate::flags::default_flags;

/// The flags for the schedule of validation.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationConfig {
    /// Validate once per this many epochs.
    #[arg(long = "check_val_every_n_epoch", default_value_t = 1)]
    pub check_val_every_n_epoch: u64,
    /// Validate once per this number of batches or share of an epoch (1.0: only at its end).
    #[arg(long = "val_check_interval", default_value = "1.0")]
    pub val_check_interval: BatchLimit,
    /// Evaluate this many validation batches before training, to find errors early; 0: off.
    #[arg(long = "num_sanity_val_steps", default_value_t = 2)]
    pub num_sanity_val_steps: usize,
}

impl Default for ValidationConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl ValidationConfig {
    /// The flags that a resumed run may change.
    pub const FREE: &[&str] = &["num_sanity_val_steps"];

    /// Checks the values.
    ///
    /// # Errors
    /// Fails if a value is impossible; the error names the first one.
    pub fn validate(&self) -> Result<()> {
        if self.check_val_every_n_epoch == 0 {
            return Err(Error::invalid("check_val_every_n_epoch", 0, "at least 1"));
        }
        Ok(())
    }

    /// Returns whether a validation is due at `at`, within an epoch or at its end. If a step takes `together` batches,
    /// the validation comes after the step of its batch.
    pub fn is_due(&self, at: Position, together: u64) -> bool {
        let Some(interval) = self.interval(at.batches) else { return at.batch == at.batches };
        let together = together as usize;
        let before = (at.batch - 1) / together * together;
        at.batch / interval > before / interval
    }

    /// Returns the number of batches between two validations; `None` if they are only at the end of an epoch.
    fn interval(&self, batches: usize) -> Option<usize> {
        match self.val_check_interval {
            BatchLimit::Share(1.0) => None,
            interval => Some(interval.of(batches).max(1)),
        }
    }
}
