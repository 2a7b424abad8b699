//! The training package: trains, evaluates and applies the models of the library [`text_recognizer`].
//!
//! The modules, from the lowest layer to the highest:
//!
//! - [`flags`], [`mod@format`], [`logging`], [`process`], [`terminal`], [`version`]: flags, text, logs and the process;
//! - [`report`]: tables, summaries and plots;
//! - [`time_series`]: series, windows, forecasting models, and forecasts;
//! - [`trainer`]: the training loop, callbacks, checkpoints and loggers;
//! - [`tasks`]: classification and forecasting;
//! - [`experiment`]: runs an experiment, from a typed configuration to results;
//! - [`cli`]: parses the command line into a typed configuration;
//! - [`commands`]: the commands, one file per command.

pub mod cli;
pub mod commands;
pub mod experiment;
pub mod flags;
pub mod format;
pub mod logging;
pub mod process;
pub mod report;
pub mod tasks;
pub mod terminal;
#[cfg(test)]
mod testing;
pub mod time_series;
pub mod trainer;
pub mod version;
