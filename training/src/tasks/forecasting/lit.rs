//! The lit model of forecasting. Its loss is in scaled units, its metrics are in the units of the series.

use tch::{Device, Kind, Tensor};
use text_recognizer::data::Batch;
use text_recognizer::lit_models::{LitConfig, LitModel, Loss, LossName, Metric, StepOutput};
use text_recognizer::models::Model;
use text_recognizer::nn::{ForwardContext, Parameters};
use text_recognizer::{Error, Result};

use super::METRICS;
use crate::time_series::Scaler;

/// A forecasting network with its loss and the scaling of its data.
#[derive(Debug)]
pub struct LitForecaster {
    model: Box<dyn Model>,
    config: LitConfig,
    loss: Box<dyn Loss>,
    scaler: Scaler,
    horizon: i64,
    metrics: Vec<Box<dyn Metric>>,
}

impl LitForecaster {
    /// Wraps a network that forecasts `horizon` steps of series scaled by `scaler`.
    ///
    /// # Errors
    /// Fails if a value of the configuration is impossible, or if the loss is that of classification.
    pub fn new(model: Box<dyn Model>, config: LitConfig, scaler: Scaler, horizon: i64) -> Result<Self> {
        config.validate()?;
        if config.loss == LossName::CrossEntropy {
            return Err(Error::invalid(
                "loss",
                "cross_entropy",
                "a loss for forecasting: mse, mae, huber, mape or smape",
            ));
        }
        let metrics = METRICS.iter().map(|metric| -> Box<dyn Metric> { Box::new(*metric) }).collect();
        Ok(Self { model, loss: Box::new(config.loss), config, scaler, horizon, metrics })
    }

    /// Replaces the loss that the configuration names. The loss gets predictions and targets in scaled units.
    pub fn with_loss(mut self, loss: impl Loss + 'static) -> Self {
        self.loss = Box::new(loss);
        self
    }

    /// Returns the last `horizon` steps: all steps of a forecast, or the end of a sequence with a forecast at each time step.
    /// `[batch, steps, targets] -> [batch, horizon, targets]`.
    fn last(&self, y: &Tensor) -> Result<Tensor> {
        Ok(y.f_narrow(1, y.size()[1] - self.horizon, self.horizon)?)
    }

    /// Returns the last `horizon` steps in the units of the series, in double precision where the device has it.
    fn unscaled(&self, y: &Tensor) -> Result<Tensor> {
        let kind = if y.device() == Device::Mps { Kind::Float } else { Kind::Double };
        self.scaler.inverse(&self.last(y)?.f_to_kind(kind)?)
    }
}

impl LitModel for LitForecaster {
    fn parameters(&self) -> &Parameters {
        self.model.parameters()
    }

    fn config(&self) -> &LitConfig {
        &self.config
    }

    fn metrics(&self, training: bool) -> &[Box<dyn Metric>] {
        // Metrics would take a large part of the time of a small model's training step, and add little to the loss.
        if training { &[] } else { &self.metrics }
    }

    fn step(&self, batch: &Batch, context: &mut ForwardContext) -> Result<StepOutput> {
        let prediction = self.model.forward(&batch.x, context)?;
        let loss = self.loss.compute(&prediction, &batch.y)?;
        let rows = self.loss.rows(&prediction, &batch.y)?;
        if context.is_training() {
            return Ok(StepOutput { loss, rows, metrics: Vec::new() });
        }
        let unscaled = |y: &Tensor| self.unscaled(&y.detach());
        let (prediction, target) = (unscaled(&prediction)?, unscaled(&batch.y)?);
        let metrics =
            self.metrics.iter().map(|metric| metric.sum(&prediction, &target)).collect::<Result<_>>()?;
        Ok(StepOutput { loss, rows, metrics })
    }

    /// Forecasts `x: [batch, window_size, features] -> [batch, horizon, targets]`. `x` is scaled like the training data; the
    /// forecast is in the units of the series.
    fn predict(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.f_to_kind(self.parameters().placement().kind)?;
        let prediction = tch::no_grad(|| self.model.forward(&x, &mut ForwardContext::eval()))?;
        self.unscaled(&prediction)
    }
}
