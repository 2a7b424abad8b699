//! What watches a run. Callbacks answer whether to go on; they never reach into the trainer.

use std::fmt;
use std::ops::ControlFlow;

use anyhow::Result;
use serde_json::Value;

use super::record::Record;

mod early_stopping;
mod model_checkpoint;
mod monitor;
mod progress;

pub use early_stopping::{EarlyStopping, EarlyStoppingConfig};
pub use model_checkpoint::{CheckpointConfig, ModelCheckpoint};
pub use monitor::{Mode, Monitor};
pub use progress::ProgressReport;

/// Why a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// `max_epochs` epochs were trained.
    MaxEpochs,
    /// `max_steps` steps were taken.
    MaxSteps,
    /// `max_time` has passed.
    MaxTime,
    /// A callback had seen enough.
    Callback(String),
    /// The operating system asked for it, with this signal.
    Signal(i32),
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MaxEpochs => f.write_str("max_epochs reached"),
            Self::MaxSteps => f.write_str("max_steps reached"),
            Self::MaxTime => f.write_str("max_time reached"),
            Self::Callback(reason) => f.write_str(reason),
            Self::Signal(number) => write!(f, "signal {number}"),
        }
    }
}

/// Where in an epoch the loop is.
#[derive(Debug, Clone, Copy)]
pub struct Position {
    /// The epoch, from 0.
    pub epoch: u64,
    /// Batches done in this epoch.
    pub batch: usize,
    /// Batches in an epoch.
    pub batches: usize,
}

/// Watches a run.
pub trait Callback {
    /// A batch was trained on. Called for each: must cost next to nothing.
    fn on_batch_end(&mut self, _at: Position) {}

    /// A training loss was logged.
    fn on_log(&mut self, _record: &Record) {}

    /// A validation, or an epoch without one, has ended with `record`.
    ///
    /// # Errors
    /// When the record lacks what the callback watches.
    fn on_validation_end(&mut self, record: &Record) -> Result<ControlFlow<StopReason>>;

    /// The run has ended, well or not.
    fn on_fit_end(&mut self) {}

    /// What must be saved to continue.
    fn state(&self) -> Value {
        Value::Null
    }

    /// Restores [`Callback::state`].
    ///
    /// # Errors
    /// When it is not this callback's.
    fn load_state(&mut self, _state: Value) -> Result<()> {
        Ok(())
    }
}
