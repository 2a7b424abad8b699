//! Simple recurrent layers.

use crate::flags::default_flags;
use clap::{ArgAction, Args};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use text_recognizer::Result;
use text_recognizer::data::DataSpec;
use text_recognizer::models::Model;
use text_recognizer::nn::{Cell, ForwardContext, Parameters, Placement};

use super::stack::{Stack, StackConfig};
use super::{ForecastConfig, Target, Window, target};

/// The sizes of an [`Rnn`].
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RnnConfig {
    /// Use this many units per recurrent layer.
    #[arg(long = "units", default_value_t = 40)]
    pub units: i64,
    /// Use this many recurrent layers, 1 to 1000.
    #[arg(long = "layers", default_value_t = 2)]
    pub layers: i64,
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

impl Default for RnnConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl ForecastConfig for RnnConfig {
    fn target(&self) -> Target {
        target(self.sequence_loss)
    }
}

/// Simple recurrent layers, a dense layer and a fixed scale.
/// `x: [batch, window_size, features] -> [batch, horizon, targets]`, with `sequence_loss` `[batch, window_size, targets]`.
#[derive(Debug)]
pub struct Rnn {
    window: Window,
    stack: Stack,
}

impl Rnn {
    /// Builds the model for the shapes in `data`. Its weights are `rnn.LAYER.kernel`, `.recurrent_kernel` and `.bias` (see
    /// [`text_recognizer::nn::Recurrent::new`]); `dense.weight` and `dense.bias`.
    ///
    /// # Errors
    /// Fails if `data` does not have the shapes of windows, or if a value of `config` is impossible.
    pub fn new(config: &RnnConfig, data: &DataSpec, placement: Placement) -> Result<Self> {
        let window = Window::new(data)?;
        let parameters = Parameters::new(placement);
        let layers = StackConfig {
            cell: Cell::Rnn,
            units: config.units,
            layers: config.layers,
            bidirectional: false,
            dropout: config.dropout,
            output_scale: config.output_scale,
            sequence: config.sequence_loss,
        };
        let stack = Stack::new(parameters, "rnn", layers, window, window.features)?;
        Ok(Self { window, stack })
    }
}

impl Model for Rnn {
    fn parameters(&self) -> &Parameters {
        self.stack.parameters()
    }

    fn forward(&self, x: &Tensor, context: &mut ForwardContext) -> Result<Tensor> {
        self.window.check("rnn", x)?;
        self.stack.forward(x.shallow_clone(), context)
    }
}
