//! The Mersenne Twister of PyTorch and NumPy.

use rand_mt::Mt;

/// MT19937 (Matsumoto and Nishimura, 1998), with the seeds and numbers of PyTorch's CPU generator and NumPy's `RandomState`.
#[derive(Debug)]
pub struct Mt19937 {
    twister: Mt,
    /// The second of the two values that the polar method computes together.
    cached: Option<f64>,
}

impl Mt19937 {
    /// Seeds the generator as `torch.manual_seed(seed)` and `numpy.random.RandomState(seed)` do.
    pub fn new(seed: u32) -> Self {
        Self { twister: Mt::new(seed), cached: None }
    }

    /// Returns the next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        self.twister.next_u32()
    }

    /// Returns a double in `0..1` from 53 random bits, as `RandomState.random_sample`.
    pub fn uniform(&mut self) -> f64 {
        let (a, b) = (self.next_u32() >> 5, self.next_u32() >> 6);
        (f64::from(a) * 67_108_864.0 + f64::from(b)) / 9_007_199_254_740_992.0
    }

    /// Returns a normal double with mean 0 and std 1, as `RandomState.randn`, by Marsaglia's polar method. It computes two
    /// values; the second is returned first.
    pub fn randn(&mut self) -> f64 {
        if let Some(value) = self.cached.take() {
            return value;
        }
        loop {
            let (x1, x2) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let r2 = x1 * x1 + x2 * x2;
            if r2 < 1.0 && r2 != 0.0 {
                let f = (-2.0 * r2.ln() / r2).sqrt();
                self.cached = Some(f * x1);
                return f * x2;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn randn_matches_numpy() {
        // numpy.random.RandomState(42).randn(3)
        let mut state = Mt19937::new(42);
        for expected in [0.496_714_153_011_233, -0.138_264_301_171_184_66, 0.647_688_538_100_692_4] {
            assert!((state.randn() - expected).abs() < 1e-15);
        }
    }
}
