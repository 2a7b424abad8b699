//! Dense layers over the window.

use crate::flags::default_flags;
use clap::Args;
use serde::{Deserialize, Serialize};
use tch::Tensor;
use text_recognizer::Result;
use text_recognizer::data::DataSpec;
use text_recognizer::models::Model;
use text_recognizer::nn::{ForwardContext, Linear, Parameters, Placement};

use super::{ForecastConfig, Window, check_dropout, check_layers, check_sizes};

/// The sizes of a [`Dnn`].
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DnnConfig {
    /// Use this many units per hidden layer.
    #[arg(long = "units", default_value_t = 10)]
    pub units: i64,
    /// Use this many hidden layers, 1 to 1000.
    #[arg(long = "layers", default_value_t = 2)]
    pub layers: i64,
    /// Drop a hidden unit in training with this probability, from 0 to below 1.
    #[arg(long = "dropout", default_value_t = 0.0)]
    pub dropout: f64,
}

impl Default for DnnConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl ForecastConfig for DnnConfig {}

/// Hidden dense layers with ReLU over all values of the window, and a dense output layer.
/// `x: [batch, window_size, features] -> [batch, horizon, targets]`.
#[derive(Debug)]
pub struct Dnn {
    parameters: Parameters,
    window: Window,
    dropout: f64,
    /// The names of each hidden layer and of its activation, and its weights.
    hidden: Vec<(String, String, Linear)>,
    dense: Linear,
}

impl Dnn {
    /// Builds the model for the shapes in `data`, with the initial weights of Keras ([`Linear::glorot`]). Its weights are
    /// `hidden.LAYER.weight`, `hidden.LAYER.bias`, `dense.weight` and `dense.bias`.
    ///
    /// # Errors
    /// Fails if `data` does not have the shapes of windows, or if a value of `config` is impossible.
    pub fn new(config: &DnnConfig, data: &DataSpec, placement: Placement) -> Result<Self> {
        check_sizes([("units", config.units)])?;
        check_layers(config.layers)?;
        check_dropout(config.dropout)?;
        let window = Window::new(data)?;
        let mut parameters = Parameters::new(placement);
        let mut inputs = window.size * window.features;
        let mut hidden = Vec::new();
        for at in 0..config.layers {
            let name = format!("hidden.{at}");
            let layer = Linear::glorot(&mut parameters, &name, inputs, config.units)?;
            let relu = format!("{name}.relu");
            hidden.push((name, relu, layer));
            inputs = config.units;
        }
        let dense = Linear::glorot(&mut parameters, "dense", inputs, window.horizon * window.columns())?;
        Ok(Self { parameters, window, dropout: config.dropout, hidden, dense })
    }
}

impl Model for Dnn {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn forward(&self, x: &Tensor, context: &mut ForwardContext) -> Result<Tensor> {
        self.window.check("dnn", x)?;
        let mut x = x.f_flatten(1, -1)?; // [batch, window_size * features]
        for (name, relu, layer) in &self.hidden {
            let y = layer.forward(&x, context)?;
            let y = context.layer(name, y); // [batch, units]
            let y = context.layer(relu, y.f_relu()?);
            x = context.dropout(y, self.dropout)?;
        }
        let y = self.dense.forward(&x, context)?; // [batch, horizon * targets]
        let y = y.f_view([-1, self.window.horizon, self.window.columns()])?;
        Ok(context.layer("dense", y))
    }
}
