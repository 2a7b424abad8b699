//! A causal convolution over time, followed by LSTM layers.

use crate::flags::default_flags;
use clap::{ArgAction, Args};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use text_recognizer::Result;
use text_recognizer::data::DataSpec;
use text_recognizer::models::Model;
use text_recognizer::nn::{CausalConv, Cell, ForwardContext, Parameters, Placement};

use super::stack::{Stack, StackConfig};
use super::{ForecastConfig, Target, Window, check_sizes, target};

/// The sizes of a [`ConvLstm`].
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConvLstmConfig {
    /// Use this many filters in the convolution.
    #[arg(long = "filters", default_value_t = 32)]
    pub filters: i64,
    /// Use a kernel of this many time steps: the current one and the ones before it.
    #[arg(long = "kernel_size", default_value_t = 5)]
    pub kernel_size: i64,
    /// Use this many units per LSTM layer.
    #[arg(long = "units", default_value_t = 32)]
    pub units: i64,
    /// Use this many LSTM layers, 1 to 1000.
    #[arg(long = "layers", default_value_t = 2)]
    pub layers: i64,
    /// Drop an output of a hidden layer in training with this probability, from 0 to below 1.
    #[arg(long = "dropout", default_value_t = 0.0)]
    pub dropout: f64,
    /// Multiply the output of the last layer by this, near the size of the values of the series.
    #[arg(long = "output_scale", default_value_t = 200.0)]
    pub output_scale: f64,
    /// Train on the next value at each time step of the window, not only at the last.
    #[arg(long = "sequence_loss", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub sequence_loss: bool,
}

impl Default for ConvLstmConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl ForecastConfig for ConvLstmConfig {
    fn target(&self) -> Target {
        target(self.sequence_loss)
    }
}

/// A causal convolution with ReLU, LSTM layers, a dense layer and a fixed scale.
/// `x: [batch, window_size, features] -> [batch, horizon, targets]`, with `sequence_loss` `[batch, window_size, targets]`.
#[derive(Debug)]
pub struct ConvLstm {
    window: Window,
    conv: CausalConv,
    dropout: f64,
    stack: Stack,
}

impl ConvLstm {
    /// Builds the model for the shapes in `data`. Its weights are `conv.kernel`, `[kernel_size, features, filters]`, and
    /// `conv.bias`; `lstm.LAYER.kernel`, `.recurrent_kernel` and `.bias` (see [`text_recognizer::nn::Recurrent::new`]);
    /// `dense.weight` and `dense.bias`.
    ///
    /// # Errors
    /// Fails if `data` does not have the shapes of windows, or if a value of `config` is impossible.
    pub fn new(config: &ConvLstmConfig, data: &DataSpec, placement: Placement) -> Result<Self> {
        check_sizes([("filters", config.filters), ("kernel_size", config.kernel_size)])?;
        let window = Window::new(data)?;
        let mut parameters = Parameters::new(placement);
        let conv =
            CausalConv::new(&mut parameters, "conv", config.kernel_size, window.features, config.filters)?;
        let layers = StackConfig {
            cell: Cell::Lstm,
            units: config.units,
            layers: config.layers,
            bidirectional: false,
            dropout: config.dropout,
            output_scale: config.output_scale,
            sequence: config.sequence_loss,
        };
        let stack = Stack::new(parameters, "lstm", layers, window, config.filters)?;
        Ok(Self { window, conv, dropout: config.dropout, stack })
    }
}

impl Model for ConvLstm {
    fn parameters(&self) -> &Parameters {
        self.stack.parameters()
    }

    fn forward(&self, x: &Tensor, context: &mut ForwardContext) -> Result<Tensor> {
        self.window.check("conv_lstm", x)?;
        let x = self.conv.forward(x, context)?;
        let x = context.layer("conv", x); // [batch, window_size, filters]
        let x = context.layer("conv.relu", x.f_relu()?);
        let x = context.dropout(x, self.dropout)?;
        self.stack.forward(x, context)
    }
}
