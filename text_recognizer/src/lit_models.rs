//! Lit-style wrappers: what turns a network into something a trainer can train.

mod base;
mod losses;
mod metrics;

pub use base::{BaseLitModel, LitConfig, LitModel, StepOutput};
pub use losses::{Loss, LossName};
pub use metrics::{Accuracy, Metric, MetricName, MetricSum, Running};
