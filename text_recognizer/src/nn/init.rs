//! Initial weights of PyTorch and Keras.

use tch::Tensor;
use tch::kind::Element;

use crate::error::{Error, Result};
use crate::rng::Mt19937;

/// The Mersenne Twister of PyTorch's CPU generator, one per model: initial weights depend on the seed alone, not on other
/// threads.
#[derive(Debug)]
pub struct Generator {
    random: Mt19937,
    /// The most values that the generator may still draw; `None` for no limit.
    left: Option<usize>,
}

impl Generator {
    /// Creates the generator of PyTorch after `torch.manual_seed(seed)`, which uses the lower 32 bits.
    pub fn new(seed: u64) -> Self {
        Self { random: Mt19937::new(seed as u32), left: None }
    }

    /// Creates the generator of [`Generator::new`], which draws at most `limit` values. Another weight is then an error before
    /// memory is taken for it.
    pub fn limited(seed: u64, limit: usize) -> Self {
        Self { left: Some(limit), ..Self::new(seed) }
    }

    /// Counts the values of a tensor that is about to be drawn. A shape without a number of values is left to [`tensor`].
    fn take(&mut self, size: &[i64]) -> Result<()> {
        let (Some(before), Some(count)) = (self.left, count(size)) else { return Ok(()) };
        let Some(left) = before.checked_sub(count) else {
            let expected = format!("at most {before} values, because the checkpoint has few");
            return Err(Error::invalid("the shape of a weight", format!("{size:?}"), expected));
        };
        self.left = Some(left);
        Ok(())
    }

    /// Returns a float32 tensor on the CPU, uniform in `from..to`: the same bits as `torch.Tensor.uniform_`.
    ///
    /// # Errors
    /// Fails if memory does not hold it.
    pub fn uniform(&mut self, size: &[i64], from: f64, to: f64) -> Result<Tensor> {
        let (from, to) = (from as f32, to as f32);
        // A fused multiply-add, as in PyTorch's compiled kernel.
        self.take(size)?;
        let random = &mut self.random;
        tensor(size, || ((random.next_u32() & 0xff_ffff) as f32 * 2f32.powi(-24)).mul_add(to - from, from))
    }

