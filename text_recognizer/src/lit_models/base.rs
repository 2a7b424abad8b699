//! What the trainer trains: a network with its loss, its metrics and the wish for an optimiser.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::losses::{Loss, LossName};
use super::metrics::{Metric, MetricName, MetricSum};
use crate::data::Batch;
use crate::error::Result;
use crate::models::Model;
use crate::nn::{ForwardContext, Parameters};
use crate::optim::{OptimizerConfig, ScheduleConfig};

/// Loss, optimiser and learning-rate schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[serde(deny_unknown_fields)]
pub struct LitConfig {
    /// Loss.
    #[cfg_attr(feature = "cli", arg(long = "loss", value_enum, default_value_t = Self::default().loss))]
    pub loss: LossName,
    /// Optimiser.
    #[cfg_attr(feature = "cli", command(flatten))]
    pub optimizer: OptimizerConfig,
    /// Learning-rate schedule.
    #[cfg_attr(feature = "cli", command(flatten))]
    pub schedule: ScheduleConfig,
}

impl Default for LitConfig {
    fn default() -> Self {
        Self {
            loss: LossName::CrossEntropy,
            optimizer: OptimizerConfig::default(),
            schedule: ScheduleConfig::default(),
        }
    }
}

impl LitConfig {
    /// Refuses what cannot be trained with.
    ///
    /// # Errors
    /// Names the first impossible value.
    pub fn validate(&self) -> Result<()> {
        self.optimizer.validate()?;
        self.schedule.validate()
    }
}

/// What one batch gives.
#[derive(Debug)]
pub struct StepOutput {
    /// The mean loss over the batch, a scalar.
    pub loss: Tensor,
    /// The sums of the metrics that [`LitModel::metrics`] lists, in its order.
    pub metrics: Vec<MetricSum>,
}

/// What a [`crate::models::Model`] needs around it to be trained.
pub trait LitModel: Debug {
    /// The parameters that the optimiser updates.
    fn parameters(&self) -> &Parameters;

    /// Loss, optimiser and schedule.
    fn config(&self) -> &LitConfig;

    /// The metrics that [`LitModel::step`] reports in training, or in evaluation: in training a model may leave out
    /// those that cost time.
    fn metrics(&self, training: bool) -> &[Box<dyn Metric>];

    /// Loss and metrics of a batch.
    ///
    /// # Errors
    /// When the batch's shapes are not those of the model.
    fn step(&self, batch: &Batch, context: &mut ForwardContext) -> Result<StepOutput>;

    /// The prediction for inputs `x`, without noise and without gradients.
    ///
    /// # Errors
    /// When the shape of `x` is not that of the model.
    fn predict(&self, x: &Tensor) -> Result<Tensor>;
}

/// A network with one loss; classifiers report their accuracy.
#[derive(Debug)]
pub struct BaseLitModel {
    model: Box<dyn Model>,
    config: LitConfig,
    loss: Box<dyn Loss>,
    metrics: Vec<Box<dyn Metric>>,
}

impl BaseLitModel {
    /// Wraps a network.
    ///
    /// # Errors
    /// When a value of the configuration is impossible.
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

    /// Replaces the metrics: by default `acc` beside the cross entropy, and `mae` and `mse` beside any other loss.
    pub fn with_metrics(mut self, metrics: Vec<Box<dyn Metric>>) -> Self {
        self.metrics = metrics;
        self
    }

    /// The network.
    pub fn model(&self) -> &dyn Model {
        &*self.model
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
        let detached = prediction.detach();
        let metrics =
            self.metrics.iter().map(|metric| metric.sum(&detached, &batch.y)).collect::<Result<_>>()?;
        Ok(StepOutput { loss, metrics })
    }

    fn predict(&self, x: &Tensor) -> Result<Tensor> {
        let kind = self.parameters().placement().kind;
        let x = x.f_to_kind(kind)?;
        tch::no_grad(|| self.model.forward(&x, &mut ForwardContext::eval()))
    }
}
