//! Lit-style wrappers: networks with a loss, metrics and the settings of an optimizer, ready for a training loop.

mod base;
mod count;
mod losses;
mod metrics;
mod quantiles;
mod running;

pub use base::{BaseLitModel, LitConfig, LitModel, StepOutput};
pub use count::{Count, IGNORED};
pub use losses::{Loss, LossName};
pub use metrics::{Accuracy, ByColumn, Metric, MetricName, MetricSum};
pub use quantiles::QuantileLoss;
pub use running::{Running, mean_of_groups};
