//! The workshop: what develops and uses the library [`text_recognizer`].
//!
//! - [`cli`]: from the command line to a typed configuration;
//! - [`registry`]: the one table of models and data modules;
//! - [`trainer`]: the training loop, callbacks, checkpoints and loggers;
//! - [`time_series`]: series, windows, forecasting networks, and forecasts;
//! - [`plots`]: pictures of what a run measured and predicted;
//! - [`run`]: one run from its configuration to its results;
//! - [`say`]: standard output and standard error;
//! - [`doctor`]: what the program runs on;
//! - [`process`]: what a program that trains sets as it starts.

pub mod cli;
pub mod doctor;
mod download;
pub mod plots;
pub mod process;
pub mod registry;
pub mod run;
pub mod say;
pub mod time_series;
pub mod trainer;
