//! End-to-end tests of the binary and the library of this package.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod errors;
mod examples;
mod forecasting;
mod fuzz;
mod keras_golden;
mod lab;
mod libtorch;
mod python;
mod resume;
mod runs;
mod skips;
mod snapshots;
