//! Gated recurrent units.

use tch::Tensor;
use text_recognizer::Result;
use text_recognizer::data::DataSpec;
use text_recognizer::models::Model;
use text_recognizer::nn::{Cell, ForwardContext, Parameters, Placement};

use super::stack::Stack;
use super::{GatedConfig, Window};

/// Layers of GRU cells, a dense layer and a scale: `x: [batch, window_size, features] ->
/// [batch, horizon, targets]`, with `sequence_loss` `[batch, window_size, targets]`.
#[derive(Debug)]
pub struct Gru {
    window: Window,
    stack: Stack,
}

impl Gru {
    /// Builds the model for windows as `data` describes them. Its weights are `gru.LAYER.kernel`,
    /// `.recurrent_kernel`, `.bias` (see [`text_recognizer::nn::Recurrent::new`]) and `dense.weight`, `dense.bias`.
    ///
    /// # Errors
    /// When `data` does not describe windows, or a value of `config` is impossible.
    pub fn new(config: &GatedConfig, data: &DataSpec, placement: Placement) -> Result<Self> {
        let window = Window::new(data)?;
        let parameters = Parameters::new(placement);
        let stack = Stack::new(parameters, "gru", config.of(Cell::Gru), window, window.features)?;
        Ok(Self { window, stack })
    }
}

impl Model for Gru {
    fn parameters(&self) -> &Parameters {
        self.stack.parameters()
    }

    fn forward(&self, x: &Tensor, context: &mut ForwardContext) -> Result<Tensor> {
        self.window.check("gru", x)?;
        self.stack.forward(x.shallow_clone(), context)
    }
}
