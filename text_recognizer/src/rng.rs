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
/// On the CPU each u64 of the stream gives 64 coin flips where `p` is one half, and otherwise two elements of 32
/// bits each. On other devices the device's own generator is seeded with `key`, which is as replayable there.
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
    if p == 0.5 {
        // What each byte of coin flips makes of eight elements.
        let bytes: [[f32; 8]; 256] = std::array::from_fn(|byte| {
            std::array::from_fn(|bit| if byte >> bit & 1 == 1 { scale } else { 0.0 })
        });
        for chunk in values.chunks_mut(64) {
            for (eight, byte) in chunk.chunks_mut(8).zip(stream.next_u64().to_le_bytes()) {
                eight.copy_from_slice(&bytes[usize::from(byte)][..eight.len()]);
            }
        }
        return;
    }
    let threshold = (p * 2f64.powi(32)) as u32;
    // Without a branch, which would be mispredicted as often as p says.
    let keep =
        |random: u32| f32::from_bits(scale.to_bits() & 0u32.wrapping_sub(u32::from(random >= threshold)));
    for pair in values.chunks_mut(2) {
        let random = stream.next_u64();
        pair[0] = keep(random as u32);
        if let Some(second) = pair.get_mut(1) {
            *second = keep((random >> 32) as u32);
        }
    }
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

    #[test]
    fn a_mask_is_a_pure_function_of_its_key() {
        let mask = |key| dropout_mask(&[7, 33], 0.5, key, Kind::Float, Device::Cpu);
        assert_eq!(mask(key(1, &[2, 3])), mask(key(1, &[2, 3])));
        assert_ne!(mask(key(1, &[2, 3])), mask(key(1, &[3, 2])));
    }
}
