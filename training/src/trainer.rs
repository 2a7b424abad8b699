//! The training loop and its components.
//!
//! [`Fit::run`] is the loop; read it from top to bottom. A loader returns a batch, the lit model computes its loss and
//! its metrics, and the optimizer takes a step. After each validation, the callbacks, the checkpoints and the loggers
//! get one [`Record`].

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
pub use fit::{Best, Fit, FitSummary, LossRange};
pub use gradients::{ClipAlgorithm, GradientConfig};
pub use loaders::{BatchLimit, LoaderConfig, Loaders};
pub use lr_find::{AfterLrFind, LrFindConfig, LrFindResult, lr_find};
pub use nonfinite::{NonfiniteConfig, OnNonfinite};
pub use profiler::ProfilerName;
pub use record::Record;
pub use run_folder::{RunFolder, check_links, config_in, final_in, last_in, result_in};
pub use signals::Signals;
pub use strategy::{Flags, SingleProcess, Strategy};
pub use validation::ValidationConfig;
