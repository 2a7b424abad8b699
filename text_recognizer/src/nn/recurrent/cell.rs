//! The cells: the computation of one time step for each unit, and its derivative.

use super::kernel::{Float, fma, sigmoid, tanh};
use crate::simd::simd;

/// The recurrent cells, with Keras' formulas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// `SimpleRNN`: `h = tanh(x W + h U + b)`.
    Rnn,
    /// `LSTM`: gates i, f, c, o in this order; `c = σ(f) c + σ(i) tanh(c̃)`, `h = σ(o) tanh(c)`.
    Lstm,
    /// `GRU` with `reset_after`: gates z, r, h in this order; `h̃ = tanh(x W + b₀ + σ(r) (h U + b₁))`,
    /// `h = σ(z) h + (1 - σ(z)) h̃`.
    Gru,
}

impl Cell {
    /// Returns for each gate, in the order of its columns in the weights, the block to which `x W` is added and the block to
    /// which `h U` is added. They differ if a cell needs the two products separately.
    pub(super) fn gates(self) -> &'static [(usize, usize)] {
        match self {
            Self::Rnn => &[(0, 0)],
            Self::Lstm => &[(0, 0), (1, 1), (2, 2), (3, 3)],
            Self::Gru => &[(0, 0), (1, 1), (2, 3)],
        }
    }

    /// Returns the number of blocks of `[batch, width]` that one time step keeps for the backward pass: those of the gates, and
    /// for LSTM tanh(c).
    pub(super) fn blocks(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Lstm => 5,
            Self::Gru => 4,
        }
    }

    /// Returns the rows of the bias: GRU has one for `x W` and one for `h U`.
    pub(super) fn biases(self) -> usize {
        if self == Self::Gru { 2 } else { 1 }
    }

    /// Computes one time step from the sums of the gates in `blocks`, and replaces them by the values that [`Cell::backward`]
    /// needs. `state` and `next` are `[h, c]` before and after the step.
    pub(super) fn forward<T: Float>(self, blocks: &mut [T], state: [&[T]; 2], next: [&mut [T]; 2]) {
        let size = state[0].len();
        match self {
            Self::Rnn => rnn(blocks, next[0]),
            Self::Lstm => {
                let [i, f, g, o, tanh_c] = split(blocks, size);
                let [next_h, next_c] = next;
                lstm(i, f, g, o, tanh_c, state[1], next_h, next_c);
            }
            Self::Gru => {
                let [z, r, x, h] = split(blocks, size);
                gru(z, r, x, h, state[0], next[0]);
            }
        }
    }

    /// Computes the derivative of [`Cell::forward`]: replaces `blocks` by the gradients of the sums. `grads` are the gradients of
    /// `[h, c]` after the step; they are replaced by those before it, without the contribution of the sums.
    pub(super) fn backward<T: Float>(self, blocks: &mut [T], state: [&[T]; 2], grads: [&mut [T]; 2]) {
        let size = state[0].len();
        let [dh, dc] = grads;
        match self {
            Self::Rnn => rnn_backward(blocks, dh),
            Self::Lstm => {
                let [i, f, g, o, tanh_c] = split(blocks, size);
                lstm_backward(i, f, g, o, tanh_c, state[1], dh, dc);
            }
            Self::Gru => {
                let [z, r, x, h] = split(blocks, size);
                gru_backward(z, r, x, h, state[0], dh);
            }
        }
    }
}

/// Splits `blocks` into `N` blocks of `size` elements.
fn split<T, const N: usize>(mut blocks: &mut [T], size: usize) -> [&mut [T]; N] {
    std::array::from_fn(|_| {
        let (first, rest) = std::mem::take(&mut blocks).split_at_mut(size);
        blocks = rest;
        first
    })
}

simd! {
    pub(super) fn rnn<T: Float; I>(sum: &mut [T], h: &mut [T]) {
        for (sum, h) in sum.iter_mut().zip(h) {
            *h = tanh::<T, I>(*sum);
            *sum = *h;
        }
    }
}

simd! {
    pub(super) fn rnn_backward<T: Float; I>(h: &mut [T], dh: &mut [T]) {
        for (h, dh) in h.iter_mut().zip(dh) {
            *h = *dh * (T::of(1.0) - *h * *h);
            *dh = T::of(0.0);
        }
    }
}

