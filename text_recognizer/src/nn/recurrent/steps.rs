//! The forward and the backward pass of a batch through time, on the CPU.
//!
//! Steps are counted in the order of computation, so that a reversed layer differs only in the time that a step reads. Every
//! matrix is padded with columns of zeros to `width`, a multiple of the vector length; a padded unit has weights and bias 0, so
//! it stays 0 in every cell and gets no gradient. One step has each block (see [`Cell::blocks`]) for the whole batch,
//! `[batch, width]`, so that the computation for the units is a loop over contiguous memory.

use super::buffer::Buffer;
use super::cell::Cell;
use super::kernel::{Float, LANES, add_product};
use crate::simd::simd;

/// The sizes of one direction of a layer and of its batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub cell: Cell,
    pub batch: usize,
    pub steps: usize,
    pub inputs: usize,
    pub units: usize,
    /// Whether the layer reads the last time step first.
    pub reverse: bool,
    /// Whether the output has all steps, `[batch, steps, units]`, or only the last computed step, `[batch, units]`.
    pub sequence: bool,
}

/// The weights of one direction, in Keras' layout: `[inputs, gates * units]`, `[units, gates * units]`,
/// `[biases, gates * units]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weights<'a, T> {
    pub kernel: &'a [T],
    pub recurrent: &'a [T],
    pub bias: &'a [T],
}

/// Gradients in the shapes of [`Weights`], and the gradient of the input if it is needed.
#[derive(Debug)]
pub(super) struct Gradients<T: Float> {
    pub kernel: Buffer<T>,
    pub recurrent: Buffer<T>,
    pub bias: Buffer<T>,
    pub input: Option<Buffer<T>>,
}

/// The values of the forward pass that the backward pass needs.
#[derive(Debug)]
pub(super) struct Tape<T: Float> {
    /// `[steps, blocks, batch, width]`
    blocks: Buffer<T>,
    /// `[steps + 1, batch, width]`; the first step is zero.
    hidden: Buffer<T>,
    /// The same shape as `hidden` for LSTM, otherwise empty.
    memory: Buffer<T>,
}

impl Shape {
    fn width(&self) -> usize {
        padded(self.units)
    }

    fn gates(&self) -> usize {
        self.cell.gates().len()
    }

    /// Returns the number of elements of one block.
    fn block(&self) -> usize {
        self.batch * self.width()
    }

    /// Returns the number of elements of the memory cells of one step.
    fn memory(&self) -> usize {
        if self.cell == Cell::Lstm { self.block() } else { 0 }
    }

    /// Returns the time that a step reads.
    fn time(&self, step: usize) -> usize {
        if self.reverse { self.steps - 1 - step } else { step }
    }

    /// Returns the position of a step's output for the first sequence of the batch, and the distance to the next sequence;
    /// `None` for a step without output.
    fn output(&self, step: usize) -> Option<(usize, usize)> {
        if self.sequence {
            Some((self.time(step) * self.units, self.steps * self.units))
        } else {
            (step + 1 == self.steps).then_some((0, self.units))
        }
    }
}

fn padded(columns: usize) -> usize {
    columns.next_multiple_of(LANES)
}

/// Returns the elements of `index`, if every index has `size` elements.
fn part<T>(values: &[T], index: usize, size: usize) -> &[T] {
    &values[index * size..(index + 1) * size]
}

fn part_mut<T>(values: &mut [T], index: usize, size: usize) -> &mut [T] {
    &mut values[index * size..(index + 1) * size]
}

/// Converts `[rows, gates * units]` to one `[rows, padded(units)]` per gate.
fn by_gate<T: Float>(weights: &[T], rows: usize, gates: usize, units: usize) -> Buffer<T> {
    let width = padded(units);
    let mut out = Buffer::zeros(gates * rows * width);
    for (row, values) in weights.chunks_exact(gates * units).enumerate() {
        for (gate, values) in values.chunks_exact(units).enumerate() {
            let at = (gate * rows + row) * width;
            out[at..at + units].copy_from_slice(values);
        }
    }
    out
}

/// Computes the inverse of [`by_gate`].
fn from_gates<T: Float>(gates: &[T], rows: usize, count: usize, units: usize) -> Buffer<T> {
    let width = padded(units);
    let mut out = Buffer::new(rows * count * units);
    for (at, out) in out.chunks_exact_mut(units).enumerate() {
        let (row, gate) = (at / count, at % count);
        out.copy_from_slice(&gates[(gate * rows + row) * width..][..units]);
    }
    out
}

