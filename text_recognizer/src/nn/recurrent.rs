//! Recurrent layers with the formulas, weight layouts and initial weights of Keras.

use tch::kind::{Element, FLOAT_CPU};
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::nn::{ForwardContext, Parameters, init};
use crate::tensor::{disjoint, values};

mod buffer;
mod cell;
mod kernel;
mod operations;
mod steps;
#[cfg(test)]
mod tests;

pub use cell::Cell;
use kernel::Float;
use steps::{Shape, Weights};

/// The output of a recurrent layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The states of all time steps, `[batch, steps, outputs]`.
    Sequence,
    /// The last state of each direction, `[batch, outputs]`.
    Last,
}

/// A layer of recurrent cells over a batch of sequences, starting from zero state.
///
/// On the CPU, in single and double precision, kernels of this crate compute the forward and the backward pass. On other
/// devices and in other kinds, operations of libtorch compute it time step by time step. In both cases a result is a pure
/// function of the arguments; its last digits depend on the processor.
#[derive(Debug)]
pub struct Recurrent {
    cell: Cell,
    name: String,
    inputs: i64,
    units: i64,
    directions: Vec<Direction>,
}

/// The weights of one direction.
#[derive(Debug)]
struct Direction {
    /// `[inputs, gates * units]`
    kernel: Tensor,
    /// `[units, gates * units]`
    recurrent: Tensor,
    /// `[gates * units]`; for GRU `[2, 3 * units]`
    bias: Tensor,
    reverse: bool,
}

impl Recurrent {
    /// Creates the layer, and adds its weights to `parameters`: `NAME.kernel` (`[inputs, gates * units]`),
    /// `NAME.recurrent_kernel` (`[units, gates * units]`) and `NAME.bias` (`[gates * units]`; for GRU `[2, 3 * units]`). A
    /// bidirectional layer has the same weights again under `NAME.backward`. The layouts and the order of the gates (see
    /// [`Cell`]) are those of Keras, so weights of Keras can be copied without changes.
    ///
    /// The initial weights are those of Keras: [`init::glorot_uniform`] over all gates for kernels, [`init::orthogonal`] for
    /// recurrent kernels, and 0 for biases, except 1 for the forget gate of LSTM (`unit_forget_bias`).
    ///
    /// # Errors
    /// Fails if `inputs` or `units` is less than 1, a name is taken, or memory does not hold the weights.
    pub fn new(
        parameters: &mut Parameters,
        name: &str,
        cell: Cell,
        inputs: i64,
        units: i64,
        bidirectional: bool,
    ) -> Result<Self> {
        for (what, size) in [("inputs", inputs), ("units", units)] {
            if size < 1 {
                return Err(Error::invalid(format!("{what} of {name}"), size, "at least 1"));
            }
        }
        let mut directions = vec![Direction::new(parameters, name, cell, [inputs, units], false)?];
        if bidirectional {
            let name = format!("{name}.backward");
            directions.push(Direction::new(parameters, &name, cell, [inputs, units], true)?);
        }
        Ok(Self { cell, name: name.to_owned(), inputs, units, directions })
    }

    /// Returns the last dimension of the output: the number of units, doubled for a bidirectional layer.
    pub fn outputs(&self) -> i64 {
        self.units * self.directions.len() as i64
    }

    /// Computes `x: [batch, steps, inputs] -> [batch, steps, outputs]` or `[batch, outputs]`. In the output of a bidirectional
    /// layer, the units of the reversed direction come second; their last state is that of the first time step of `x`.
    ///
    /// # Errors
    /// Fails if `x` has another shape or no time steps.
    pub fn forward(&self, x: &Tensor, output: Output, context: &mut ForwardContext) -> Result<Tensor> {
        if !matches!(x.size()[..], [_, steps, inputs] if steps > 0 && inputs == self.inputs) {
            let expected = format!("[batch, at least 1 step, {}]", self.inputs);
            return Err(Error::shape(self.name.as_str(), expected, &x.size()));
        }
        let run = |direction: &Direction, context: &mut ForwardContext| {
            let done = match (x.device(), x.kind()) {
                (Device::Cpu, Kind::Float) => self.by_kernel::<f32>(direction, x, output, context)?,
                (Device::Cpu, Kind::Double) => self.by_kernel::<f64>(direction, x, output, context)?,
                _ => None,
            };
            done.map_or_else(|| operations::forward(self.cell, direction, x, output), Ok)
        };
        match &self.directions[..] {
            [one] => run(one, context),
            both => {
                let outputs =
                    both.iter().map(|direction| run(direction, context)).collect::<Result<Vec<_>>>()?;
                Ok(Tensor::f_cat(&outputs, -1)?)
            }
        }
    }

