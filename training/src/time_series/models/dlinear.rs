//! DLinear: two linear layers over the window, one for the trend and one for the rest.

use crate::flags::{Auto, default_flags};
use clap::{ArgAction, Args};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use text_recognizer::data::DataSpec;
use text_recognizer::models::Model;
use text_recognizer::nn::{ForwardContext, Parameters, Placement};
use text_recognizer::{Error, Result};

use super::channels::{ChannelLinear, CovariateLinear};
use super::{ForecastConfig, Window};

/// The configuration of a [`Dlinear`].
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DlinearConfig {
    /// Take the mean of this many time steps as the trend, an odd number; auto: 25, at most the window.
    #[arg(long = "kernel_size", default_value_t = Auto::AUTO)]
    pub kernel_size: Auto<i64>,
    /// Use other weights for each target; false: use the same weights for all.
    #[arg(long = "individual", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub individual: bool,
}

impl Default for DlinearConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl ForecastConfig for DlinearConfig {}

impl DlinearConfig {
    /// Returns the time steps of a moving average over windows of `size` time steps.
    pub(super) fn kernel_size(&self, size: i64) -> Result<i64> {
        /// The size of the paper.
        const PAPER: i64 = 25;
        match self.kernel_size.number() {
            None => Ok(PAPER.min(size - 1 + size % 2)),
            Some(kernel) if (1..=size).contains(&kernel) && kernel % 2 == 1 => Ok(kernel),
            Some(kernel) => {
                let expected = format!("an odd number from 1 to {size}, the window_size");
                Err(Error::invalid("kernel_size", kernel, expected))
            }
        }
    }
}

/// DLinear of Zeng et al., "Are Transformers Effective for Time Series Forecasting?", 2022: splits the window of a target into a
/// moving average (the trend) and the rest, applies a linear layer over time to each, and adds the results. A linear map of the
/// covariates is added. `x: [batch, window_size, features] -> [batch, horizon, targets]`; the first `targets` features are the
/// targets.
#[derive(Debug)]
pub struct Dlinear {
    parameters: Parameters,
    window: Window,
    kernel_size: i64,
    seasonal: ChannelLinear,
    trend: ChannelLinear,
    covariates: CovariateLinear,
}

impl Dlinear {
    /// Builds the model for the shapes in `data`, with the initial weights of PyTorch. Its weights are `seasonal.weight` and
    /// `trend.weight`, `[horizon, window_size]`, and their `.bias` (`seasonal.TARGET.weight` and so on if they are individual);
    /// with covariates also `covariates.weight`, `[horizon * targets, window_size * covariates]`, and `covariates.bias`.
    ///
    /// # Errors
    /// Fails if `data` does not have the shapes of windows, or if `kernel_size` is even or longer than the window.
    pub fn new(config: &DlinearConfig, data: &DataSpec, placement: Placement) -> Result<Self> {
        let window = Window::new(data)?;
        let kernel_size = config.kernel_size(window.size)?;
        let mut parameters = Parameters::new(placement);
        let seasonal = ChannelLinear::new(&mut parameters, "seasonal", window, config.individual)?;
        let trend = ChannelLinear::new(&mut parameters, "trend", window, config.individual)?;
        let covariates = CovariateLinear::new(&mut parameters, window)?;
        Ok(Self { parameters, window, kernel_size, seasonal, trend, covariates })
    }
}

impl Model for Dlinear {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn forward(&self, x: &Tensor, context: &mut ForwardContext) -> Result<Tensor> {
        self.window.check("dlinear", x)?;
        let (targets, covariates) = self.window.split(x)?;
        // The first and the last value are repeated, so that the trend has as many time steps as the window.
        let side = (self.kernel_size - 1) / 2;
        let padded = targets.f_pad([side, side], "replicate", None)?;
        let trend = padded.f_avg_pool1d(self.kernel_size, 1, 0, false, true)?; // [batch, targets, window_size]
        let seasonal = self.seasonal.forward(&targets.f_sub(&trend)?, context)?;
        let y = self.trend.forward(&trend, context)?.f_add(&seasonal)?;
        self.covariates.add(self.window.by_step(&y)?, covariates.as_ref(), context)
    }
}