    /// Returns a float64 tensor on the CPU, normal with mean 0 and std 1, by the Box-Muller transform.
    ///
    /// # Errors
    /// Fails if memory does not hold it.
    pub fn normal(&mut self, size: &[i64]) -> Result<Tensor> {
        self.take(size)?;
        let mut uniform = || self.random.uniform();
        tensor(size, || (-2.0 * (1.0 - uniform()).ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos())
    }
}

/// Returns the number of values of a shape; `None` if it is negative or too large.
fn count(size: &[i64]) -> Option<usize> {
    size.iter().try_fold(1usize, |count, &size| count.checked_mul(usize::try_from(size).ok()?))
}

/// Returns a tensor of values that are drawn one by one. Fails, and does not abort, if memory does not hold it.
fn tensor<T: Element>(size: &[i64], draw: impl FnMut() -> T) -> Result<Tensor> {
    let count = count(size);
    let mut values = Vec::new();
    let room = count.filter(|&count| values.try_reserve_exact(count).is_ok());
    let count = room.ok_or_else(|| {
        Error::invalid("the shape of a weight", format!("{size:?}"), "a shape that fits in memory")
    })?;
    values.extend(std::iter::repeat_with(draw).take(count));
    Ok(Tensor::f_from_slice(&values)?.f_view(size)?)
}

/// Returns the weight of PyTorch's `nn.Linear`, `[outputs, inputs]`: `kaiming_uniform_(a = sqrt(5))`, which is uniform in
/// `±1 / sqrt(inputs)`. The bound is computed in the order of `torch.nn.init`, so that the bits are the same.
///
/// # Errors
/// Fails if memory does not hold it.
pub fn linear_weight(generator: &mut Generator, outputs: i64, inputs: i64) -> Result<Tensor> {
    let gain = (2.0 / (1.0 + 5f64.sqrt().powi(2))).sqrt();
    let bound = 3f64.sqrt() * (gain / (inputs as f64).sqrt());
    generator.uniform(&[outputs, inputs], -bound, bound)
}

/// Returns the bias of PyTorch's `nn.Linear`, `[outputs]`: uniform in `±1 / sqrt(inputs)`.
///
/// # Errors
/// Fails if memory does not hold it.
pub fn linear_bias(generator: &mut Generator, outputs: i64, inputs: i64) -> Result<Tensor> {
    let bound = 1.0 / (inputs as f64).sqrt();
    generator.uniform(&[outputs], -bound, bound)
}

/// Returns a kernel by Keras' default (`GlorotUniform`, Glorot and Bengio 2010): uniform in `±sqrt(6 / (fan_in + fan_out))`. The
/// fans of a convolution are its channels times its receptive field.
///
/// # Errors
/// Fails if memory does not hold it.
pub fn glorot_uniform(generator: &mut Generator, size: &[i64], fan_in: i64, fan_out: i64) -> Result<Tensor> {
    let bound = (6.0 / (fan_in as f64 + fan_out as f64)).sqrt();
    generator.uniform(size, -bound, bound)
}

/// Returns a recurrent kernel by Keras' default (`Orthogonal`, Saxe et al. 2014), `[rows, columns]`: the orthogonal factor of a
/// normal matrix, with the signs that make its distribution uniform. The rows are orthonormal if there are fewer rows than
/// columns, otherwise the columns.
///
/// # Errors
/// Fails if memory does not hold it, or if libtorch has no LAPACK for the factorization.
pub fn orthogonal(generator: &mut Generator, rows: i64, columns: i64) -> Result<Tensor> {
    let normal = generator.normal(&[rows.max(columns), rows.min(columns)])?;
    let (q, r) = Tensor::f_linalg_qr(&normal, "reduced")?;
    let q = q.f_mul(&r.f_diagonal(0, 0, 1)?.f_sign()?)?;
    // LAPACK returns column-major matrices.
    let q = if rows < columns { q.f_transpose(0, 1)? } else { q };
    Ok(q.f_contiguous()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Kind, kind};

    #[test]
    fn glorot_uniform_values_fill_bounds() {
        let generator = &mut Generator::new(0);
        let bound = (6.0f64 / (5.0 + 160.0)).sqrt();
        let weights = glorot_uniform(generator, &[5, 1, 320], 5, 160).unwrap();
        assert_eq!(weights.size(), [5, 1, 320]);
        let (low, high) = (weights.min().double_value(&[]), weights.max().double_value(&[]));
        assert!((-bound..-0.98 * bound).contains(&low) && (0.98 * bound..bound).contains(&high));
        // The std of a uniform distribution is bound / sqrt(3); the std of 1,600 draws is within 3 % of it.
        assert!((weights.std(true).double_value(&[]) * 3f64.sqrt() / bound - 1.0).abs() < 0.03);
    }

    #[test]
    fn orthogonal_shorter_side_is_orthonormal() {
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
    fn generator_beyond_its_limit_fails_and_draws_the_same_values_before() {
        let (mut limited, mut free) = (Generator::limited(3, 10), Generator::new(3));
        let both = [&mut limited, &mut free].map(|generator| generator.uniform(&[2, 3], 0.0, 1.0).unwrap());
        assert_eq!(both[0], both[1]);
        let error = limited.normal(&[5]).unwrap_err().to_string();
        assert!(error.contains("[5]: expected at most 4 values"), "{error}");
        assert!(limited.normal(&[2, 2]).is_ok() && limited.uniform(&[1], 0.0, 1.0).is_err());
    }

    #[test]
    fn linear_weight_beyond_memory_fails() {
        let generator = &mut Generator::new(0);
        for size in [[1 << 40, 784], [i64::MAX, 2], [i64::MAX, i64::MAX], [-1, 2]] {
            let error = linear_weight(generator, size[0], size[1]).unwrap_err().to_string();
            assert!(error.contains(&format!("{size:?}")) && error.contains("memory"), "{error}");
        }
    }

    /// Householder's QR gives the first diagonal element of r the opposite sign of that of the matrix: without the correction of
    /// signs, the first element of q would be negative in every draw.
    #[test]
    fn orthogonal_first_element_has_either_sign() {
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
