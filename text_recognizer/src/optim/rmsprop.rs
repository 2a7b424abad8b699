//! RMSprop.

use tch::Tensor;

use super::UpdateRule;
use crate::error::Result;
use crate::simd::simd;
use crate::tensor::{Real, disjoint};

/// RMSprop (Hinton, "Neural networks for machine learning", lecture 6e), with the formulas of `torch.optim.RMSprop`.
#[derive(Debug)]
pub(super) struct RmsProp {
    pub alpha: f64,
    pub eps: f64,
    pub momentum: f64,
    pub weight_decay: f64,
}

simd! {
    fn rmsprop<T: Real; I>(p: &mut [T], g: &[T], square: &mut [T], buffer: &mut [T], rule: &RmsProp, lr: f64) {
        let (alpha, weight, eps) = (T::of(rule.alpha), T::of(1.0 - rule.alpha), T::of(rule.eps));
        let (momentum, l2, lr) = (T::of(rule.momentum), T::of(rule.weight_decay), T::of(lr));
        for (((p, &g), square), buffer) in p.iter_mut().zip(g).zip(square).zip(buffer) {
            let g = g + l2 * *p;
            *square = alpha * *square + weight * (g * g);
            *buffer = momentum * *buffer + g / (square.sqrt() + eps);
            *p = *p - lr * *buffer;
        }
    }
}

/// Runs the kernel, and returns true, if the tensors are contiguous, of `T`, on the CPU and do not overlap.
fn on_cpu<T: Real>(p: &mut Tensor, g: &Tensor, state: &mut [Tensor], rule: &RmsProp, lr: f64) -> bool {
    let [square, buffer] = state else { return false };
    let slices = disjoint::<T, 3>([p, square, buffer], g);
    slices.map(|([p, square, buffer], g)| rmsprop(p, g, square, buffer, rule, lr)).is_some()
}

impl UpdateRule for RmsProp {
    fn slots(&self) -> &'static [&'static str] {
        &["square_avg", "momentum_buffer"]
    }

    fn update(&self, p: &mut Tensor, grad: &Tensor, state: &mut [Tensor], _step: u64, lr: f64) -> Result<()> {
        if on_cpu::<f32>(p, grad, state, self, lr) || on_cpu::<f64>(p, grad, state, self, lr) {
            return Ok(());
        }
        let grad = if self.weight_decay == 0.0 {
            grad.shallow_clone()
        } else {
            grad.f_add(&(&*p * self.weight_decay))?
        };
        let _ = state[0].f_mul_scalar_(self.alpha)?.f_addcmul_(&grad, &(&grad * (1.0 - self.alpha)))?;
        let average = state[0].f_sqrt()? + self.eps;
        let _ = state[1].f_mul_scalar_(self.momentum)?.f_addcdiv_(&grad, &average)?;
        let _ = p.f_sub_(&(&state[1] * lr))?;
        Ok(())
    }
}
