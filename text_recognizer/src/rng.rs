//! Randomness as a pure function: of (seed, epoch) for the order of the data, of (seed, step, layer) for dropout.
//!
//! Nothing here has a state to save, so any step can be replayed and a resumed run continues exactly.

use tch::{Device, Kind, Tensor};

/// The 64-bit finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
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
    /// The stream of the event that `key` names.
    pub const fn new(key: u64) -> Self {
        Self { key, counter: 0 }
    }

    /// The next 64 random bits.
    #[inline]
    pub const fn next_u64(&mut self) -> u64 {
        self.counter += 1;
        mix(self.key.wrapping_add(self.counter.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// A number in `0..n`, by Lemire's multiply-shift (bias below n / 2^64).
    #[inline]
    pub const fn below(&mut self, n: u64) -> u64 {
        ((self.next_u64() as u128 * n as u128) >> 64) as u64
    }
}

/// A random order of `0..n` (Fisher-Yates) that depends on `(seed, epoch)` alone.
pub fn permutation(n: usize, seed: u64, epoch: u64) -> Vec<i64> {
    let mut order: Vec<i64> = (0..n as i64).collect();
    let mut stream = Stream::new(key(seed, &[epoch]));
    for i in (1..n).rev() {
        order.swap(i, stream.below(i as u64 + 1) as usize);
    }
    order
}

/// An inverted-dropout mask of `shape`: 0 with probability `p`, else `1 / (1 - p)`.
///
/// On the CPU each element has 32 random bits of its own. On other devices the device's own generator is seeded with
/// `key`, which is as replayable there.
pub fn dropout_mask(shape: &[i64], p: f64, key: u64, kind: Kind, device: Device) -> Tensor {
    let scale = 1.0 / (1.0 - p);
    if device != Device::Cpu {
        tch::manual_seed(key as i64);
        return (Tensor::empty(shape, (kind, device)).bernoulli_float_(1.0 - p)) * scale;
    }
    let mask = Tensor::empty(shape, (Kind::Float, Device::Cpu));
    // SAFETY: a fresh contiguous float tensor that nobody else sees yet.
    let values = unsafe { std::slice::from_raw_parts_mut(mask.data_ptr().cast::<f32>(), mask.numel()) };
    fill_mask(values, p, scale as f32, key);
    if kind == Kind::Float { mask } else { mask.to_kind(kind) }
}

fn fill_mask(values: &mut [f32], p: f64, scale: f32, key: u64) {
    let mut stream = Stream::new(key);
    let threshold = (p * 2f64.powi(32)) as u32;
    for chunk in values.chunks_mut(4096) {
        fill_chunk(chunk, threshold, scale, stream.next_u64());
    }
}

/// Keeps an element where 32 random bits are not below `threshold`.
fn fill_chunk(values: &mut [f32], threshold: u32, scale: f32, key: u64) {
    #[inline(always)]
    fn fill(values: &mut [f32], threshold: u32, scale: f32, key: u64) {
        let keys = [key as u32, (key >> 32) as u32];
        for (at, value) in (0..).zip(values) {
            // Without a branch, which would be mispredicted as often as p says.
            let keep = u32::from(mix32(at, keys) >= threshold);
            *value = f32::from_bits(scale.to_bits() & 0u32.wrapping_sub(keep));
        }
    }
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn avx2(values: &mut [f32], threshold: u32, scale: f32, key: u64) {
            fill(values, threshold, scale, key);
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            return unsafe { avx2(values, threshold, scale, key) };
        }
    }
    fill(values, threshold, scale, key);
}

/// The 32-bit finaliser `lowbias32` of Chris Wellons' "Prospecting for hash functions", 2018, with a key added before each of its
/// multiplications. Vector instructions have no 64-bit product to do [`mix`] with.
#[inline(always)]
const fn mix32(z: u32, keys: [u32; 2]) -> u32 {
    let mut z = z.wrapping_add(keys[0]);
    z = (z ^ (z >> 16)).wrapping_mul(0x7feb_352d);
    z = z.wrapping_add(keys[1]);
    z = (z ^ (z >> 15)).wrapping_mul(0x846c_a68b);
    z ^ (z >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permutation_holds_every_index_once_and_depends_on_seed_and_epoch() {
        let order = permutation(1000, 1, 0);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<i64>>());
        assert_eq!(order, permutation(1000, 1, 0));
        assert_ne!(order, permutation(1000, 1, 1));
        assert_ne!(order, permutation(1000, 2, 0));
        assert!(permutation(0, 1, 0).is_empty());
    }

    #[test]
    fn masks_keep_the_right_share_with_the_right_scale() {
        for p in [0.1, 0.5, 0.9] {
            let mask = dropout_mask(&[1000, 100], p, key(3, &[1, 2]), Kind::Float, Device::Cpu);
            let values = Vec::<f32>::try_from(mask.view(-1)).unwrap();
            let scale = (1.0 / (1.0 - p)) as f32;
            assert!(values.iter().all(|&v| v == 0.0 || v == scale));
            let kept = values.iter().filter(|&&v| v != 0.0).count() as f64 / 1e5;
            // Six standard deviations of a binomial share.
            assert!((kept - (1.0 - p)).abs() < 6.0 * (p * (1.0 - p) / 1e5).sqrt(), "p {p}: kept {kept}");
        }
    }

    /// Elements, neighbours of several distances and masks of neighbouring keys are kept independently of each other.
    #[test]
    fn what_is_kept_says_nothing_about_what_else_is() {
        let n = 1 << 20;
        for p in [0.1, 0.25, 0.5] {
            let mask = |layer| {
                let mut values = vec![0.0; n];
                fill_mask(&mut values, p, 1.0, key(5, &[7, layer]));
                values
            };
            let (one, other) = (mask(0), mask(1));
            let q = 1.0 - p;
            let expect = |share: f64, both: f64, what: &str| {
                // Six standard deviations of a binomial share.
                let bound = 6.0 * (both * (1.0 - both) / n as f64).sqrt();
                assert!((share - both).abs() < bound, "p {p}, {what}: {share} is not {both}");
            };
            let together = |a: &[f32], b: &[f32]| {
                a.iter().zip(b).filter(|(a, b)| **a * **b > 0.0).count() as f64 / a.len().min(b.len()) as f64
            };
            expect(together(&one, &one), q, "alone");
            for distance in [1, 2, 3, 4, 8, 64, 128, 1024, 4096] {
                expect(together(&one, &one[distance..]), q * q, &format!("distance {distance}"));
            }
            expect(together(&one, &other), q * q, "another layer");
        }
    }

    #[test]
    fn a_mask_is_a_pure_function_of_its_key() {
        let mask = |key| dropout_mask(&[7, 33], 0.5, key, Kind::Float, Device::Cpu);
        assert_eq!(mask(key(1, &[2, 3])), mask(key(1, &[2, 3])));
        assert_ne!(mask(key(1, &[2, 3])), mask(key(1, &[3, 2])));
    }
}
