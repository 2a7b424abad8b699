//! What the trainer trains: a network with its loss, its metrics and the wish for an optimiser.

use std::fmt::Debug;

use clap::Args;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::loss::Loss;
use super::metrics::{Metric, MetricSum};
use crate::data::Batch;
use crate::error::Result;
use crate::models::{ForwardContext, Model, Parameters};
use crate::optim::{OptimizerConfig, ScheduleConfig};
use crate::util::default_flags;

/// Loss, optimiser and learning-rate schedule.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LitConfig {
    /// Loss.
    #[arg(long = "loss", value_enum, default_value_t = Loss::CrossEntropy)]
    pub loss: Loss,
    /// Optimiser.
    #[command(flatten)]
    pub optimizer: OptimizerConfig,
    /// Learning-rate schedule.
    #[command(flatten)]
    pub schedule: ScheduleConfig,
}

impl Default for LitConfig {
    fn default() -> Self {
        default_flags()
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
    /// The batch's part in each metric.
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
    fn metrics(&self, training: bool) -> &[Metric];

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
    metrics: Vec<Metric>,
}

impl BaseLitModel {
    /// Wraps a network.
    ///
    /// # Errors
    /// When a value of the configuration is impossible.
    pub fn new(model: Box<dyn Model>, config: LitConfig) -> Result<Self> {
        config.validate()?;
        let metrics = if config.loss == Loss::CrossEntropy {
            vec![Metric::Acc]
        } else {
            vec![Metric::Mae, Metric::Mse]
        };
        Ok(Self { model, config, metrics })
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

    fn metrics(&self, _training: bool) -> &[Metric] {
        &self.metrics
    }

    fn step(&self, batch: &Batch, context: &mut ForwardContext) -> Result<StepOutput> {
        let prediction = self.model.forward(&batch.x, context)?;
        let loss = self.config.loss.compute(&prediction, &batch.y)?;
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
