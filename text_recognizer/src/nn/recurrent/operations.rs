//! The recurrent layers with operations of libtorch, for every device and kind.

use tch::Tensor;

use super::{Cell, Direction, Output};
use crate::error::Result;

/// Computes one direction of a layer time step by time step, with gradients by autograd.
pub(super) fn forward(cell: Cell, weights: &Direction, x: &Tensor, output: Output) -> Result<Tensor> {
    let (batch, steps) = (x.size()[0], x.size()[1]);
    let mut h = Tensor::f_zeros([batch, weights.recurrent.size()[0]], (x.kind(), x.device()))?;
    let mut c = h.shallow_clone();
    let mut outputs = Vec::new();
    let biases = weights.bias.f_view([cell.biases() as i64, -1])?;
    let from_x = x.f_matmul(&weights.kernel)?.f_add(&biases.f_select(0, 0)?)?; // [batch, steps, gates * units]
    for step in 0..steps {
        let time = if weights.reverse { steps - 1 - step } else { step };
        let from_x = from_x.f_select(1, time)?;
        let from_h = h.f_matmul(&weights.recurrent)?;
        match cell {
            Cell::Rnn => h = (from_x + from_h).f_tanh()?,
            Cell::Lstm => {
                let gates = (from_x + from_h).f_chunk(4, 1)?;
                c = gates[1].f_sigmoid()? * c + gates[0].f_sigmoid()? * gates[2].f_tanh()?;
                h = gates[3].f_sigmoid()? * c.f_tanh()?;
            }
            Cell::Gru => {
                let from_x = from_x.f_chunk(3, 1)?;
                let from_h = (from_h + biases.f_select(0, 1)?).f_chunk(3, 1)?;
                let z = from_x[0].f_add(&from_h[0])?.f_sigmoid()?;
                let r = from_x[1].f_add(&from_h[1])?.f_sigmoid()?;
                let candidate = from_x[2].f_add(&(r * &from_h[2]))?.f_tanh()?;
                h = &z * &h + (1.0 - &z) * candidate;
            }
        }
        if output == Output::Sequence {
            outputs.push(h.shallow_clone());
        }
    }
    if output == Output::Last {
        return Ok(h);
    }
    if weights.reverse {
        outputs.reverse();
    }
    Ok(Tensor::f_stack(&outputs, 1)?)
}
