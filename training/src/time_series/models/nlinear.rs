//! NLinear: a linear layer over the window, relative to the last value.

use crate::flags::default_flags;
use clap::{ArgAction, Args};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use text_recognizer::Result;
use text_recognizer::data::DataSpec;
use text_recognizer::models::Model;
use text_recognizer::nn::{ForwardContext, Parameters, Placement};

use super::channels::{ChannelLinear, CovariateLinear};
use super::{ForecastConfig, Window};

/// The configuration of an [`Nlinear`].
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NlinearConfig {
    /// Use other weights for each target; false: use the same weights for all.
    #[arg(long = "individual", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub individual: bool,
}

impl Default for NlinearConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl ForecastConfig for NlinearConfig {}

/// NLinear of Zeng et al., "Are Transformers Effective for Time Series Forecasting?", 2022: subtracts the last value of the
/// window of a target, applies a linear layer over time, and adds the value again. A linear map of the covariates is added.
/// `x: [batch, window_size, features] -> [batch, horizon, targets]`; the first `targets` features are the targets.
#[derive(Debug)]
pub struct Nlinear {
    parameters: Parameters,
    window: Window,
    linear: ChannelLinear,
    covariates: CovariateLinear,
}

impl Nlinear {
    /// Builds the model for the shapes in `data`, with the initial weights of PyTorch. Its weights are `linear.weight`,
    /// `[horizon, window_size]`, and `linear.bias` (`linear.TARGET.weight` and `linear.TARGET.bias` if they are individual);
    /// with covariates also `covariates.weight`, `[horizon * targets, window_size * covariates]`, and `covariates.bias`.
    ///
    /// # Errors
    /// Fails if `data` does not have the shapes of windows.
    pub fn new(config: &NlinearConfig, data: &DataSpec, placement: Placement) -> Result<Self> {
        let window = Window::new(data)?;
        let mut parameters = Parameters::new(placement);
        let linear = ChannelLinear::new(&mut parameters, "linear", window, config.individual)?;
        let covariates = CovariateLinear::new(&mut parameters, window)?;
        Ok(Self { parameters, window, linear, covariates })
    }
}

impl Model for Nlinear {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn forward(&self, x: &Tensor, context: &mut ForwardContext) -> Result<Tensor> {
        self.window.check("nlinear", x)?;
        let (targets, covariates) = self.window.split(x)?;
        let last = targets.f_narrow(2, self.window.size - 1, 1)?; // [batch, targets, 1]
        let y = self.linear.forward(&targets.f_sub(&last)?, context)?.f_add(&last)?;
        self.covariates.add(self.window.by_step(&y)?, covariates.as_ref(), context)
    }
}
