//! Runs an experiment, from a typed configuration to results.

mod backtest;
mod config;
mod finish;
mod outcome;
mod refit;
pub mod registry;
mod resume;
mod run;
mod trained;

pub use backtest::{BacktestConfig, BacktestOutcome, FOLDS, backtest};
pub use config::{FolderConfig, RunConfig, flatten};
pub use outcome::{Finished, Outcome};
pub use registry::{DataEntry, ModelEntry, OnDownload};
pub use resume::{Resume, check_resume, find_resume, free};
pub use run::{Experiment, Reporter, fit};
pub use trained::{TrainedForecaster, load_forecaster};