    /// Computes one direction with the kernels. Returns `None` if they do not support the tensors: not contiguous, empty, not on
    /// the CPU, or of another kind.
    fn by_kernel<T: Float + Element>(
        &self,
        direction: &Direction,
        x: &Tensor,
        output: Output,
        context: &mut ForwardContext,
    ) -> Result<Option<Tensor>> {
        let shape = Shape {
            cell: self.cell,
            batch: x.size()[0] as usize,
            steps: x.size()[1] as usize,
            inputs: self.inputs as usize,
            units: self.units as usize,
            reverse: direction.reverse,
            sequence: output == Output::Sequence,
        };
        let want_input = x.requires_grad();
        let (mut inputs, saved) = (direction.tensors(), direction.tensors());
        if want_input {
            inputs.push(x.shallow_clone());
        }
        let x = x.f_detach()?.f_contiguous()?;
        let size = match output {
            Output::Sequence => vec![x.size()[0], x.size()[1], self.units],
            Output::Last => vec![x.size()[0], self.units],
        };
        let mut result = Tensor::f_zeros(&size, (x.kind(), x.device()))?;
        let (Some(weights), Some(([result_values], x_values))) =
            (read_weights(&saved), disjoint::<T, 1>([&mut result], &x))
        else {
            return Ok(None);
        };
        let tape = steps::forward(&shape, x_values, &weights, result_values);
        let backward = move |grad: &Tensor| {
            let grad = grad.f_contiguous()?;
            let (Some(x_values), Some(weights), Some(grad)) =
                (values::<T>(&x), read_weights(&saved), values::<T>(&grad))
            else {
                let expected = format!("{size:?} of {:?}", x.kind());
                return Err(Error::shape("the gradient of a recurrent layer", expected, &grad.size()));
            };
            let grads = steps::backward(&shape, x_values, &weights, tape, grad, want_input);
            let grads = [grads.kernel, grads.recurrent, grads.bias].into_iter().chain(grads.input);
            let like = saved.iter().chain([&x]);
            grads.zip(like).map(|(grad, like)| Ok(Tensor::f_from_slice(&grad)?.f_view_as(like)?)).collect()
        };
        Ok(Some(context.custom_op(inputs, result, Box::new(backward))))
    }
}

/// Returns the values of [`Direction::tensors`], if the kernels support them.
fn read_weights<T: Float>(tensors: &[Tensor]) -> Option<Weights<'_, T>> {
    match tensors {
        [kernel, recurrent, bias] => {
            Some(Weights { kernel: values(kernel)?, recurrent: values(recurrent)?, bias: values(bias)? })
        }
        _ => None,
    }
}

impl Direction {
    fn new(
        parameters: &mut Parameters,
        name: &str,
        cell: Cell,
        [inputs, units]: [i64; 2],
        reverse: bool,
    ) -> Result<Self> {
        let columns = (cell.gates().len() as i64).saturating_mul(units);
        let kernel = init::glorot_uniform(parameters.generator(), &[inputs, columns], inputs, columns)?;
        let recurrent = init::orthogonal(parameters.generator(), units, columns)?;
        let bias = match cell {
            Cell::Rnn => Tensor::zeros([columns], FLOAT_CPU),
            Cell::Lstm => {
                let bias = Tensor::zeros([columns], FLOAT_CPU);
                let _ = bias.narrow(0, units, units).fill_(1.0);
                bias
            }
            Cell::Gru => Tensor::zeros([2, columns], FLOAT_CPU),
        };
        Ok(Self {
            kernel: parameters.add(format!("{name}.kernel"), kernel)?,
            recurrent: parameters.add(format!("{name}.recurrent_kernel"), recurrent)?,
            bias: parameters.add(format!("{name}.bias"), bias)?,
            reverse,
        })
    }

    fn tensors(&self) -> Vec<Tensor> {
        let tensors = [&self.kernel, &self.recurrent, &self.bias];
        tensors.into_iter().map(Tensor::shallow_clone).collect()
    }
}