/// Converts `[rows, gates * units]` to one transposed `[units, padded(rows)]` per gate.
fn transposed_by_gate<T: Float>(weights: &[T], rows: usize, gates: usize, units: usize) -> Buffer<T> {
    let width = padded(rows);
    let mut out = Buffer::zeros(gates * units * width);
    for (row, values) in weights.chunks_exact(gates * units).enumerate() {
        for (column, &value) in values.iter().enumerate() {
            out[column * width + row] = value;
        }
    }
    out
}

simd! {
    /// Adds each row of `rows` to `sum`.
    pub(super) fn add_rows<T: Float; I>(sum: &mut [T], rows: &[T]) {
        for row in rows.chunks_exact(sum.len()) {
            for (sum, &value) in sum.iter_mut().zip(row) {
                *sum = *sum + value;
            }
        }
    }
}

/// Computes `output` (see [`Shape::sequence`]) of `x: [batch, steps, inputs]`, starting from zero state.
pub(super) fn forward<T: Float>(shape: &Shape, x: &[T], weights: &Weights<T>, output: &mut [T]) -> Tape<T> {
    let Shape { cell, batch, inputs, units, .. } = *shape;
    let (width, gates, block, memory) = (shape.width(), shape.gates(), shape.block(), shape.memory());
    let kernel = by_gate(weights.kernel, inputs, gates, units);
    let recurrent = by_gate(weights.recurrent, units, gates, units);
    let bias = block_bias(shape, weights.bias);
    let step_size = cell.blocks() * block;
    let mut tape = Tape {
        blocks: Buffer::new(shape.steps * step_size),
        hidden: Buffer::new((shape.steps + 1) * block),
        memory: Buffer::new((shape.steps + 1) * memory),
    };
    tape.hidden[..block].fill(T::of(0.0));
    tape.memory[..memory].fill(T::of(0.0));
    for step in 0..shape.steps {
        let blocks = part_mut(&mut tape.blocks, step, step_size);
        for (rows, bias) in blocks.chunks_exact_mut(block).zip(bias.chunks_exact(width)) {
            rows.chunks_exact_mut(width).for_each(|row| row.copy_from_slice(bias));
        }
        let (hidden, next_hidden) = tape.hidden[step * block..].split_at_mut(block);
        let (memories, next_memories) = tape.memory[step * memory..].split_at_mut(memory);
        let x = &x[shape.time(step) * inputs..];
        for (gate, &(from_x, from_h)) in cell.gates().iter().enumerate() {
            let weights = part(&kernel, gate, inputs * width);
            add_product(
                part_mut(blocks, from_x, block),
                x,
                [shape.steps * inputs, 1],
                weights,
                [batch, width, inputs],
            );
            if step > 0 {
                let weights = part(&recurrent, gate, units * width);
                add_product(
                    part_mut(blocks, from_h, block),
                    hidden,
                    [width, 1],
                    weights,
                    [batch, width, units],
                );
            }
        }
        let next = [&mut next_hidden[..block], &mut next_memories[..memory]];
        cell.forward(blocks, [hidden, memories], next);
        if let Some((start, stride)) = shape.output(step) {
            for (row, values) in next_hidden[..block].chunks_exact(width).enumerate() {
                output[start + row * stride..][..units].copy_from_slice(&values[..units]);
            }
        }
    }
    tape
}

/// Returns the initial value of each block, `[blocks, width]`: the bias.
fn block_bias<T: Float>(shape: &Shape, bias: &[T]) -> Buffer<T> {
    let width = shape.width();
    let mut blocks = Buffer::zeros(shape.cell.blocks() * width);
    let rows = by_gate(bias, shape.cell.biases(), shape.gates(), shape.units);
    for (gate, rows) in rows.chunks_exact(shape.cell.biases() * width).enumerate() {
        let (from_x, from_h) = shape.cell.gates()[gate];
        for (row, at) in rows.chunks_exact(width).zip([from_x, from_h]) {
            add_rows(part_mut(&mut blocks, at, width), row);
        }
    }
    blocks
}

