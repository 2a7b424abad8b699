//! The fully connected layer.

use tch::Tensor;
use tch::kind::FLOAT_CPU;

use crate::error::Result;
use crate::nn::{ForwardContext, Parameters, init};

/// A fully connected layer: `y = x Wᵀ + b`.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// Creates the layer with PyTorch's initial weights, and adds `NAME.weight` (`[outputs, inputs]`) and `NAME.bias`
    /// (`[outputs]`) to `parameters`.
    ///
    /// # Errors
    /// Fails if the name is taken or memory does not hold the weights.
    pub fn new(parameters: &mut Parameters, name: &str, inputs: i64, outputs: i64) -> Result<Self> {
        let weight = init::linear_weight(parameters.generator(), outputs, inputs)?;
        let bias = init::linear_bias(parameters.generator(), outputs, inputs)?;
        let weight = parameters.add(format!("{name}.weight"), weight)?;
        let bias = parameters.add(format!("{name}.bias"), bias)?;
        Ok(Self { weight, bias })
    }

    /// Creates the layer with the initial weights of Keras' `Dense`: [`init::glorot_uniform`] and a bias of zeros. The weight is
    /// the transpose of Keras' kernel.
    ///
    /// # Errors
    /// Fails if the name is taken or memory does not hold the weights.
    pub fn glorot(parameters: &mut Parameters, name: &str, inputs: i64, outputs: i64) -> Result<Self> {
        let weight = init::glorot_uniform(parameters.generator(), &[outputs, inputs], inputs, outputs)?;
        Ok(Self {
            weight: parameters.add(format!("{name}.weight"), weight)?,
            bias: parameters.add(format!("{name}.bias"), Tensor::zeros([outputs], FLOAT_CPU))?,
        })
    }

    /// Computes `x: [..., inputs] -> [..., outputs]`.
    ///
    /// # Errors
    /// Fails if the last dimension of `x` is not `inputs`.
    pub fn forward(&self, x: &Tensor, context: &ForwardContext) -> Result<Tensor> {
        context.linear(x, &self.weight, &self.bias)
    }
}
