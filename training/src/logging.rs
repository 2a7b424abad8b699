//! The log on standard error.

use clap::ValueEnum;
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::terminal::note;

/// How much of a run's course is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Results and errors.
    Error,
    /// What is odd.
    Warn,
    /// The model and each epoch.
    Info,
    /// Files and choices, too.
    Debug,
}

/// Tells what is logged at `level` and above on standard error, from here on.
pub fn start(level: LogLevel) {
    let level = match level {
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
    };
    // Refused only where there is a logger already, such as a library user's.
    let _ = log::set_logger(&Stderr).map(|()| log::set_max_level(level));
}

/// Lines on standard error; of other crates only what is odd.
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
