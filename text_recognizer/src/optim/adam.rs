//! Adam and AdamW.

use tch::Tensor;

use super::UpdateRule;
use crate::error::Result;
use crate::parallel::{Parts, parallel};
use crate::simd::simd;
use crate::tensor::{Real, disjoint};

/// Adam (Kingma and Ba, "Adam", 2015) or, with decoupled weight decay, AdamW (Loshchilov and Hutter, "Decoupled weight decay
/// regularization", 2019). The formulas are those of `torch.optim.Adam` and `torch.optim.AdamW`.
#[derive(Debug)]
pub(super) struct Adam {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
    /// Whether the weight decay does not affect the moments (AdamW).
    pub decoupled: bool,
}

/// The coefficients of one step, which are the same for all elements.
struct Coefficients {
    beta1: f64,
    beta2: f64,
    eps: f64,
    /// `lr / (1 - beta1^t)`.
    step_size: f64,
    /// `sqrt(1 - beta2^t)`.
    bias_correction2_sqrt: f64,
    /// The factor of the parameter that is added to the gradient.
    l2: f64,
    /// The factor by which the parameter is multiplied.
    shrink: f64,
}

impl Adam {
    fn coefficients(&self, step: u64, lr: f64) -> Coefficients {
        let t = step.min(i32::MAX as u64) as i32;
        Coefficients {
            beta1: self.beta1,
            beta2: self.beta2,
            eps: self.eps,
            step_size: lr / (1.0 - self.beta1.powi(t)),
            bias_correction2_sqrt: (1.0 - self.beta2.powi(t)).sqrt(),
            l2: if self.decoupled { 0.0 } else { self.weight_decay },
            shrink: if self.decoupled { 1.0 - lr * self.weight_decay } else { 1.0 },
        }
    }
}

simd! {
    fn adam<T: Real; I>(p: &mut [T], g: &[T], m: &mut [T], v: &mut [T], c: &Coefficients) {
        let (w1, b2, w2) = (T::of(1.0 - c.beta1), T::of(c.beta2), T::of(1.0 - c.beta2));
        let (eps, step_size) = (T::of(c.eps), T::of(c.step_size));
        let (correction, l2, shrink) = (T::of(c.bias_correction2_sqrt), T::of(c.l2), T::of(c.shrink));
        for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
            let g = g + l2 * *p;
            let first = *m + w1 * (g - *m);
            let second = b2 * *v + w2 * (g * g);
            (*m, *v) = (first, second);
            *p = shrink * *p - step_size * (first / (second.sqrt() / correction + eps));
        }
    }
}

/// Runs the kernel on all threads, and returns true, if the tensors are contiguous, of `T`, on the CPU and do not overlap.
fn on_cpu<T: Real>(p: &mut Tensor, g: &Tensor, state: &mut [Tensor], c: &Coefficients) -> bool {
    let [m, v] = state else { return false };
    let Some(([p, m, v], g)) = disjoint::<T, 3>([p, m, v], g) else { return false };
    let (all_p, all_m, all_v) = (Parts::of(p), Parts::of(m), Parts::of(v));
    parallel(g.len(), &|part| {
        // SAFETY: `parallel` calls this with disjoint ranges, one for each thread, and waits for all of them.
        let (p, m, v) = unsafe { (all_p.part(&part), all_m.part(&part), all_v.part(&part)) };
        adam(p, &g[part], m, v, c);
    });
    true
}

impl UpdateRule for Adam {
    fn slots(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_avg_sq"]
    }

    fn update(&self, p: &mut Tensor, grad: &Tensor, state: &mut [Tensor], step: u64, lr: f64) -> Result<()> {
        let c = self.coefficients(step, lr);
        if on_cpu::<f32>(p, grad, state, &c) || on_cpu::<f64>(p, grad, state, &c) {
            return Ok(());
        }
        let grad = if c.l2 == 0.0 { grad.shallow_clone() } else { grad.f_add(&(&*p * c.l2))? };
        let _ = state[0].f_lerp_(&grad, 1.0 - c.beta1)?;
        let _ = state[1].f_mul_scalar_(c.beta2)?.f_addcmul_(&grad, &(&grad * (1.0 - c.beta2)))?;
        let denominator = (state[1].f_sqrt()? / c.bias_correction2_sqrt) + c.eps;
        let _ = p.f_mul_scalar_(c.shrink)?.f_addcdiv_(&(&state[0] * -c.step_size), &denominator)?;
        Ok(())
    }
}
