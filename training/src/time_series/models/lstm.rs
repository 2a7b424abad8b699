//! Long short-term memory.

use tch::Tensor;
use text_recognizer::Result;
use text_recognizer::data::DataSpec;
use text_recognizer::models::Model;
use text_recognizer::nn::{Cell, ForwardContext, Parameters, Placement};

use super::stack::Stack;
use super::{GatedConfig, Window};

/// Layers of LSTM cells, a dense layer and a scale: `x: [batch, window_size, features] ->
/// [batch, horizon, targets]`, with `sequence_loss` `[batch, window_size, targets]`.
#[derive(Debug)]
pub struct Lstm {
    window: Window,
    stack: Stack,
}

impl Lstm {
    /// Builds the model for windows as `data` describes them. Its weights are `lstm.LAYER.kernel`,
    /// `.recurrent_kernel`, `.bias` (see [`text_recognizer::nn::Recurrent::new`]) and `dense.weight`, `dense.bias`.
    ///
    /// # Errors
    /// When `data` does not describe windows, or a value of `config` is impossible.
    pub fn new(config: &GatedConfig, data: &DataSpec, placement: Placement) -> Result<Self> {
        let window = Window::new(data)?;
        let parameters = Parameters::new(placement);
        let stack = Stack::new(parameters, "lstm", config.of(Cell::Lstm), window, window.features)?;
        Ok(Self { window, stack })
    }
}

impl Model for Lstm {
    fn parameters(&self) -> &Parameters {
        self.stack.parameters()
    }

    fn forward(&self, x: &Tensor, context: &mut ForwardContext) -> Result<Tensor> {
        self.window.check("lstm", x)?;
        self.stack.forward(x.shallow_clone(), context)
    }
}
