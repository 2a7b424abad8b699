//! The common layers of the recurrent models: a stack of recurrent layers, a dense layer, and a fixed scale.

use crate::flags::default_flags;
use clap::{ArgAction, Args};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use text_recognizer::nn::{Cell, ForwardContext, Linear, Output, Parameters, Recurrent};
use text_recognizer::{Error, Result};

use super::{ForecastConfig, Target, Window, check_dropout, check_layers, check_sizes, target};

/// The sizes of a [`super::Lstm`] or a [`super::Gru`].
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatedConfig {
    /// Use this many units per layer; per direction if --bidirectional.
    #[arg(long = "units", default_value_t = 32)]
    pub units: i64,
    /// Use this many recurrent layers, 1 to 1000.
    #[arg(long = "layers", default_value_t = 1)]
    pub layers: i64,
    /// Run each layer over the window in both directions.
    #[arg(long = "bidirectional", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub bidirectional: bool,
    /// Drop an output of a recurrent layer in training with this probability, from 0 to below 1.
    #[arg(long = "dropout", default_value_t = 0.0)]
    pub dropout: f64,
    /// Multiply the output of the last layer by this, near the size of the values of the series.
    #[arg(long = "output_scale", default_value_t = 100.0)]
    pub output_scale: f64,
    /// Train on the next value at each time step of the window, not only at the last.
    #[arg(long = "sequence_loss", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub sequence_loss: bool,
}

impl Default for GatedConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl ForecastConfig for GatedConfig {
    fn target(&self) -> Target {
        target(self.sequence_loss)
    }
}

impl GatedConfig {
    /// Returns the configuration of a stack with layers of `cell`.
    pub(super) fn of(&self, cell: Cell) -> StackConfig {
        let Self { units, layers, bidirectional, dropout, output_scale, sequence_loss: sequence } = *self;
        StackConfig { cell, units, layers, bidirectional, dropout, output_scale, sequence }
    }
}

/// The sizes of a [`Stack`].
#[derive(Debug, Clone, Copy)]
pub(super) struct StackConfig {
    pub cell: Cell,
    pub units: i64,
    pub layers: i64,
    pub bidirectional: bool,
    pub dropout: f64,
    /// The factor on the output of the dense layer. With a factor near the size of the values, the weights stay small.
    pub output_scale: f64,
    /// Whether each time step of the window has an output.
    pub sequence: bool,
}

/// Recurrent layers, a dense layer and a fixed scale. `x: [batch, window_size, inputs] -> [batch, horizon, targets]`, or
/// `[batch, window_size, targets]` if each time step has an output.
#[derive(Debug)]
pub(super) struct Stack {
    parameters: Parameters,
    /// The name and the weights of each recurrent layer.
    layers: Vec<(String, Recurrent)>,
    dense: Linear,
    window: Window,
    config: StackConfig,
}

impl Stack {
    /// Builds the layers `NAME.0`, `NAME.1`, ... (see [`Recurrent::new`] for their weights) and `dense`, and adds their weights
    /// to `parameters`.
    pub fn new(
        mut parameters: Parameters,
        name: &str,
        config: StackConfig,
        window: Window,
        inputs: i64,
    ) -> Result<Self> {
        check_sizes([("units", config.units)])?;
        check_layers(config.layers)?;
        check_dropout(config.dropout)?;
        if !config.output_scale.is_finite() || config.output_scale == 0.0 {
            let expected = "a finite number other than 0";
            return Err(Error::invalid("output_scale", config.output_scale, expected));
        }
        if config.sequence && ![1, window.size].contains(&window.horizon) {
            let expected = "1 with sequence_loss, because its target is one value per time step";
            return Err(Error::invalid("horizon", window.horizon, expected));
        }
        let mut layers = Vec::new();
        let mut inputs = inputs;
        for at in 0..config.layers {
            let name = format!("{name}.{at}");
            let layer = Recurrent::new(
                &mut parameters,
                &name,
                config.cell,
                inputs,
                config.units,
                config.bidirectional,
            )?;
            inputs = layer.outputs();
            layers.push((name, layer));
        }
        let outputs = window.columns() * if config.sequence { 1 } else { window.horizon };
        let dense = Linear::glorot(&mut parameters, "dense", inputs, outputs)?;
        Ok(Self { parameters, layers, dense, window, config })
    }

    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    pub fn forward(&self, x: Tensor, context: &mut ForwardContext) -> Result<Tensor> {
        let mut x = x;
        for (at, (name, layer)) in self.layers.iter().enumerate() {
            let last = at + 1 == self.layers.len();
            let output = if last && !self.config.sequence { Output::Last } else { Output::Sequence };
            let y = layer.forward(&x, output, context)?;
            let y = context.layer(name, y);
            x = context.dropout(y, self.config.dropout)?;
        }
        let y = self.dense.forward(&x, context)?.f_mul_scalar(self.config.output_scale)?;
        let steps = if self.config.sequence { self.window.size } else { self.window.horizon };
        let y = y.f_view([-1, steps, self.window.columns()])?;
        Ok(context.layer("dense", y))
    }
}
