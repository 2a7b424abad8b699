//! Layer normalization.

use tch::Tensor;
use tch::kind::FLOAT_CPU;

use crate::error::Result;
use crate::nn::Parameters;

/// Layer normalization over the last dimension (Ba et al., "Layer Normalization", 2016), as PyTorch's `nn.LayerNorm`.
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    /// The value that is added to the variance: PyTorch's default.
    const EPSILON: f64 = 1e-5;

    /// Creates the layer, and adds `NAME.weight` (`[size]`, ones) and `NAME.bias` (`[size]`, zeros) to `parameters`.
    ///
    /// # Errors
    /// Fails if the name is taken or memory does not hold the weights.
    pub fn new(parameters: &mut Parameters, name: &str, size: i64) -> Result<Self> {
        Ok(Self {
            weight: parameters.add(format!("{name}.weight"), Tensor::f_ones([size], FLOAT_CPU)?)?,
            bias: parameters.add(format!("{name}.bias"), Tensor::f_zeros([size], FLOAT_CPU)?)?,
        })
    }

    /// Computes `x: [..., size] -> [..., size]`.
    ///
    /// # Errors
    /// Fails if the last dimension of `x` is not `size`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        Ok(x.f_layer_norm(self.weight.size(), weight, bias, Self::EPSILON, true)?)
    }
}
