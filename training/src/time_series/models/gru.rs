//! Layers of gated recurrent units (GRU).

use tch::Tensor;
use text_recognizer::Result;
use text_recognizer::data::DataSpec;
use text_recognizer::models::Model;
use text_recognizer::nn::{Cell, ForwardContext, Parameters, Placement};

use super::stack::Stack;
use super::{GatedConfig, Window};

/// GRU layers, a dense layer and a fixed scale.
/// `x: [batch, window_size, features] -> [batch, horizon, targets]`, with `sequence_loss` `[batch, window_size, targets]`.
#[derive(Debug)]
pub struct Gru {
    window: Window,
    stack: Stack,
}

impl Gru {
    /// Builds the model for the shapes in `data`. Its weights are `gru.LAYER.kernel`, `.recurrent_kernel` and `.bias` (see
    /// [`text_recognizer::nn::Recurrent::new`]); `dense.weight` and `dense.bias`.
    ///
    /// # Errors
    /// Fails if `data` does not have the shapes of windows, or if a value of `config` is impossible.
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
