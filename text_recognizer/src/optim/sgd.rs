//! Stochastic gradient descent with momentum, in the forms of PyTorch and Keras.

use tch::Tensor;

use super::UpdateRule;
use crate::error::Result;
use crate::simd::simd;
use crate::tensor::{Real, disjoint};

/// Stochastic gradient descent.
///
/// PyTorch (`torch.optim.SGD`): `v = momentum v + g; w -= lr v`. Keras (`keras.optimizers.SGD`): `v = momentum v - lr g; w += v`.
/// They are the same for a constant `lr`, and differ if a schedule changes it.
#[derive(Debug)]
pub(super) struct Sgd {
    pub momentum: f64,
    pub nesterov: bool,
    pub weight_decay: f64,
    /// Whether the velocity contains the learning rate.
    pub keras: bool,
}

/// The coefficients of both forms in one formula:
/// `v = momentum v + inside g; w += outside (nesterov ? inside g + momentum v : v)`.
struct Coefficients {
    momentum: f64,
    inside: f64,
    outside: f64,
    l2: f64,
    nesterov: bool,
}

simd! {
    fn plain<T: Real; I>(p: &mut [T], g: &[T], c: &Coefficients) {
        let (scale, l2) = (T::of(c.inside * c.outside), T::of(c.l2));
        for (p, &g) in p.iter_mut().zip(g) {
            *p = *p + scale * (g + l2 * *p);
        }
    }
}

simd! {
    fn with_momentum<T: Real; I>(p: &mut [T], g: &[T], v: &mut [T], c: &Coefficients) {
        let (momentum, inside, outside, l2) = (T::of(c.momentum), T::of(c.inside), T::of(c.outside), T::of(c.l2));
        if c.nesterov {
            for ((p, &g), v) in p.iter_mut().zip(g).zip(v) {
                let g = inside * (g + l2 * *p);
                *v = momentum * *v + g;
                *p = *p + outside * (g + momentum * *v);
            }
        } else {
            for ((p, &g), v) in p.iter_mut().zip(g).zip(v) {
                *v = momentum * *v + inside * (g + l2 * *p);
                *p = *p + outside * *v;
            }
        }
    }
}

/// Runs the kernel, and returns true, if the tensors are contiguous, of `T`, on the CPU and do not overlap.
fn on_cpu<T: Real>(p: &mut Tensor, g: &Tensor, state: &mut [Tensor], c: &Coefficients) -> bool {
    match state {
        [] => disjoint::<T, 1>([p], g).map(|([p], g)| plain(p, g, c)),
        [v, ..] => disjoint::<T, 2>([p, v], g).map(|([p, v], g)| with_momentum(p, g, v, c)),
    }
    .is_some()
}

impl UpdateRule for Sgd {
    fn slots(&self) -> &'static [&'static str] {
        if self.momentum == 0.0 { &[] } else { &["momentum_buffer"] }
    }

    fn update(&self, p: &mut Tensor, grad: &Tensor, state: &mut [Tensor], _step: u64, lr: f64) -> Result<()> {
        let (inside, outside) = if self.keras { (-lr, 1.0) } else { (1.0, -lr) };
        let (momentum, l2, nesterov) = (self.momentum, self.weight_decay, self.nesterov);
        let c = Coefficients { momentum, inside, outside, l2, nesterov };
        if on_cpu::<f32>(p, grad, state, &c) || on_cpu::<f64>(p, grad, state, &c) {
            return Ok(());
        }
        let grad = (if l2 == 0.0 { grad.shallow_clone() } else { grad.f_add(&(&*p * l2))? }) * inside;
        let update = match state {
            [] => grad,
            [v, ..] => {
                let v = v.f_mul_scalar_(momentum)?.f_add_(&grad)?;
                if nesterov { grad + v * momentum } else { v }
            }
        };
        let _ = p.f_add_(&(update * outside))?;
        Ok(())
    }
}
