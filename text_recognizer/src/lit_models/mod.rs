//! Lit-style wrappers: what turns a network into something a trainer can train.

mod base;
mod loss;
mod metrics;

pub use base::{BaseLitModel, LitConfig, LitModel, StepOutput};
pub use loss::Loss;
pub use metrics::{Accuracy, Metric, MetricSum, Running};
