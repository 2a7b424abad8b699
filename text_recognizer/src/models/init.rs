//! Initial weights as the frameworks draw them.

use rand_mt::Mt;
use tch::Tensor;

use crate::error::Result;

/// The Mersenne Twister that PyTorch's CPU generator is, but one to each model: weights depend on their seed alone,
/// whatever other threads draw meanwhile.
#[derive(Debug)]
pub struct Generator(Mt);

impl Generator {
    /// Draws what PyTorch draws after `torch.manual_seed(seed)`, which uses the lower 32 bits.
    pub fn new(seed: u64) -> Self {
        Self(Mt::new(seed as u32))
    }

    /// A single-precision tensor on the CPU, uniform in `from..to`: bit by bit that of `torch.Tensor.uniform_`.
    pub fn uniform(&mut self, size: &[i64], from: f64, to: f64) -> Tensor {
        let (from, to) = (from as f32, to as f32);
        let count = size.iter().product::<i64>() as usize;
        // Fused, as PyTorch's kernel is compiled.
        let mut draw = || ((self.0.next_u32() & 0xff_ffff) as f32 * 2f32.powi(-24)).mul_add(to - from, from);
        let values: Vec<f32> = std::iter::repeat_with(&mut draw).take(count).collect();
        Tensor::from_slice(&values).view(size)
    }

    /// A double-precision tensor on the CPU, normal with mean 0 and deviation 1, by Box and Muller's transform.
    pub fn normal(&mut self, size: &[i64]) -> Tensor {
        // 53 bits in 0..1, as NumPy makes them of two draws.
        let mut uniform = || {
            let (a, b) = (self.0.next_u32() >> 5, self.0.next_u32() >> 6);
            (f64::from(a) * 67_108_864.0 + f64::from(b)) / 9_007_199_254_740_992.0
        };
        let mut draw = || (-2.0 * (1.0 - uniform()).ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
        let count = size.iter().product::<i64>() as usize;
        let values: Vec<f64> = std::iter::repeat_with(&mut draw).take(count).collect();
        Tensor::from_slice(&values).view(size)
    }
}

/// PyTorch's `nn.Linear` weight, `[outputs, inputs]`: `kaiming_uniform_(a = sqrt(5))`, which is uniform within
/// `1 / sqrt(inputs)`. The bound is computed in the order of `torch.nn.init`, so that draws agree to the bit.
pub fn linear_weight(generator: &mut Generator, outputs: i64, inputs: i64) -> Tensor {
    let gain = (2.0 / (1.0 + 5f64.sqrt().powi(2))).sqrt();
    let bound = 3f64.sqrt() * (gain / (inputs as f64).sqrt());
    generator.uniform(&[outputs, inputs], -bound, bound)
}

/// PyTorch's `nn.Linear` bias, `[outputs]`: uniform within `1 / sqrt(inputs)`.
pub fn linear_bias(generator: &mut Generator, outputs: i64, inputs: i64) -> Tensor {
    let bound = 1.0 / (inputs as f64).sqrt();
    generator.uniform(&[outputs], -bound, bound)
}

/// Keras' default for kernels (`GlorotUniform`, Glorot and Bengio 2010): uniform within `sqrt(6 / (fan_in + fan_out))`.
/// A convolution's fans are its channels times its receptive field.
pub fn glorot_uniform(generator: &mut Generator, size: &[i64], fan_in: i64, fan_out: i64) -> Tensor {
    let bound = (6.0 / (fan_in + fan_out) as f64).sqrt();
    generator.uniform(size, -bound, bound)
}

/// Keras' default for recurrent kernels (`Orthogonal`, Saxe et al. 2014), `[rows, columns]`: the orthogonal factor of a
/// normal matrix, with the signs that make it uniformly distributed. The shorter of rows and columns are orthonormal.
///
/// # Errors
/// When libtorch cannot factorise, for lack of memory or of LAPACK.
pub fn orthogonal(generator: &mut Generator, rows: i64, columns: i64) -> Result<Tensor> {
    let normal = generator.normal(&[rows.max(columns), rows.min(columns)]);
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
        let weights = glorot_uniform(generator, &[5, 1, 320], 5, 160);
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
