//! The training loop and everything around it.
//!
//! [`Fit::run`] is the loop, to be read from top to bottom. The data gives a batch, the lit model its loss and metrics, the
//! optimizer steps, and after each validation one [`Record`] goes to callbacks, checkpoints and loggers.

mod averaging;
mod budget;
pub mod callbacks;
pub mod checkpointing;
mod config;
mod device;
mod evaluate;
mod fit;
mod gradients;
mod loaders;
pub mod loggers;
mod lr_find;
mod nonfinite;
mod profiler;
mod record;
mod run_folder;
mod signals;
mod state;
mod strategy;
mod validation;

pub use averaging::AveragingConfig;
pub use budget::BudgetConfig;
pub use config::TrainerConfig;
pub use device::{DeviceConfig, Precision};
pub use evaluate::evaluate;
pub use fit::{Best, Fit, FitSummary};
pub use gradients::{ClipAlgorithm, GradientConfig};
pub use loaders::{BatchLimit, LoaderConfig, Loaders};
pub use lr_find::{AfterLrFind, LrFindConfig, LrFindResult, lr_find};
pub use nonfinite::{NonfiniteConfig, OnNonfinite};
pub use profiler::ProfilerName;
pub use record::Record;
pub use run_folder::{RunFolder, config_in, last_in};
pub use signals::Signals;
pub use strategy::{Flags, SingleProcess, Strategy};
pub use validation::ValidationConfig;
