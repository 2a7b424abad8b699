//! What the recurrent models have in common: layers on top of each other, a dense layer, and a scale.

use crate::flags::default_flags;
use clap::{ArgAction, Args};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use text_recognizer::nn::{Cell, ForwardContext, Linear, Output, Parameters, Recurrent};
use text_recognizer::{Error, Result};

use super::{ForecastConfig, Target, Window, check_dropout, check_layers, check_sizes, target};

/// The sizes of a [`super::Lstm`] or a [`super::Gru`].
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatedConfig {
    /// Units of each layer, of a bidirectional one in each direction.
    #[arg(long = "units", default_value_t = 32)]
    pub units: i64,
    /// Recurrent layers.
    #[arg(long = "layers", default_value_t = 1)]
    pub layers: i64,
    /// Whether each layer reads the window in both directions.
    #[arg(long = "bidirectional", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub bidirectional: bool,
    /// Probability that an output of a recurrent layer is dropped in training.
    #[arg(long = "dropout", default_value_t = 0.0)]
    pub dropout: f64,
    /// What the last layer's output is multiplied by, so that it need not learn the size of the series' values.
    #[arg(long = "output_scale", default_value_t = 100.0)]
    pub output_scale: f64,
    /// Whether to forecast at every step of the window, not at the last one only.
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
    /// Layers of this cell.
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
    /// What the dense layer's output is multiplied by, so that it need not learn the size of the series' values.
    pub output_scale: f64,
    /// Whether every step has an output.
    pub sequence: bool,
}

/// `x: [batch, window_size, inputs] -> [batch, horizon, targets]`, or `[batch, window_size, targets]` if every step has
/// an output.
#[derive(Debug)]
pub(super) struct Stack {
    parameters: Parameters,
    /// Names and layers.
    layers: Vec<(String, Recurrent)>,
    dense: Linear,
    window: Window,
    config: StackConfig,
}

impl Stack {
    /// Adds the layers `NAME.0`, `NAME.1`, ... (see [`Recurrent::new`] for their weights) and `dense` to the model's
    /// `parameters`, and keeps them.
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
            let expected = "1 with sequence_loss, where each step's target is the next value";
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
        let outputs = window.targets * if config.sequence { 1 } else { window.horizon };
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
        let y = y.f_view([-1, steps, self.window.targets])?;
        Ok(context.layer("dense", y))
    }
}
