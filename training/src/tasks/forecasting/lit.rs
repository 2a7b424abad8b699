//! The lit model of forecasting. Its loss is in scaled units, its metrics are in the units of the series.

use tch::{Device, Kind, Tensor};
use text_recognizer::data::Batch;
use text_recognizer::lit_models::{
    Count, LitConfig, LitModel, Loss, LossName, Metric, MetricName, StepOutput,
};
use text_recognizer::models::Model;
use text_recognizer::nn::{ForwardContext, Parameters};
use text_recognizer::{Error, Result};

use crate::format::number;
use crate::time_series::{Quantiles, Scaler, Units};

/// The size of values from which on a network is likely to diverge without scaling.
const LARGE: f64 = 100.0;

/// A forecasting network with its loss and the scaling of its data.
#[derive(Debug)]
pub struct LitForecaster {
    model: Box<dyn Model>,
    config: LitConfig,
    loss: Box<dyn Loss>,
    scaler: Scaler,
    /// The scalings of many series, whose values reach the network scaled by those of their own.
    units: Option<Units>,
    horizon: i64,
    /// The quantiles that the network forecasts; `None` for one value per target.
    quantiles: Option<Quantiles>,
    masked: bool,
    metrics: Vec<Box<dyn Metric>>,
}

impl LitForecaster {
    /// Wraps a network that forecasts `horizon` steps of series scaled by `scaler`. With the loss of quantiles, its outputs have the
    /// values of [`Quantiles`] in place of targets.
    ///
    /// # Errors
    /// Fails if a value of the configuration is impossible, or if the loss is that of classification.
    pub fn new(model: Box<dyn Model>, config: LitConfig, scaler: Scaler, horizon: i64) -> Result<Self> {
        config.validate()?;
        if config.loss == LossName::CrossEntropy {
            return Err(Error::invalid(
                "loss",
                "cross_entropy",
                "a loss for forecasting: mse, mae, huber, mape, smape or quantile",
            ));
        }
        let quantiles = Quantiles::of(&config)?;
        let loss: Box<dyn Loss> = match &quantiles {
            Some(quantiles) => Box::new(quantiles.loss()?),
            None => Box::new(config.loss),
        };
        let columns = scaler.columns();
        let metrics = MetricName::OF_NUMBERS
            .iter()
            .map(|metric| -> Box<dyn Metric> { Box::new(metric.by_column(columns)) })
            .collect();
        Ok(Self { model, loss, config, scaler, units: None, horizon, quantiles, masked: false, metrics })
    }

    /// Replaces the loss that the configuration names. The loss gets predictions and targets in scaled units; if the targets are
    /// masked, it gets those that are present, `[values]`.
    pub fn with_loss(mut self, loss: impl Loss + 'static) -> Self {
        self.loss = Box::new(loss);
        self
    }

    /// Sets the scalings of many series. The metrics are then in the units of the series, and predictions are in scaled units.
    pub fn with_units(mut self, units: Units) -> Self {
        self.units = Some(units);
        self
    }

    /// Sets whether targets may be NaN, which is a missing value: these then add nothing to loss, gradients and metrics.
    pub fn masked(mut self, masked: bool) -> Self {
        self.masked = masked;
        self
    }

    fn quantile_count(&self) -> i64 {
        self.quantiles.as_ref().map_or(1, Quantiles::count)
    }

    /// Returns the outputs of the network as `[batch, steps * quantiles, targets]`, the quantiles of a step after each other.
    fn outputs(&self, x: &Tensor, context: &mut ForwardContext) -> Result<Tensor> {
        let y = self.model.forward(x, context)?;
        let Some(quantiles) = &self.quantiles else { return Ok(y) };
        let steps = y.size()[1] * quantiles.count();
        Ok(y.f_reshape([-1, steps, self.scaler.columns() as i64])?)
    }

    /// Returns outputs with a first dimension for the quantiles: `[batch, steps * quantiles, targets] ->
    /// [quantiles, batch, steps, targets]`. Those of a network without quantiles stay as they are.
    fn by_quantile(&self, y: &Tensor) -> Result<Tensor> {
        let Some(quantiles) = &self.quantiles else { return Ok(y.shallow_clone()) };
        let [batch, _, targets] = y.size()[..] else {
            return Err(Error::shape("the prediction", "[batch, steps * quantiles, targets]", &y.size()));
        };
        Ok(y.f_reshape([batch, -1, quantiles.count(), targets])?.f_permute([2, 0, 1, 3])?)
    }

    /// Returns the outputs of the network in scaled units. `x` is scaled like the training data; a scaling of each window by its
    /// own values is applied to the targets before the network and undone after it.
    fn forward(&self, x: &Tensor, context: &mut ForwardContext) -> Result<Tensor> {
        let (targets, features) = (self.scaler.columns() as i64, x.size().last().copied().unwrap_or(0));
        let others = (features > targets).then(|| x.f_narrow(-1, targets, features - targets)).transpose()?;
        let of_targets = others.as_ref().map(|_| x.f_narrow(-1, 0, targets)).transpose()?;
        let of_targets = of_targets.as_ref().unwrap_or(x);
        let Some(window) = self.scaler.of_windows(of_targets)? else { return self.outputs(x, context) };
        let scaled = window.transform(of_targets)?;
        let scaled =
            others.map(|others| Tensor::f_cat(&[&scaled, &others], -1)).transpose()?.unwrap_or(scaled);
        window.inverse(&self.outputs(&scaled, context)?)
    }

