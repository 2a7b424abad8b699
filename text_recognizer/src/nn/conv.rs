//! Convolutions.

use tch::Tensor;
use tch::kind::FLOAT_CPU;

use crate::error::Result;
use crate::nn::{ForwardContext, Parameters, init};

/// Keras' `Conv1D(padding="causal")`: the output at a time step depends on that time step and earlier ones.
#[derive(Debug)]
pub struct CausalConv {
    /// `[kernel_size, features, filters]`
    kernel: Tensor,
    bias: Tensor,
}

impl CausalConv {
    /// Creates the layer with Keras' initial weights, and adds `NAME.kernel` (`[kernel_size, features, filters]`,
    /// [`init::glorot_uniform`]) and `NAME.bias` (`[filters]`, zeros) to `parameters`.
    ///
    /// # Errors
    /// Fails if the name is taken or memory does not hold the weights.
    pub fn new(
        parameters: &mut Parameters,
        name: &str,
        kernel_size: i64,
        features: i64,
        filters: i64,
    ) -> Result<Self> {
        let size = [kernel_size, features, filters];
        let fans = [features, filters].map(|channels| kernel_size.saturating_mul(channels));
        let kernel = init::glorot_uniform(parameters.generator(), &size, fans[0], fans[1])?;
        Ok(Self {
            kernel: parameters.add(format!("{name}.kernel"), kernel)?,
            bias: parameters.add(format!("{name}.bias"), Tensor::zeros([filters], FLOAT_CPU))?,
        })
    }

    /// Computes `x: [batch, steps, features] -> [batch, steps, filters]`.
    ///
    /// # Errors
    /// Fails if the last dimension of `x` is not `features`.
    pub fn forward(&self, x: &Tensor, context: &ForwardContext) -> Result<Tensor> {
        // A product of the patches with the kernel is faster than libtorch's convolution for these small sizes.
        let size = self.kernel.size(); // [kernel_size, features, filters]
        let padded = x.f_constant_pad_nd([0, 0, size[0] - 1, 0])?;
        let patches = padded.f_unfold(1, size[0], 1)?.f_transpose(2, 3)?; // [batch, steps, kernel_size, features]
        let kernel = self.kernel.f_flatten(0, 1)?.f_transpose(0, 1)?;
        context.linear(&patches.f_flatten(2, 3)?, &kernel, &self.bias)
    }
}
