//! Causal convolutions with weight normalization.

use tch::Tensor;

use crate::error::{Error, Result};
use crate::nn::{Parameters, init};

/// A causal convolution over time with weight normalization (Salimans and Kingma, "Weight Normalization", 2016), as PyTorch's
/// `nn.Conv1d` with `weight_norm` and zeros before the first time step. The output at a time step depends on that time step and
/// earlier ones.
#[derive(Debug)]
pub struct WeightNormConv {
    /// The length of the kernel of each filter, `[filters, 1, 1]`.
    length: Tensor,
    /// The direction of the kernel of each filter, `[filters, channels, kernel_size]`.
    direction: Tensor,
    bias: Tensor,
}

impl WeightNormConv {
    /// Creates the layer with PyTorch's initial weights, and adds `NAME.weight_g` (`[filters, 1, 1]`), `NAME.weight_v`
    /// (`[filters, channels, kernel_size]`) and `NAME.bias` (`[filters]`) to `parameters`. The kernel of a filter is
    /// `weight_g * weight_v / |weight_v|`.
    ///
    /// # Errors
    /// Fails if the name is taken or memory does not hold the weights.
    pub fn new(
        parameters: &mut Parameters,
        name: &str,
        [kernel_size, channels, filters]: [i64; 3],
    ) -> Result<Self> {
        let inputs = channels.saturating_mul(kernel_size);
        let direction = init::linear_weight(parameters.generator(), filters, inputs)?;
        let bias = init::linear_bias(parameters.generator(), filters, inputs)?;
        let length = direction.f_norm_scalaropt_dim(2, 1, true)?.f_unsqueeze(2)?;
        let direction = direction.f_view([filters, channels, kernel_size])?;
        Ok(Self {
            length: parameters.add(format!("{name}.weight_g"), length)?,
            direction: parameters.add(format!("{name}.weight_v"), direction)?,
            bias: parameters.add(format!("{name}.bias"), bias)?,
        })
    }

    /// Computes `x: [batch, channels, steps] -> [batch, filters, outputs]`. The outputs are those of the last time step and of each
    /// `stride`-th one before it, in the order of time: `steps / stride`, rounded up. A convolution with dilation over all time steps
    /// is this one over each `dilation`-th time step.
    ///
    /// # Errors
    /// Fails if `stride` is below 1, if the second dimension of `x` is not `channels`, or if `x` has no time steps.
    pub fn forward(&self, x: &Tensor, stride: i64) -> Result<Tensor> {
        let [_, _, steps] = x.size()[..] else {
            return Err(Error::shape("a convolution over time", "[batch, channels, steps]", &x.size()));
        };
        let weight = Tensor::f_internal_weight_norm(&self.direction, &self.length, 0)?;
        // The first output is then at the time step (steps - 1) % stride, and the last one at the last time step.
        let before = self.direction.size()[2] - 1 - (steps - 1).checked_rem(stride).unwrap_or(0);
        let padded = x.f_constant_pad_nd([before, 0])?;
        Ok(padded.f_conv1d(&weight, Some(&self.bias), stride, 0, 1, 1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Placement;
    use tch::Kind;

    fn conv(kernel_size: i64) -> WeightNormConv {
        WeightNormConv::new(&mut Parameters::new(Placement::cpu(0)), "conv", [kernel_size, 2, 4]).unwrap()
    }

    #[test]
    fn output_depends_on_the_time_steps_of_the_kernel_only() {
        let (conv, x) = (conv(3), Tensor::randn([1, 2, 8], tch::kind::FLOAT_CPU));
        let y = conv.forward(&x, 1).unwrap();
        assert_eq!(y.size(), [1, 4, 8]);
        let changed = x.copy();
        let _ = changed.narrow(2, 3, 1).fill_(9.0);
        let difference = (conv.forward(&changed, 1).unwrap() - y).abs();
        let difference = difference.sum_dim_intlist([0i64, 1].as_slice(), false, Kind::Float);
        let differs: Vec<bool> =
            Vec::<f32>::try_from(difference).unwrap().iter().map(|change| *change > 1e-4).collect();
        assert_eq!(differs, [false, false, false, true, true, true, false, false]);
    }

    #[test]
    fn outputs_with_a_stride_are_those_of_each_time_step_counted_from_the_last() {
        for kernel_size in [1, 2, 5] {
            let conv = conv(kernel_size);
            for steps in 1..9 {
                let x = Tensor::randn([3, 2, steps], tch::kind::FLOAT_CPU);
                let all = conv.forward(&x, 1).unwrap();
                for stride in 1..10 {
                    let expected = all.slice(2, (steps - 1) % stride, None, stride);
                    let got = conv.forward(&x, stride).unwrap();
                    assert_eq!(got.size(), expected.size());
                    assert!(got.allclose(&expected, 1e-5, 1e-6, false), "{kernel_size}, {steps}, {stride}");
                }
            }
        }
    }
}
