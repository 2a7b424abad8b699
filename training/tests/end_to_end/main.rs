//! End-to-end tests of the binary and the library of this package.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod backtest;
mod baselines;
mod command_line;
mod covariates;
mod damaged_state;
mod disk_errors;
mod errors;
mod examples;
mod first_contact;
mod forecasting;
mod format1;
mod fuzz;
mod intervals;
mod keras_golden;
mod kills;
mod lab;
mod libtorch;
mod many_series;
mod numeric_flags;
mod output;
mod python;
mod pytorch_golden;
mod quantiles;
mod resume;
mod run_folders;
mod runs;
mod same_experiment;
mod signals;
mod skips;
mod snapshots;