/// Computes the gradients from the gradient of the output; that of the input only if `want_input`.
pub(super) fn backward<T: Float>(
    shape: &Shape,
    x: &[T],
    weights: &Weights<T>,
    mut tape: Tape<T>,
    output_grad: &[T],
    want_input: bool,
) -> Gradients<T> {
    let Shape { cell, batch, inputs, units, .. } = *shape;
    let (width, gates, block, memory) = (shape.width(), shape.gates(), shape.block(), shape.memory());
    let recurrent = transposed_by_gate(weights.recurrent, units, gates, units);
    let mut kernel_grad = Buffer::zeros(gates * inputs * width);
    let mut recurrent_grad = Buffer::zeros(gates * units * width);
    let mut bias_grad = Buffer::zeros(gates * cell.biases() * width);
    let mut input = want_input.then(|| InputGrad::new(shape, weights.kernel));
    let (mut dh, mut dc) = (Buffer::zeros(block), Buffer::zeros(memory));
    for step in (0..shape.steps).rev() {
        if let Some((start, stride)) = shape.output(step) {
            for (row, dh) in dh.chunks_exact_mut(width).enumerate() {
                add_rows(&mut dh[..units], &output_grad[start + row * stride..][..units]);
            }
        }
        let blocks = part_mut(&mut tape.blocks, step, cell.blocks() * block);
        let hidden = part(&tape.hidden, step, block);
        cell.backward(blocks, [hidden, part(&tape.memory, step, memory)], [&mut dh, &mut dc]);
        let x = &x[shape.time(step) * inputs..];
        for (gate, &(from_x, from_h)) in cell.gates().iter().enumerate() {
            let (d_x, d_h) = (part(blocks, from_x, block), part(blocks, from_h, block));
            let sum = part_mut(&mut kernel_grad, gate, inputs * width);
            add_product(sum, x, [1, shape.steps * inputs], d_x, [inputs, width, batch]);
            for (row, d) in [d_x, d_h][..cell.biases()].iter().enumerate() {
                add_rows(part_mut(&mut bias_grad, gate * cell.biases() + row, width), d);
            }
            if step > 0 {
                let sum = part_mut(&mut recurrent_grad, gate, units * width);
                add_product(sum, hidden, [1, width], d_h, [units, width, batch]);
                let weights = part(&recurrent, gate, units * width);
                add_product(&mut dh, d_h, [width, 1], weights, [batch, width, units]);
            }
        }
        if let Some(input) = &mut input {
            input.add_step(shape, step, blocks);
        }
    }
    Gradients {
        kernel: from_gates(&kernel_grad, inputs, gates, units),
        recurrent: from_gates(&recurrent_grad, units, gates, units),
        bias: from_gates(&bias_grad, cell.biases(), gates, units),
        input: input.map(|input| input.grad),
    }
}

/// The gradient of the input, which is computed step by step.
struct InputGrad<T: Float> {
    /// One `[units, padded(inputs)]` per gate.
    kernel: Buffer<T>,
    /// The gradient of one step: `[batch, padded(inputs)]`.
    rows: Buffer<T>,
    /// `[batch, steps, inputs]`
    grad: Buffer<T>,
}

impl<T: Float> InputGrad<T> {
    fn new(shape: &Shape, kernel: &[T]) -> Self {
        Self {
            kernel: transposed_by_gate(kernel, shape.inputs, shape.gates(), shape.units),
            rows: Buffer::zeros(shape.batch * padded(shape.inputs)),
            grad: Buffer::new(shape.batch * shape.steps * shape.inputs),
        }
    }

    fn add_step(&mut self, shape: &Shape, step: usize, blocks: &[T]) {
        let (inputs, width, columns) = (shape.inputs, shape.width(), padded(shape.inputs));
        self.rows.fill(T::of(0.0));
        for (gate, &(from_x, _)) in shape.cell.gates().iter().enumerate() {
            let d = part(blocks, from_x, shape.block());
            let weights = part(&self.kernel, gate, shape.units * columns);
            add_product(&mut self.rows, d, [width, 1], weights, [shape.batch, columns, shape.units]);
        }
        let rows = self.rows.chunks_exact(columns);
        for (row, grad) in rows.zip(self.grad.chunks_exact_mut(shape.steps * inputs)) {
            part_mut(grad, shape.time(step), inputs).copy_from_slice(&row[..inputs]);
        }
    }
}
