//! The context of a forward pass: dropout noise, an observer of the layers, and hand-written gradients.

use tch::{Kind, Tensor};

use super::custom_op::{BackwardFn, CustomOps};
use super::dropout::dropout_mask;
use crate::error::Result;
use crate::rng;

/// A function that gets the name and the output of each layer as soon as it is computed.
pub type Observer<'a> = Box<dyn FnMut(&str, &Tensor) + 'a>;

/// The context of one forward pass.
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
    /// Creates the context of a pass in training; the dropout noise is a pure function of `(seed, step)`.
    pub fn train(seed: u64, step: u64) -> Self {
        Self { noise: Some(rng::key(seed, &[step])), ..Self::default() }
    }

    /// Makes the dropout noise a pure function of `(seed, step, rank)`, so that several processes have different noise. Rank 0
    /// has the noise of a single process. A pass in evaluation has no noise, so the rank has no effect.
    pub fn rank(mut self, rank: usize) -> Self {
        if rank > 0 {
            self.noise = self.noise.map(|noise| rng::key(noise, &[rank as u64]));
        }
        self
    }

    /// Creates the context of a pass in evaluation, which has no dropout.
    pub fn eval() -> Self {
        Self::default()
    }

    /// Calls `observer` with the output of every layer.
    pub fn observed(mut self, observer: Observer<'a>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Computes matrix products in `kind` (such as bfloat16), and everything else in the kind of the parameters.
    pub fn matmul_kind(mut self, kind: Option<Kind>) -> Self {
        self.matmul_kind = kind;
        self
    }

    /// Computes `x Wᵀ + b`: `x: [..., inputs] -> [..., outputs]`.
    ///
    /// # Errors
    /// Fails if the last dimension of `x` is not the number of inputs of `weight: [outputs, inputs]`.
    pub fn linear(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let Some(kind) = self.matmul_kind else {
            return Ok(x.f_linear(weight, Some(bias))?);
        };
        let product = x.f_to_kind(kind)?.f_linear(&weight.f_to_kind(kind)?, None::<&Tensor>)?;
        Ok(product.f_to_kind(bias.kind())?.f_add(bias)?)
    }

    /// Returns whether this is a pass in training.
    pub fn is_training(&self) -> bool {
        self.noise.is_some()
    }

    /// Passes the output of the layer `name` to the observer, and returns it unchanged.
    pub fn layer(&mut self, name: &str, output: Tensor) -> Tensor {
        if let Some(observer) = &mut self.observer {
            observer(name, &output);
        }
        output
    }

    /// Applies inverted dropout: in training, sets each element to zero with probability `p` and multiplies the others by
    /// `1 / (1 - p)`.
    ///
    /// # Errors
    /// Fails if libtorch does, for example for lack of memory.
    pub fn dropout(&mut self, x: Tensor, p: f64) -> Result<Tensor> {
        let Some(noise) = self.noise.filter(|_| p > 0.0) else {
            return Ok(x);
        };
        self.draws += 1;
        let mask = dropout_mask(&x.size(), p, rng::key(noise, &[self.draws]), x.kind(), x.device());
        Ok(x.f_mul(&mask)?)
    }

    /// Adds an operation that was computed outside of autograd, and returns its output, with which the forward pass continues.
    /// `inputs` are the tensors that get gradients: parameters, outputs of other custom operations, or anything computed from
    /// them.
    pub fn custom_op(&mut self, inputs: Vec<Tensor>, output: Tensor, backward: BackwardFn) -> Tensor {
        self.custom_ops.add(inputs, output, backward)
    }

    /// Returns the gradients of `loss` with respect to `parameters`, in their order; zeros for a parameter that the loss does not
    /// depend on.
    ///
    /// # Errors
    /// Fails if `loss` is not a scalar that depends on a parameter.
    pub fn gradients(self, loss: &Tensor, parameters: &[Tensor]) -> Result<Vec<Tensor>> {
        self.custom_ops.gradients(loss, parameters)
    }
}

/// Returns whether every element is finite. Synchronizes with the device.
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
    fn dropout_same_step_repeats_and_evaluation_has_none() {
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

    /// y = sum(square(square(w * a) * b)), once by autograd and once with both squares as custom operations.
    #[test]
    fn gradients_custom_ops_and_autograd_chain() {
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
    fn gradients_custom_op_of_custom_op_and_parameters_accumulate() {
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
    fn layer_observer_gets_outputs_in_order() {
        let mut seen = Vec::new();
        let mut context =
            ForwardContext::eval().observed(Box::new(|name, y| seen.push((name.to_owned(), y.size()))));
        let _ = context.layer("fc1", Tensor::zeros([2, 3], tch::kind::FLOAT_CPU));
        let _ = context.layer("fc2", Tensor::zeros([2], tch::kind::FLOAT_CPU));
        drop(context);
        assert_eq!(seen, [("fc1".to_owned(), vec![2, 3]), ("fc2".to_owned(), vec![2])]);
    }
}
