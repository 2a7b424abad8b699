//! Operations with a hand-written backward pass, outside of libtorch's autograd.

use tch::Tensor;

use crate::error::Result;

/// A function that computes the gradients of an operation's inputs, in their order, from the gradient of its output.
pub type BackwardFn = Box<dyn FnOnce(&Tensor) -> Result<Vec<Tensor>>>;

/// An operation outside of autograd: its output is a leaf of autograd's graph, and `backward` computes the gradients of its
/// inputs.
struct CustomOp {
    inputs: Vec<Tensor>,
    output: Tensor,
    backward: BackwardFn,
}

/// The custom operations of one forward pass, in the order of computation.
#[derive(Default)]
pub(super) struct CustomOps(Vec<CustomOp>);

impl CustomOps {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds an operation and returns its output, with which the forward pass continues.
    pub fn add(&mut self, inputs: Vec<Tensor>, output: Tensor, backward: BackwardFn) -> Tensor {
        let output = output.detach().set_requires_grad(true);
        self.0.push(CustomOp { inputs, output: output.shallow_clone(), backward });
        output
    }

    /// Returns the gradients of `loss` with respect to `parameters`: autograd computes them down to the outputs of the custom
    /// operations, then each operation's own backward pass continues, from the last to the first.
    pub fn gradients(self, loss: &Tensor, parameters: &[Tensor]) -> Result<Vec<Tensor>> {
        let mut leaves: Vec<Tensor> = parameters.iter().map(Tensor::shallow_clone).collect();
        leaves.extend(self.0.iter().map(|op| op.output.shallow_clone()));
        // The inputs of an operation may share a part of their graph with the loss, which is then used more than once.
        let keep_graph = !self.0.is_empty();
        let mut grads = Tensor::f_run_backward(&[loss], &leaves, keep_graph, false)?;
        for op in self.0.into_iter().rev() {
            let (Some(grad), Some(_)) = (grads.pop(), leaves.pop()) else {
                break;
            };
            if !grad.defined() {
                continue;
            }
            let input_grads = (op.backward)(&grad)?;
            let mut upstream: Option<Tensor> = None;
            for (input, grad) in op.inputs.iter().zip(input_grads) {
                if let Some(at) =
                    leaves.iter().position(|leaf| leaf.data_ptr() == input.data_ptr() && input.is_leaf())
                {
                    accumulate(&mut grads[at], grad)?;
                } else if input.requires_grad() {
                    // Autograd continues from here: the gradient of this sum with respect to `input` is `grad`.
                    let sum = input.f_mul(&grad)?.f_sum(input.kind())?;
                    upstream = Some(match upstream {
                        Some(other) => other.f_add(&sum)?,
                        None => sum,
                    });
                }
            }
            if let Some(objective) = upstream {
                let more = Tensor::f_run_backward(&[objective], &leaves, keep_graph, false)?;
                for (total, grad) in grads.iter_mut().zip(more) {
                    accumulate(total, grad)?;
                }
            }
        }
        let filled = grads.into_iter().zip(parameters);
        filled.map(|(grad, p)| Ok(if grad.defined() { grad } else { p.f_zeros_like()? })).collect()
    }
}

/// Adds `grad` to `total`; an undefined tensor counts as zero.
fn accumulate(total: &mut Tensor, grad: Tensor) -> Result<()> {
    if grad.defined() {
        *total = if total.defined() { total.f_add(&grad)? } else { grad };
    }
    Ok(())
}
