//! What one pass through a model carries along: dropout noise, who watches the layers, and hand-written gradients.

use tch::{Kind, Tensor};

use super::custom_op::{BackwardFn, CustomOps};
use super::dropout::dropout_mask;
use crate::error::Result;
use crate::rng;

/// Sees the output of each layer as it is computed.
pub type Observer<'a> = Box<dyn FnMut(&str, &Tensor) + 'a>;

/// One pass through a model.
#[derive(Default)]
pub struct ForwardContext<'a> {
    /// `Some(key)` in training.
    noise: Option<u64>,
    draws: u64,
    observer: Option<Observer<'a>>,
    custom_ops: CustomOps,
    matmul_kind: Option<Kind>,
}

impl std::fmt::Debug for ForwardContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForwardContext")
            .field("noise", &self.noise)
            .field("custom_ops", &self.custom_ops.len())
            .finish()
    }
}

impl<'a> ForwardContext<'a> {
    /// A pass in training, whose noise is a pure function of `(seed, step)`.
    pub fn train(seed: u64, step: u64) -> Self {
        Self { noise: Some(rng::key(seed, &[step])), ..Self::default() }
    }

    /// Gives each of several processes its own dropout noise, a pure function of `(seed, step, rank)`; that of rank 0 is the
    /// noise of a single process. Has no effect on a pass in evaluation.
    pub fn rank(mut self, rank: usize) -> Self {
        if rank > 0 {
            self.noise = self.noise.map(|noise| rng::key(noise, &[rank as u64]));
        }
        self
    }

    /// A pass without noise.
    pub fn eval() -> Self {
        Self::default()
    }

