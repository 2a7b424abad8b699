//! Layers of long short-term memory (LSTM).

use tch::Tensor;
use text_recognizer::Result;
use text_recognizer::data::DataSpec;
use text_recognizer::models::Model;
use text_recognizer::nn::{Cell, ForwardContext, Parameters, Placement};

use super::stack::Stack;
use super::{GatedConfig, Window};

/// LSTM layers, a dense layer and a fixed scale.
/// `x: [batch, window_size, features] -> [batch, horizon, targets]`, with `sequence_loss` `[batch, window_size, targets]`.
#[derive(Debug)]
pub struct Lstm {
    window: Window,
    stack: Stack,
}

impl Lstm {
    /// Builds the model for the shapes in `data`. Its weights are `lstm.LAYER.kernel`, `.recurrent_kernel` and `.bias` (see
    /// [`text_recognizer::nn::Recurrent::new`]); `dense.weight` and `dense.bias`.
    ///
    /// # Errors
    /// Fails if `data` does not have the shapes of windows, or if a value of `config` is impossible.
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
