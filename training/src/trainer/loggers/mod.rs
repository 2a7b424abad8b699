//! Where a run's measurements are kept.

use anyhow::Result;
use serde_json::Value;

use super::record::Record;

mod json_lines;
mod tensorboard;

pub use json_lines::JsonLines;
pub use tensorboard::TensorBoard;

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