    /// Has `observer` see every layer's output.
    pub fn observed(mut self, observer: Observer<'a>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Has matrix products done in `kind` (bfloat16, say), and everything else in the kind of the parameters.
    pub fn matmul_kind(mut self, kind: Option<Kind>) -> Self {
        self.matmul_kind = kind;
        self
    }

    /// `x Wᵀ + b`: `x: [..., inputs] -> [..., outputs]`.
    ///
    /// # Errors
    /// When the last dimension of `x` is not the weight's `inputs`.
    pub fn linear(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let Some(kind) = self.matmul_kind else {
            return Ok(x.f_linear(weight, Some(bias))?);
        };
        let product = x.f_to_kind(kind)?.f_linear(&weight.f_to_kind(kind)?, None::<&Tensor>)?;
        Ok(product.f_to_kind(bias.kind())?.f_add(bias)?)
    }

    /// Whether this is a pass in training.
    pub fn is_training(&self) -> bool {
        self.noise.is_some()
    }

    /// Names the output of a layer, for whoever watches; returns it as it came.
    pub fn layer(&mut self, name: &str, output: Tensor) -> Tensor {
        if let Some(observer) = &mut self.observer {
            observer(name, &output);
        }
        output
    }

    /// Inverted dropout: in training, zeroes each element with probability `p` and scales the rest by `1 / (1 - p)`.
    ///
    /// # Errors
    /// When libtorch refuses, for example for lack of memory.
    pub fn dropout(&mut self, x: Tensor, p: f64) -> Result<Tensor> {
        let Some(noise) = self.noise.filter(|_| p > 0.0) else {
            return Ok(x);
        };
        self.draws += 1;
        let mask = dropout_mask(&x.size(), p, rng::key(noise, &[self.draws]), x.kind(), x.device());
        Ok(x.f_mul(&mask)?)
    }

    /// Enters a computation done outside of autograd. `inputs` are the tensors that get gradients: parameters,
    /// earlier kernels' outputs or anything computed from them. Returns the handle to compute on with.
    pub fn custom_op(&mut self, inputs: Vec<Tensor>, output: Tensor, backward: BackwardFn) -> Tensor {
        self.custom_ops.add(inputs, output, backward)
    }

    /// The gradients of `loss` with respect to `parameters`, fresh tensors in their order; zeros where a parameter
    /// has no part in the loss.
    ///
    /// # Errors
    /// When the loss is not a scalar that depends on a parameter.
    pub fn gradients(self, loss: &Tensor, parameters: &[Tensor]) -> Result<Vec<Tensor>> {
        self.custom_ops.gradients(loss, parameters)
    }
}

/// Whether every element is finite. Synchronises with the device.
pub fn is_finite(tensor: &Tensor) -> bool {
    !tensor.is_floating_point() || tensor.isfinite().all().to_kind(Kind::Int64).int64_value(&[]) == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(values: &[f32]) -> Tensor {
        Tensor::from_slice(values).set_requires_grad(true)
    }

    #[test]
    fn dropout_is_replayed_by_step_and_absent_from_evaluation() {
        let x = || Tensor::ones([64, 64], tch::kind::FLOAT_CPU);
        let draw = |step| ForwardContext::train(1, step).dropout(x(), 0.5).unwrap();
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
        assert_eq!(ForwardContext::eval().dropout(x(), 0.5).unwrap(), x());
        let mut context = ForwardContext::train(1, 3);
        assert_ne!(context.dropout(x(), 0.5).unwrap(), context.dropout(x(), 0.5).unwrap());
    }

    #[test]
    fn rank_above_0_changes_dropout_and_rank_0_does_not() {
        let x = || Tensor::ones([64, 64], tch::kind::FLOAT_CPU);
        let draw = |context: ForwardContext| {
            let mut context = context;
            context.dropout(x(), 0.5).unwrap()
        };
        let ranks: Vec<_> = (0..3).map(|rank| draw(ForwardContext::train(1, 3).rank(rank))).collect();
        assert_eq!(ranks[0], draw(ForwardContext::train(1, 3)));
        assert!(ranks[0] != ranks[1] && ranks[0] != ranks[2] && ranks[1] != ranks[2]);
        assert_eq!(ranks[2], draw(ForwardContext::train(1, 3).rank(2)));
        // No rank repeats the noise of a later draw of rank 0.
        let mut first = ForwardContext::train(1, 3);
        assert!((0..4).all(|_| first.dropout(x(), 0.5).unwrap() != ranks[1]));
        assert_eq!(draw(ForwardContext::eval().rank(1)), x());
    }

    /// y = sum(square(square(w * a) * b)), once by autograd and once with both squares as kernels.
    #[test]
    fn kernels_chain_with_autograd_and_each_other() {
        let square = |ctx: &mut ForwardContext, x: Tensor| {
            let (out, saved) = (x.detach().square(), x.detach());
            ctx.custom_op(vec![x], out, Box::new(move |grad| Ok(vec![grad * 2.0 * saved])))
        };
        let (w, a, b) = (leaf(&[1.0, 2.0]), leaf(&[3.0, -1.0]), leaf(&[0.5, 2.0]));
        let loss = ((&w * &a).square() * &b).square().sum(Kind::Float);
        let expected = Tensor::run_backward(&[loss], &[&w, &a, &b], false, false);

        let mut context = ForwardContext::eval();
        let inner = square(&mut context, &w * &a);
        let outer = square(&mut context, inner * &b);
        let got = context.gradients(&outer.sum(Kind::Float), &[w, a, b]).unwrap();
        assert_eq!(got, expected);
    }

    #[test]
    fn a_kernel_may_feed_a_kernel_and_take_parameters_directly() {
        let (w, v) = (leaf(&[1.0, 2.0]), leaf(&[3.0, -1.0]));
        let mut context = ForwardContext::eval();
        let product = |context: &mut ForwardContext, x: &Tensor, y: &Tensor| {
            let (a, b) = (x.detach(), y.detach());
            let inputs = vec![x.shallow_clone(), y.shallow_clone()];
            context.custom_op(inputs, &a * &b, Box::new(move |grad| Ok(vec![grad * b, grad * a])))
        };
        let first = product(&mut context, &w, &v);
        let second = product(&mut context, &first, &w); // w^2 v
        let unused = leaf(&[1.0]);
        let got = context.gradients(&second.sum(Kind::Float), &[w, v, unused]).unwrap();
        assert_eq!(Vec::<f32>::try_from(&got[0]).unwrap(), [6.0, -4.0]);
        assert_eq!(Vec::<f32>::try_from(&got[1]).unwrap(), [1.0, 4.0]);
        assert_eq!(Vec::<f32>::try_from(&got[2]).unwrap(), [0.0]);
    }

    #[test]
    fn layers_are_seen_in_order() {
        let mut seen = Vec::new();
        let mut context =
            ForwardContext::eval().observed(Box::new(|name, y| seen.push((name.to_owned(), y.size()))));
        let _ = context.layer("fc1", Tensor::zeros([2, 3], tch::kind::FLOAT_CPU));
        let _ = context.layer("fc2", Tensor::zeros([2], tch::kind::FLOAT_CPU));
        drop(context);
        assert_eq!(seen, [("fc1".to_owned(), vec![2, 3]), ("fc2".to_owned(), vec![2])]);
    }
}