simd! {
    #[allow(clippy::too_many_arguments, reason = "a kernel takes its blocks one by one")]
    pub(super) fn lstm<T: Float; I>(
        i: &mut [T], f: &mut [T], g: &mut [T], o: &mut [T], tanh_c: &mut [T], c: &[T], next_h: &mut [T], next_c: &mut [T],
    ) {
        let n = c.len();
        let (i, f, g, o) = (&mut i[..n], &mut f[..n], &mut g[..n], &mut o[..n]);
        let (tanh_c, next_h, next_c) = (&mut tanh_c[..n], &mut next_h[..n], &mut next_c[..n]);
        for k in 0..n {
            i[k] = sigmoid::<T, I>(i[k]);
            f[k] = sigmoid::<T, I>(f[k]);
            g[k] = tanh::<T, I>(g[k]);
            o[k] = sigmoid::<T, I>(o[k]);
            next_c[k] = fma::<T, I>(f[k], c[k], i[k] * g[k]);
            tanh_c[k] = tanh::<T, I>(next_c[k]);
            next_h[k] = o[k] * tanh_c[k];
        }
    }
}

simd! {
    #[allow(clippy::too_many_arguments, reason = "a kernel takes its blocks one by one")]
    pub(super) fn lstm_backward<T: Float; I>(
        i: &mut [T], f: &mut [T], g: &mut [T], o: &mut [T], tanh_c: &mut [T], c: &[T], dh: &mut [T], dc: &mut [T],
    ) {
        let n = c.len();
        let (i, f, g, o) = (&mut i[..n], &mut f[..n], &mut g[..n], &mut o[..n]);
        let (tanh_c, dh, dc) = (&tanh_c[..n], &mut dh[..n], &mut dc[..n]);
        let one = T::of(1.0);
        for k in 0..n {
            let (i_k, f_k, g_k, o_k, y) = (i[k], f[k], g[k], o[k], tanh_c[k]);
            let d = fma::<T, I>(dh[k] * o_k, one - y * y, dc[k]);
            i[k] = d * g_k * i_k * (one - i_k);
            f[k] = d * c[k] * f_k * (one - f_k);
            g[k] = d * i_k * (one - g_k * g_k);
            o[k] = dh[k] * y * o_k * (one - o_k);
            dc[k] = d * f_k;
            dh[k] = T::of(0.0);
        }
    }
}

simd! {
    /// Replaces `x` by h̃; `recurrent` is h U + b₁ of the third gate and is not changed.
    pub(super) fn gru<T: Float; I>(z: &mut [T], r: &mut [T], x: &mut [T], recurrent: &[T], h: &[T], next: &mut [T]) {
        let n = h.len();
        let (z, r, x) = (&mut z[..n], &mut r[..n], &mut x[..n]);
        let (recurrent, next) = (&recurrent[..n], &mut next[..n]);
        for k in 0..n {
            z[k] = sigmoid::<T, I>(z[k]);
            r[k] = sigmoid::<T, I>(r[k]);
            x[k] = tanh::<T, I>(fma::<T, I>(r[k], recurrent[k], x[k]));
            next[k] = fma::<T, I>(z[k], h[k] - x[k], x[k]);
        }
    }
}

simd! {
    pub(super) fn gru_backward<T: Float; I>(z: &mut [T], r: &mut [T], x: &mut [T], recurrent: &mut [T], h: &[T], dh: &mut [T]) {
        let n = h.len();
        let (z, r, x) = (&mut z[..n], &mut r[..n], &mut x[..n]);
        let (recurrent, dh) = (&mut recurrent[..n], &mut dh[..n]);
        let one = T::of(1.0);
        for k in 0..n {
            let (z_k, r_k, x_k, d) = (z[k], r[k], x[k], dh[k]);
            let d_sum = d * (one - z_k) * (one - x_k * x_k);
            z[k] = d * (h[k] - x_k) * z_k * (one - z_k);
            r[k] = d_sum * recurrent[k] * r_k * (one - r_k);
            x[k] = d_sum;
            recurrent[k] = d_sum * r_k;
            dh[k] = d * z_k;
        }
    }
}
