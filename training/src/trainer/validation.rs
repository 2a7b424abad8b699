//! The times at which a run validates.

use clap::Args;
use serde::{Deserialize, Serialize};
use text_recognizer::{Error, Result};

use super::callbacks::Position;
use super::loaders::BatchLimit;
use crate::flags::default_flags;

/// The times of validation.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationConfig {
    /// Epochs from one validation to the next.
    #[arg(long = "check_val_every_n_epoch", default_value_t = 1)]
    pub check_val_every_n_epoch: u64,
    /// Validate within an epoch too: every so many batches, or that share of an epoch.
    #[arg(long = "val_check_interval", default_value = "1.0")]
    pub val_check_interval: BatchLimit,
    /// Validation batches to try before training, so that a broken validation shows at once.
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
    /// Names the first impossible value.
    pub fn validate(&self) -> Result<()> {
        if self.check_val_every_n_epoch == 0 {
            return Err(Error::invalid("check_val_every_n_epoch", 0, "at least 1"));
        }
        Ok(())
    }

    /// Returns whether a validation within or at the end of an epoch is due at `at`. If `together` batches make a step, it
    /// waits for the step of its batch.
    pub fn is_due(&self, at: Position, together: u64) -> bool {
        let Some(interval) = self.interval(at.batches) else { return at.batch == at.batches };
        let together = together as usize;
        let before = (at.batch - 1) / together * together;
        at.batch / interval > before / interval
    }

    /// Returns the batches between two validations; `None` for the end of the epoch alone.
    fn interval(&self, batches: usize) -> Option<usize> {
        match self.val_check_interval {
            BatchLimit::Share(1.0) => None,
            interval => Some(interval.of(batches).max(1)),
        }
    }
}
