//! Callbacks: they observe a run and return whether it continues. They never change the trainer.

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
pub use model_checkpoint::{CheckpointConfig, ModelCheckpoint, State};
pub use monitor::{Mode, Monitor};
pub use progress::{ProgressReport, Surroundings};

/// The reason for the end of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// The run finished `max_epochs` epochs.
    MaxEpochs,
    /// The run took `max_steps` optimizer steps.
    MaxSteps,
    /// The run took `max_time`.
    MaxTime,
    /// A callback stopped the run, for this reason.
    Callback(String),
    /// The process received this signal.
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

/// The position of the loop within an epoch.
#[derive(Debug, Clone, Copy)]
pub struct Position {
    /// The epoch, from 0.
    pub epoch: u64,
    /// Finished batches of this epoch.
    pub batch: usize,
    /// Batches per epoch.
    pub batches: usize,
}

/// An observer of a run.
pub trait Callback {
    /// Runs after each training batch, so it must be fast.
    fn on_batch_end(&mut self, _at: Position) {}

    /// Runs after each logged training loss.
    fn on_log(&mut self, _record: &Record) {}

    /// Runs after each validation, and after each epoch without one. Returns whether the run continues.
    ///
    /// # Errors
    /// Fails if `record` does not contain the metric that the callback monitors.
    fn on_validation_end(&mut self, record: &Record) -> Result<ControlFlow<StopReason>>;

    /// Runs at the end of the run, also after an error.
    fn on_fit_end(&mut self) {}

    /// Returns the state that a checkpoint must contain.
    fn state(&self) -> Value {
        Value::Null
    }

    /// Restores [`Callback::state`].
    ///
    /// # Errors
    /// Fails if the state is of another kind of callback.
    fn load_state(&mut self, _state: Value) -> Result<()> {
        Ok(())
    }
}
