//! The log on standard error.

use clap::ValueEnum;
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::terminal::note;

/// The lowest level of the messages on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Only errors.
    Error,
    /// Also warnings.
    Warn,
    /// Also the model and each epoch.
    Info,
    /// Also saved files and automatic choices.
    Debug,
}

/// Starts to write log messages at `level` and above to standard error.
pub fn start(level: LogLevel) {
    let level = match level {
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
    };
    // This fails only if the process has a logger already, which then stays.
    let _ = log::set_logger(&Stderr).map(|()| log::set_max_level(level));
}

/// A logger that writes lines to standard error; from other crates only warnings and errors.
struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata) -> bool {
        let ours = ["training", "text_recognizer"].iter().any(|name| metadata.target().starts_with(name));
        metadata.level() <= if ours { log::max_level() } else { LevelFilter::Warn.min(log::max_level()) }
    }

    fn log(&self, record: &Record) {
        if self.enabled(record.metadata()) {
            match record.level() {
                Level::Info => note(record.args()),
                Level::Warn => note(format_args!("warning: {}", record.args())),
                level => note(format_args!("{}: {}", level.as_str().to_lowercase(), record.args())),
            }
        }
    }

    fn flush(&self) {}
}
