//! The fully connected layer.

use tch::Tensor;
use tch::kind::FLOAT_CPU;

use crate::error::Result;
use crate::nn::{ForwardContext, Parameters, init};

/// `y = x Wᵀ + b`.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// Adds `NAME.weight` (`[outputs, inputs]`) and `NAME.bias` (`[outputs]`), initialised as PyTorch does.
    ///
    /// # Errors
    /// When the name is taken, or memory does not hold the weights.
    pub fn new(parameters: &mut Parameters, name: &str, inputs: i64, outputs: i64) -> Result<Self> {
        let weight = init::linear_weight(parameters.generator(), outputs, inputs)?;
        let bias = init::linear_bias(parameters.generator(), outputs, inputs)?;
        let weight = parameters.add(format!("{name}.weight"), weight)?;
        let bias = parameters.add(format!("{name}.bias"), bias)?;
        Ok(Self { weight, bias })
    }

    /// As [`Linear::new`], initialised as Keras' `Dense`: [`init::glorot_uniform`] and zeros. The weight is the transpose
    /// of Keras' kernel.
    ///
    /// # Errors
    /// When the name is taken, or memory does not hold the weights.
    pub fn glorot(parameters: &mut Parameters, name: &str, inputs: i64, outputs: i64) -> Result<Self> {
        let weight = init::glorot_uniform(parameters.generator(), &[outputs, inputs], inputs, outputs)?;
        Ok(Self {
            weight: parameters.add(format!("{name}.weight"), weight)?,
            bias: parameters.add(format!("{name}.bias"), Tensor::zeros([outputs], FLOAT_CPU))?,
        })
    }

    /// `x: [..., inputs] -> [..., outputs]`.
    ///
    /// # Errors
    /// When the last dimension of `x` is not `inputs`.
    pub fn forward(&self, x: &Tensor, context: &ForwardContext) -> Result<Tensor> {
        context.linear(x, &self.weight, &self.bias)
    }
}
