//! Loggers: they write the metrics of a run to files.

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

/// The flags for logging and profiling.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoggingConfig {
    /// Log the training loss once per this many steps.
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
    /// Fails if a value is impossible; the error names the first one.
    pub fn validate(&self) -> text_recognizer::Result<()> {
        if self.log_every_n_steps == 0 {
            return Err(Error::invalid("log_every_n_steps", 0, "at least 1"));
        }
        Ok(())
    }
}

/// A writer of the metrics of a run.
pub trait Logger {
    /// Writes one record, possibly to a buffer.
    ///
    /// # Errors
    /// Fails if the record cannot be written.
    fn log(&mut self, record: &Record) -> Result<()>;

    /// Writes the metrics of the test split at the end of a run, by default as any record.
    ///
    /// # Errors
    /// Fails if the record cannot be written.
    fn log_test(&mut self, record: &Record) -> Result<()> {
        self.log(record)
    }

    /// Writes all records so far to the disk, and returns a mark of this position for [`Logger::rewind`].
    ///
    /// # Errors
    /// Fails if a record cannot be written.
    fn flush(&mut self) -> Result<Value>;

    /// Discards the records after `mark`, which was taken at step `step`, for a run that resumes from that step. A mark of
    /// null with step 0 is the start of the run.
    ///
    /// # Errors
    /// Fails if records before the mark are missing.
    fn rewind(&mut self, mark: &Value, step: u64) -> Result<()>;

    /// Writes that the run ended, with success or with an error.
    ///
    /// # Errors
    /// Fails if this cannot be written.
    fn finish(&mut self, _success: bool) -> Result<()> {
        self.flush().map(drop)
    }
}
