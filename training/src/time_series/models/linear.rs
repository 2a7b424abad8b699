//! Linear regression over the window.

use clap::Args;
use serde::{Deserialize, Serialize};
use tch::Tensor;
use text_recognizer::Result;
use text_recognizer::data::DataSpec;
use text_recognizer::models::Model;
use text_recognizer::nn::{self, ForwardContext, Parameters, Placement};

use super::{ForecastConfig, Window};

/// The configuration of a [`Linear`], which has no settings.
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinearConfig {}

impl ForecastConfig for LinearConfig {}

/// One dense layer over all values of the window: `x: [batch, window_size, features] -> [batch, horizon, targets]`.
#[derive(Debug)]
pub struct Linear {
    parameters: Parameters,
    window: Window,
    dense: nn::Linear,
}

impl Linear {
    /// Builds the model for the shapes in `data`, with the initial weights of Keras ([`nn::Linear::glorot`]). Its weights are
    /// `dense.weight` and `dense.bias`.
    ///
    /// # Errors
    /// Fails if `data` does not have the shapes of windows.
    pub fn new(_config: &LinearConfig, data: &DataSpec, placement: Placement) -> Result<Self> {
        let window = Window::new(data)?;
        let (inputs, outputs) = (window.size * window.features, window.horizon * window.columns());
        let mut parameters = Parameters::new(placement);
        let dense = nn::Linear::glorot(&mut parameters, "dense", inputs, outputs)?;
        Ok(Self { parameters, window, dense })
    }
}

impl Model for Linear {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn forward(&self, x: &Tensor, context: &mut ForwardContext) -> Result<Tensor> {
        self.window.check("linear", x)?;
        let y = self.dense.forward(&x.f_flatten(1, -1)?, context)?; // [batch, horizon * targets]
        let y = y.f_view([-1, self.window.horizon, self.window.columns()])?;
        Ok(context.layer("dense", y))
    }
}
