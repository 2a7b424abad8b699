//! The norm of gradients, the check that they are finite, and clipping.

use std::sync::atomic::{AtomicBool, Ordering};

use tch::{Device, Kind, Tensor};

use crate::error::Result;
use crate::parallel::parallel;
use crate::simd::simd;
use crate::tensor::{Real, values};

simd! {
    fn sum_of_squares<T: Real; I>(values: &[T]) -> f64 {
        // Sixteen independent sums, so that the compiler can vectorize the loop without a change of order.
        let mut sums = [0.0; 16];
        let chunks = values.chunks_exact(16);
        let rest: f64 = chunks.remainder().iter().map(|v| v.to_f64() * v.to_f64()).sum();
        for chunk in chunks {
            for (sum, value) in sums.iter_mut().zip(chunk) {
                *sum += value.to_f64() * value.to_f64();
            }
        }
        sums.iter().sum::<f64>() + rest
    }
}

simd! {
    fn finite<T: Real; I>(values: &[T]) -> bool {
        // No early exit inside of a chunk: a branch per element is slower than reading the rest of the chunk.
        values.chunks(4096).all(|chunk| chunk.iter().fold(true, |finite, value| finite & value.is_finite()))
    }
}

/// Returns whether every element of every gradient is finite. Synchronizes with devices other than the CPU.
pub fn all_finite(grads: &[Tensor]) -> bool {
    fn all<T: Real>(values: &[T]) -> bool {
        let found_other = AtomicBool::new(false);
        parallel(values.len(), &|part| {
            if !finite(&values[part]) {
                found_other.store(true, Ordering::Relaxed);
            }
        });
        !found_other.into_inner()
    }
    grads.iter().all(|grad| match (values::<f32>(grad), values::<f64>(grad)) {
        (Some(values), _) => all(values),
        (_, Some(values)) => all(values),
        _ => crate::nn::is_finite(grad),
    })
}

/// Returns the Euclidean norm over all gradients, summed in double precision. It is NaN or infinite if and only if an element
/// is, or the square of a double overflows. Synchronizes with devices other than the CPU.
pub fn grad_norm(grads: &[Tensor]) -> f64 {
    let square = |grad: &Tensor| match (values::<f32>(grad), values::<f64>(grad)) {
        (Some(values), _) => sum_of_squares(values),
        (_, Some(values)) => sum_of_squares(values),
        // MPS has no double precision.
        _ => {
            let kind = if grad.device() == Device::Mps { Kind::Float } else { Kind::Double };
            grad.to_kind(kind).square().sum(kind).double_value(&[])
        }
    };
    grads.iter().map(square).sum::<f64>().sqrt()
}

/// Multiplies all gradients by `max_norm / (norm + 1e-6)` if their norm is larger than `max_norm`, as
/// `torch.nn.utils.clip_grad_norm_`. Returns the norm before; if it is not finite, the gradients are not changed, and the caller
/// decides what to do.
///
/// # Errors
/// Fails if libtorch cannot change a gradient in place.
pub fn clip_grad_norm(grads: &mut [Tensor], max_norm: f64) -> Result<f64> {
    let norm = grad_norm(grads);
    let scale = max_norm / (norm + 1e-6);
    if norm.is_finite() && scale < 1.0 {
        for grad in grads {
            let _ = grad.f_mul_scalar_(scale)?;
        }
    }
    Ok(norm)
}

/// Clamps every element to `-limit..=limit`, as `torch.nn.utils.clip_grad_value_`; NaN stays NaN.
///
/// # Errors
/// Fails if libtorch cannot change a gradient in place.
pub fn clip_grad_value(grads: &mut [Tensor], limit: f64) -> Result<()> {
    for grad in grads {
        let _ = grad.f_clamp_(-limit, limit)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grads() -> Vec<Tensor> {
        vec![Tensor::from_slice(&[3f32; 33]), Tensor::from_slice(&[4f64])]
    }

    #[test]
    fn grad_norm_is_over_all_gradients_and_clipped_to_limit() {
        let expected = (33.0 * 9.0 + 16.0f64).sqrt();
        assert!((grad_norm(&grads()) - expected).abs() < 1e-12);
        let mut clipped = grads();
        assert_eq!(clip_grad_norm(&mut clipped, 100.0).unwrap(), expected);
        assert_eq!(clipped, grads());
        clip_grad_norm(&mut clipped, 1.0).unwrap();
        assert!((grad_norm(&clipped) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn all_finite_nonfinite_element_is_found_and_clipping_keeps_it() {
        assert!(all_finite(&grads()));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 4095, 4096, 150_000, 199_999] {
                // Enough for more than one thread.
                let mut values = vec![1f32; 200_000];
                values[at] = bad;
                let mut grads = vec![Tensor::from_slice(&values)];
                assert!(!all_finite(&grads), "{bad} at {at}");
                assert!(!clip_grad_norm(&mut grads, 1.0).unwrap().is_finite(), "{bad} at {at}");
                assert!(!all_finite(&grads), "{bad} at {at}");
            }
        }
        let mut grads = vec![Tensor::from_slice(&[f32::NAN, 5.0, -5.0])];
        clip_grad_value(&mut grads, 1.0).unwrap();
        let clipped = Vec::<f32>::try_from(&grads[0]).unwrap();
        assert!(clipped[0].is_nan() && clipped[1..] == [1.0, -1.0]);
    }
}