    /// Returns the mean loss and the number of its terms: the rows of the batch or, if the targets are masked, the values that are
    /// present.
    fn loss(&self, prediction: &Tensor, target: &Tensor) -> Result<(Tensor, Count)> {
        let prediction = self.by_quantile(prediction)?;
        if !self.masked {
            return Ok((self.loss.compute(&prediction, target)?, self.loss.rows(&prediction, target)?));
        }
        let first = usize::from(self.quantiles.is_some());
        if prediction.size()[first..] != target.size() {
            let expected = format!("{:?}, that of the target", target.size());
            return Err(Error::shape("the prediction", expected, &prediction.size()));
        }
        let present = target.f_isnan()?.f_logical_not()?;
        let (mut prediction, target) =
            (prediction.f_masked_select(&present)?, target.f_masked_select(&present)?);
        if let Some(quantiles) = &self.quantiles {
            prediction = prediction.f_view([quantiles.count(), target.numel() as i64])?;
        }
        let values = target.numel() as i64;
        // The mean of no terms is NaN; the sum is 0, and so are its gradients.
        let loss = match values {
            0 => prediction.f_sum(prediction.kind())?,
            _ => self.loss.compute(&prediction, &target)?,
        };
        Ok((loss, values.into()))
    }

    /// Returns the last `horizon` steps, each with `values` values: all steps of a forecast, or the end of a sequence with a forecast
    /// at each time step. `[batch, steps * values, targets] -> [batch, horizon * values, targets]`.
    fn last(&self, y: &Tensor, values: i64) -> Result<Tensor> {
        let last = self.horizon * values;
        Ok(y.f_narrow(1, y.size()[1] - last, last)?)
    }

    /// Returns the last `horizon` steps, each with `values` values, in the units of the series, in double precision where the device
    /// has it.
    fn unscaled(&self, y: &Tensor, values: i64) -> Result<Tensor> {
        let kind = if y.device() == Device::Mps { Kind::Float } else { Kind::Double };
        self.scaler.inverse(&self.last(y, values)?.f_to_kind(kind)?)
    }

    /// Returns the forecasts in the units of the series, `[batch, horizon, quantiles * targets]`. Quantiles are sorted, so that they do
    /// not cross (Chernozhukov, Fernández-Val and Galichon, "Quantile and Probability Curves Without Crossing", 2010).
    fn forecasts(&self, y: &Tensor) -> Result<Tensor> {
        let values = self.unscaled(y, self.quantile_count())?;
        let Some(quantiles) = &self.quantiles else { return Ok(values) };
        let values = values.f_reshape([-1, self.horizon, quantiles.count(), self.scaler.columns() as i64])?;
        Ok(values.f_sort(2, false)?.0.f_flatten(2, 3)?)
    }

    /// Returns the last `horizon` steps of the targets in the units of the series. A target of 0 stays exactly 0, so that relative
    /// errors leave it out: the rounding of its scaled value would make it a tiny number.
    fn actual(&self, y: &Tensor) -> Result<Tensor> {
        let zeros = Tensor::f_zeros([self.scaler.columns() as i64], (Kind::Double, Device::Cpu))?;
        // The steps of the data module: scaled in double precision, rounded, and moved to the dtype of the network.
        let scaled = self.scaler.transform(&zeros)?.f_to_kind(Kind::Float)?;
        let scaled = scaled.f_to_device(y.device())?.f_to_kind(y.kind())?;
        let nonzero = self.last(y, 1)?.f_ne_tensor(&scaled)?;
        Ok(self.unscaled(y, 1)?.f_where_scalarother(&nonzero, 0.0)?)
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
        let prediction = self.forward(&batch.x, context)?;
        let (loss, rows) = self.loss(&prediction, &batch.y)?;
        if context.is_training() {
            return Ok(StepOutput { loss, rows, metrics: Vec::new() });
        }
        let (mut prediction, target) = (self.forecasts(&prediction.detach())?, self.actual(&batch.y)?);
        if let Some(quantiles) = &self.quantiles {
            prediction = quantiles.median(&prediction)?;
        }
        let (prediction, target) = match &self.units {
            None => (prediction, target),
            Some(units) => {
                let (shift, scale) = units.of_rows(&batch.rows, &prediction)?;
                let unscaled = |values: &Tensor| values.f_mul(&scale)?.f_add(&shift);
                // The steps of the data module: a target of 0 is scaled in double precision, and rounded.
                let zero = shift.f_neg()?.f_div(&scale)?.f_to_kind(Kind::Float)?.f_to_kind(batch.y.kind())?;
                let nonzero = self.last(&batch.y, 1)?.f_ne_tensor(&zero)?;
                (unscaled(&prediction)?, unscaled(&target)?.f_where_scalarother(&nonzero, 0.0)?)
            }
        };
        let metrics =
            self.metrics.iter().map(|metric| metric.sum(&prediction, &target)).collect::<Result<_>>()?;
        Ok(StepOutput { loss, rows, metrics })
    }

    /// Forecasts `x: [batch, window_size, features] -> [batch, horizon, targets]`. The features are the targets and then the
    /// covariates. `x` is scaled like the training data; the forecast is in the units of the series. With quantiles it is
    /// `[batch, horizon, quantiles * targets]`, see [`Quantiles`].
    fn predict(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.f_to_kind(self.parameters().placement().kind)?;
        let prediction = tch::no_grad(|| self.forward(&x, &mut ForwardContext::eval()))?;
        self.forecasts(&prediction)
    }

    fn advice(&self, batch: &Batch) -> Option<String> {
        let largest = batch.x.f_abs().and_then(|x| x.f_max()).and_then(|max| max.f_double_value(&[])).ok()?;
        let large = self.scaler.is_identity() && self.units.is_none() && largest > LARGE;
        large.then(|| {
            format!("--scaling standard, because the values reach {} and are not scaled", number(largest))
        })
    }
}

#[cfg(test)]
mod tests;
