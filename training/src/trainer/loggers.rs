//! Where a run's measurements are kept.

use anyhow::Result;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use text_recognizer::Error;

use super::profiler::ProfilerName;
use super::record::Record;
use crate::flags::default_flags;

mod json_lines;
mod tensorboard;

pub use json_lines::JsonLines;
pub use tensorboard::TensorBoard;

/// The measurements of a run beside those of its validations.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoggingConfig {
    /// Steps from one logged training loss to the next.
    #[arg(long = "log_every_n_steps", default_value_t = 50)]
    pub log_every_n_steps: u64,
    /// Print the time of each phase of the training loop.
    #[arg(long = "profiler", value_enum)]
    pub profiler: Option<ProfilerName>,
}

impl Default for LoggingConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl LoggingConfig {
    /// The flags that a resumed run may change.
    pub const FREE: &[&str] = &["log_every_n_steps", "profiler"];

    /// Checks the values.
    ///
    /// # Errors
    /// Names the first impossible value.
    pub fn validate(&self) -> text_recognizer::Result<()> {
        if self.log_every_n_steps == 0 {
            return Err(Error::invalid("log_every_n_steps", 0, "at least 1"));
        }
        Ok(())
    }
}

/// Keeps measurements.
pub trait Logger {
    /// Keeps one record.
    ///
    /// # Errors
    /// When it cannot be written.
    fn log(&mut self, record: &Record) -> Result<()>;

    /// Brings everything so far to the disk, and answers with what [`Logger::rewind`] needs to come back to this moment.
    ///
    /// # Errors
    /// When it cannot be written.
    fn flush(&mut self) -> Result<Value>;

    /// Forgets what was logged after the moment of `mark` (at step `step`), for a run that continues from there.
    ///
    /// # Errors
    /// When what was logged up to then is not there any more.
    fn rewind(&mut self, mark: &Value, step: u64) -> Result<()>;

    /// The run has ended with these results.
    ///
    /// # Errors
    /// When it cannot be written.
    fn finish(&mut self, _results: &Record) -> Result<()> {
        self.flush().map(drop)
    }
}
