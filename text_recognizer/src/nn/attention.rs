//! Self-attention.

use tch::Tensor;
use tch::kind::FLOAT_CPU;

use crate::error::{Error, Result};
use crate::nn::{ForwardContext, Parameters, init};

/// Multi-head self-attention (Vaswani et al., "Attention Is All You Need", 2017), as PyTorch's `nn.MultiheadAttention` with the same
/// query, key and value, and without a mask.
#[derive(Debug)]
pub struct SelfAttention {
    heads: i64,
    /// The weights of the query, the key and the value, `[3 * size, size]`.
    in_weight: Tensor,
    /// `[3 * size]`
    in_bias: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
}

impl SelfAttention {
    /// Creates the layer with PyTorch's initial weights, and adds `NAME.in_proj_weight` (`[3 * size, size]`), `NAME.in_proj_bias`,
    /// `NAME.out_proj.weight` (`[size, size]`) and `NAME.out_proj.bias` to `parameters`.
    ///
    /// # Errors
    /// Fails if `size` is not a multiple of `heads`, the name is taken, or memory does not hold the weights.
    pub fn new(parameters: &mut Parameters, name: &str, size: i64, heads: i64) -> Result<Self> {
        if heads < 1 || size < 1 || size % heads != 0 {
            let expected = format!("a positive multiple of the number of heads, {heads}");
            return Err(Error::invalid(format!("the size of {name}"), size, expected));
        }
        // PyTorch draws the weights in this order, and then sets the biases to 0.
        let out_weight = init::linear_weight(parameters.generator(), size, size)?;
        let _ = init::linear_bias(parameters.generator(), size, size)?;
        let rows = size.saturating_mul(3);
        let in_weight = init::glorot_uniform(parameters.generator(), &[rows, size], size, rows)?;
        let zeros = |size: i64| Tensor::f_zeros([size], FLOAT_CPU);
        Ok(Self {
            heads,
            in_weight: parameters.add(format!("{name}.in_proj_weight"), in_weight)?,
            in_bias: parameters.add(format!("{name}.in_proj_bias"), zeros(rows)?)?,
            out_weight: parameters.add(format!("{name}.out_proj.weight"), out_weight)?,
            out_bias: parameters.add(format!("{name}.out_proj.bias"), zeros(size)?)?,
        })
    }

    /// Computes `x: [batch, steps, size] -> [batch, steps, size]`.
    ///
    /// # Errors
    /// Fails if `x` has another shape.
    pub fn forward(&self, x: &Tensor, context: &ForwardContext) -> Result<Tensor> {
        let [batch, steps, size] = x.size()[..] else {
            return Err(Error::shape("self-attention", "[batch, steps, size]", &x.size()));
        };
        let head = size / self.heads;
        let all = context.linear(x, &self.in_weight, &self.in_bias)?;
        // [3, batch, heads, steps, head]
        let all = all.f_view([batch, steps, 3, self.heads, head])?.f_permute([2, 0, 3, 1, 4])?;
        let part = |at: i64| all.f_select(0, at);
        let query = part(0)?.f_mul_scalar((head as f64).sqrt().recip())?;
        let scores = query.f_matmul(&part(1)?.f_transpose(2, 3)?)?; // [batch, heads, steps, steps]
        let mixed = scores.f_softmax(-1, None)?.f_matmul(&part(2)?)?; // [batch, heads, steps, head]
        let joined = mixed.f_transpose(1, 2)?.f_reshape([batch, steps, size])?;
        context.linear(&joined, &self.out_weight, &self.out_bias)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Placement;

    #[test]
    fn size_that_heads_do_not_divide_is_an_error() {
        for (size, heads) in [(16, 3), (16, 0), (0, 4), (-4, 4)] {
            let mut parameters = Parameters::new(Placement::cpu(0));
            let error = SelfAttention::new(&mut parameters, "a", size, heads).unwrap_err().to_string();
            assert!(
                error.contains(&format!("the size of a is {size}: expected a positive multiple")),
                "{error}"
            );
        }
    }
}
