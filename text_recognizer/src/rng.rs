//! Random numbers as pure functions: of (seed, epoch) for the order of the data, of (seed, step, rank, layer) for dropout.
//!
//! No state has to be saved, so any step can be repeated, and a resumed run continues exactly.

mod mt19937;

pub use mt19937::Mt19937;

/// Mixes 64 bits: the finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[inline(always)]
pub const fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Hashes a seed and the coordinates of an event into one 64-bit key.
pub fn key(seed: u64, coordinates: &[u64]) -> u64 {
    coordinates.iter().fold(mix(seed), |key, &c| mix(key ^ mix(c)))
}

/// A counter-based generator: the n-th number is `mix(key + n)`.
#[derive(Debug, Clone)]
pub struct Stream {
    key: u64,
    counter: u64,
}

impl Stream {
    /// Creates the stream of a key, see [`key`].
    pub const fn new(key: u64) -> Self {
        Self { key, counter: 0 }
    }

    /// Returns the next 64 random bits.
    #[inline]
    pub const fn next_u64(&mut self) -> u64 {
        self.counter += 1;
        mix(self.key.wrapping_add(self.counter.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// Returns a number in `0..n`, by Lemire's multiply-shift (bias below n / 2^64).
    #[inline]
    pub const fn below(&mut self, n: u64) -> u64 {
        ((self.next_u64() as u128 * n as u128) >> 64) as u64
    }
}

/// Returns a random order of `0..n` (Fisher-Yates), a pure function of `(seed, epoch)`.
pub fn permutation(n: usize, seed: u64, epoch: u64) -> Vec<i64> {
    let mut order: Vec<i64> = (0..n as i64).collect();
    let mut stream = Stream::new(key(seed, &[epoch]));
    for i in (1..n).rev() {
        order.swap(i, stream.below(i as u64 + 1) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permutation_has_each_index_once_and_depends_on_seed_and_epoch() {
        let order = permutation(1000, 1, 0);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<i64>>());
        assert_eq!(order, permutation(1000, 1, 0));
        assert_ne!(order, permutation(1000, 1, 1));
        assert_ne!(order, permutation(1000, 2, 0));
        assert!(permutation(0, 1, 0).is_empty());
    }
}
