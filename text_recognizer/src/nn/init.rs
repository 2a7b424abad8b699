//! Initial weights as the frameworks draw them.

use tch::Tensor;
use tch::kind::Element;

use crate::error::{Error, Result};
use crate::rng::Mt19937;

/// The Mersenne Twister that PyTorch's CPU generator is, but one to each model: weights depend on their seed alone,
/// whatever other threads draw meanwhile.
#[derive(Debug)]
pub struct Generator(Mt19937);

impl Generator {
    /// Draws what PyTorch draws after `torch.manual_seed(seed)`, which uses the lower 32 bits.
    pub fn new(seed: u64) -> Self {
        Self(Mt19937::new(seed as u32))
    }

    /// A single-precision tensor on the CPU, uniform in `from..to`: bit by bit that of `torch.Tensor.uniform_`.
    ///
    /// # Errors
    /// When memory does not hold it.
    pub fn uniform(&mut self, size: &[i64], from: f64, to: f64) -> Result<Tensor> {
        let (from, to) = (from as f32, to as f32);
        // Fused, as PyTorch's kernel is compiled.
        tensor(size, || ((self.0.next_u32() & 0xff_ffff) as f32 * 2f32.powi(-24)).mul_add(to - from, from))
    }

    /// A double-precision tensor on the CPU, normal with mean 0 and deviation 1, by Box and Muller's transform.
    ///
    /// # Errors
    /// When memory does not hold it.
    pub fn normal(&mut self, size: &[i64]) -> Result<Tensor> {
        let mut uniform = || self.0.uniform();
        tensor(size, || (-2.0 * (1.0 - uniform()).ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos())
    }
}

/// A tensor of values drawn one by one, which asks for its memory before it takes it.
fn tensor<T: Element>(size: &[i64], draw: impl FnMut() -> T) -> Result<Tensor> {
    let count = size.iter().try_fold(1usize, |count, &size| count.checked_mul(usize::try_from(size).ok()?));
    let mut values = Vec::new();
    let room = count.filter(|&count| values.try_reserve_exact(count).is_ok());
    let count = room.ok_or_else(|| {
        Error::invalid("the size of a layer's weights", format!("{size:?}"), "numbers that memory holds")
    })?;
    values.extend(std::iter::repeat_with(draw).take(count));
    Ok(Tensor::f_from_slice(&values)?.f_view(size)?)
}

/// PyTorch's `nn.Linear` weight, `[outputs, inputs]`: `kaiming_uniform_(a = sqrt(5))`, which is uniform within
/// `1 / sqrt(inputs)`. The bound is computed in the order of `torch.nn.init`, so that draws agree to the bit.
///
/// # Errors
/// When memory does not hold it.
pub fn linear_weight(generator: &mut Generator, outputs: i64, inputs: i64) -> Result<Tensor> {
    let gain = (2.0 / (1.0 + 5f64.sqrt().powi(2))).sqrt();
    let bound = 3f64.sqrt() * (gain / (inputs as f64).sqrt());
    generator.uniform(&[outputs, inputs], -bound, bound)
}

/// PyTorch's `nn.Linear` bias, `[outputs]`: uniform within `1 / sqrt(inputs)`.
///
/// # Errors
/// When memory does not hold it.
pub fn linear_bias(generator: &mut Generator, outputs: i64, inputs: i64) -> Result<Tensor> {
    let bound = 1.0 / (inputs as f64).sqrt();
    generator.uniform(&[outputs], -bound, bound)
}

/// Keras' default for kernels (`GlorotUniform`, Glorot and Bengio 2010): uniform within `sqrt(6 / (fan_in + fan_out))`.
/// A convolution's fans are its channels times its receptive field.
///
/// # Errors
/// When memory does not hold it.
pub fn glorot_uniform(generator: &mut Generator, size: &[i64], fan_in: i64, fan_out: i64) -> Result<Tensor> {
    let bound = (6.0 / (fan_in as f64 + fan_out as f64)).sqrt();
    generator.uniform(size, -bound, bound)
}

/// Keras' default for recurrent kernels (`Orthogonal`, Saxe et al. 2014), `[rows, columns]`: the orthogonal factor of a
/// normal matrix, with the signs that make it uniformly distributed. The shorter of rows and columns are orthonormal.
///
/// # Errors
/// When memory does not hold it, or libtorch cannot factorise for lack of LAPACK.
pub fn orthogonal(generator: &mut Generator, rows: i64, columns: i64) -> Result<Tensor> {
    let normal = generator.normal(&[rows.max(columns), rows.min(columns)])?;
    let (q, r) = Tensor::f_linalg_qr(&normal, "reduced")?;
    let q = q.f_mul(&r.f_diagonal(0, 0, 1)?.f_sign()?)?;
    // What comes from LAPACK has its columns side by side.
    let q = if rows < columns { q.f_transpose(0, 1)? } else { q };
    Ok(q.f_contiguous()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Kind, kind};

    #[test]
    fn glorot_uniform_fills_its_bounds() {
        let generator = &mut Generator::new(0);
        let bound = (6.0f64 / (5.0 + 160.0)).sqrt();
        let weights = glorot_uniform(generator, &[5, 1, 320], 5, 160).unwrap();
        assert_eq!(weights.size(), [5, 1, 320]);
        let (low, high) = (weights.min().double_value(&[]), weights.max().double_value(&[]));
        assert!((-bound..-0.98 * bound).contains(&low) && (0.98 * bound..bound).contains(&high));
        // The standard deviation of a uniform distribution is bound / sqrt(3); that of 1,600 draws is within 3 %.
        assert!((weights.std(true).double_value(&[]) * 3f64.sqrt() / bound - 1.0).abs() < 0.03);
    }

    #[test]
    fn the_shorter_side_of_an_orthogonal_matrix_is_orthonormal() {
        let generator = &mut Generator::new(0);
        for (rows, columns) in [(32, 128), (40, 40), (7, 3)] {
            let q = orthogonal(generator, rows, columns).unwrap();
            assert_eq!(q.size(), [rows, columns]);
            assert!(q.is_contiguous());
            let gram = if rows < columns { q.matmul(&q.t_copy()) } else { q.t_copy().matmul(&q) };
            let identity = Tensor::eye(rows.min(columns), kind::DOUBLE_CPU);
            assert!((gram - identity).abs().max().double_value(&[]) < 1e-12);
        }
    }

    #[test]
    fn what_no_memory_holds_is_refused() {
        let generator = &mut Generator::new(0);
        for size in [[1 << 40, 784], [i64::MAX, 2], [i64::MAX, i64::MAX], [-1, 2]] {
            let error = linear_weight(generator, size[0], size[1]).unwrap_err().to_string();
            assert!(error.contains(&format!("{size:?}")) && error.contains("memory"), "{error}");
        }
    }

    /// Householder's QR leaves the first diagonal element of r with the sign opposite to the matrix's: without the sign
    /// fix the first element of q would be negative in every draw.
    #[test]
    fn an_orthogonal_matrix_is_drawn_with_either_sign() {
        let generator = &mut Generator::new(0);
        let positive: i64 = (0..400)
            .map(|_| orthogonal(generator, 3, 3).unwrap().double_value(&[0, 0]).is_sign_positive() as i64)
            .sum();
        assert!((150..250).contains(&positive), "{positive} of 400");
        let draws =
            Tensor::stack(&(0..400).map(|_| orthogonal(generator, 3, 3).unwrap()).collect::<Vec<_>>(), 0);
        assert!(draws.mean(Kind::Double).double_value(&[]).abs() < 0.05);
    }
}
