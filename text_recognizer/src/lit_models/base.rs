//! The interface between a network and a training loop.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::count::Count;
use super::losses::{Loss, LossName};
use super::metrics::{Metric, MetricName, MetricSum};
use super::quantiles::QuantileLoss;
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::models::Model;
use crate::nn::{ForwardContext, Parameters};
use crate::optim::{Optimizer, OptimizerConfig, ScheduleConfig};

/// The loss, optimizer and learning-rate schedule of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[serde(default, deny_unknown_fields)]
pub struct LitConfig {
    /// Minimize this loss.
    #[cfg_attr(feature = "cli", arg(long = "loss", value_enum, default_value_t = Self::default().loss))]
    pub loss: LossName,
    /// Forecast these quantiles with --loss quantile, numbers above 0 and below 1 in ascending order. 0.5 is the forecast.
    #[cfg_attr(feature = "cli", arg(long = "quantiles", value_name = "QUANTILE", num_args = 1.., value_delimiter = ',',
        default_values_t = Self::default().quantiles))]
    pub quantiles: Vec<f64>,
    /// The optimizer.
    #[cfg_attr(feature = "cli", command(flatten))]
    pub optimizer: OptimizerConfig,
    /// The learning-rate schedule.
    #[cfg_attr(feature = "cli", command(flatten))]
    pub schedule: ScheduleConfig,
}

impl Default for LitConfig {
    fn default() -> Self {
        Self {
            loss: LossName::CrossEntropy,
            quantiles: vec![0.1, 0.5, 0.9],
            optimizer: OptimizerConfig::default(),
            schedule: ScheduleConfig::default(),
        }
    }
}

impl LitConfig {
    /// Checks the values.
    ///
    /// # Errors
    /// Fails at the first value that is not allowed; the message has its name.
    pub fn validate(&self) -> Result<()> {
        self.optimizer.validate()?;
        self.schedule.validate()?;
        self.quantile_loss()?;
        if self.loss != LossName::Quantile && self.quantiles != Self::default().quantiles {
            let found: Vec<String> = self.quantiles.iter().map(f64::to_string).collect();
            return Err(Error::invalid(
                "quantiles",
                found.join(" "),
                "the loss quantile with them; try --loss quantile",
            ));
        }
        Ok(())
    }

    /// Returns the loss of quantiles; `None` for another loss.
    ///
    /// # Errors
    /// Fails if the quantiles are not allowed.
    pub fn quantile_loss(&self) -> Result<Option<QuantileLoss>> {
        let is_quantile = self.loss == LossName::Quantile;
        is_quantile.then(|| QuantileLoss::new(&self.quantiles)).transpose()
    }
}

/// The results of one batch.
#[derive(Debug)]
pub struct StepOutput {
    /// The mean loss over the batch, a scalar.
    pub loss: Tensor,
    /// The number of rows that the mean loss is over: those of the batch without the rows that the loss leaves out. A mean over
    /// several batches weighs the loss, or its gradients, of each with this number.
    pub rows: Count,
    /// The sums of the metrics of [`LitModel::metrics`], in that order.
    pub metrics: Vec<MetricSum>,
}

/// A model with all that a training loop needs.
pub trait LitModel: Debug {
    /// Returns the parameters that the optimizer updates.
    fn parameters(&self) -> &Parameters;

    /// Returns the loss, optimizer and schedule.
    fn config(&self) -> &LitConfig;

    /// Creates the optimizer, by default the one of the configuration. A model with an update rule of its own replaces this, as
    /// `configure_optimizers` in Lightning; see [`Optimizer::with_rule`].
    ///
    /// # Errors
    /// Fails if a value of the configuration is not allowed.
    fn optimizer(&self) -> Result<Optimizer> {
        Optimizer::new(&self.config().optimizer, self.parameters())
    }

    /// Returns the metrics that [`LitModel::step`] computes in training, or in evaluation; a model may omit slow metrics in
    /// training.
    fn metrics(&self, training: bool) -> &[Box<dyn Metric>];

    /// Computes the loss and the metrics of a batch.
    ///
    /// # Errors
    /// Fails if the shapes of the batch do not fit the model.
    fn step(&self, batch: &Batch, context: &mut ForwardContext) -> Result<StepOutput>;

    /// Returns the prediction for inputs `x: [batch, ...input_dims]`, without dropout and without gradients.
    ///
    /// # Errors
    /// Fails if the shape of `x` does not fit the model.
    fn predict(&self, x: &Tensor) -> Result<Tensor>;

    /// Returns advice after a loss or a gradient of `batch` that is NaN or infinite, as a phrase such as "a smaller learning rate"; by
    /// default none.
    fn advice(&self, _batch: &Batch) -> Option<String> {
        None
    }
}

/// A network with one loss; by default a classifier has the metric `acc`, and any other network `mae` and `mse`.
#[derive(Debug)]
pub struct BaseLitModel {
    model: Box<dyn Model>,
    config: LitConfig,
    loss: Box<dyn Loss>,
    metrics: Vec<Box<dyn Metric>>,
}

impl BaseLitModel {
    /// Wraps a network with the loss that the configuration names.
    ///
    /// # Errors
    /// Fails if a value of the configuration is not allowed.
    pub fn new(model: Box<dyn Model>, config: LitConfig) -> Result<Self> {
        config.validate()?;
        let names: &[MetricName] = match config.loss {
            LossName::CrossEntropy => &[MetricName::Acc],
            _ => &[MetricName::Mae, MetricName::Mse],
        };
        let metrics = names.iter().map(|metric| -> Box<dyn Metric> { Box::new(*metric) }).collect();
        Ok(Self { model, loss: Box::new(config.loss), config, metrics })
    }

    /// Replaces the loss that the configuration names.
    pub fn with_loss(mut self, loss: impl Loss + 'static) -> Self {
        self.loss = Box::new(loss);
        self
    }

    /// Replaces the metrics. The default is `acc` for the cross entropy, and `mae` and `mse` for any other loss.
    pub fn with_metrics(mut self, metrics: Vec<Box<dyn Metric>>) -> Self {
        self.metrics = metrics;
        self
    }
}

impl LitModel for BaseLitModel {
    fn parameters(&self) -> &Parameters {
        self.model.parameters()
    }

    fn config(&self) -> &LitConfig {
        &self.config
    }

    fn metrics(&self, _training: bool) -> &[Box<dyn Metric>] {
        &self.metrics
    }

    fn step(&self, batch: &Batch, context: &mut ForwardContext) -> Result<StepOutput> {
        let prediction = self.model.forward(&batch.x, context)?;
        let loss = self.loss.compute(&prediction, &batch.y)?;
        let rows = self.loss.rows(&prediction, &batch.y)?;
        let detached = prediction.detach();
        let metrics =
            self.metrics.iter().map(|metric| metric.sum(&detached, &batch.y)).collect::<Result<_>>()?;
        Ok(StepOutput { loss, rows, metrics })
    }

    fn predict(&self, x: &Tensor) -> Result<Tensor> {
        let kind = self.parameters().placement().kind;
        let x = x.f_to_kind(kind)?;
        tch::no_grad(|| self.model.forward(&x, &mut ForwardContext::eval()))
    }
}
