//! The workshop: everything that develops and uses the library [`text_recognizer`].
//!
//! From the ground up:
//!
//! - [`flags`], [`mod@format`], [`logging`], [`process`], [`terminal`], [`version`]: the ground floor;
//! - [`report`]: tables, summaries and plots;
//! - [`time_series`]: series, windows, forecasting models, and forecasts;
//! - [`trainer`]: the training loop, callbacks, checkpoints and loggers;
//! - [`tasks`]: classification and forecasting;
//! - [`experiment`]: from a typed configuration to results;
//! - [`cli`]: from the command line to a typed configuration;
//! - [`commands`]: a file for each command.

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
pub mod time_series;
pub mod trainer;
pub mod version;
