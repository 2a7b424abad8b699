//! Dropout masks as a pure function of a key.

use std::mem::MaybeUninit;

use tch::{Device, Kind, Tensor};

use crate::rng::Stream;
use crate::simd::simd;

/// Returns an inverted-dropout mask of `shape`: 0 with probability `p` (in 0..1), else `1 / (1 - p)`.
///
/// On the CPU each element has 32 random bits of its own. On other devices libtorch's generator is seeded with `key`. In both
/// cases the same key gives the same mask.
pub fn dropout_mask(shape: &[i64], p: f64, key: u64, kind: Kind, device: Device) -> Tensor {
    let scale = 1.0 / (1.0 - p);
    if device != Device::Cpu {
        tch::manual_seed(key as i64);
        return (Tensor::empty(shape, (kind, device)).bernoulli_float_(1.0 - p)) * scale;
    }
    let mask = Tensor::empty(shape, (Kind::Float, Device::Cpu));
    // An empty tensor has no memory to point to.
    if mask.numel() > 0 {
        // SAFETY: the tensor is fresh, contiguous and not empty, holds numel() floats, and no other handle to it exists.
        // `MaybeUninit` allows that they are not initialized; `fill_mask` writes all of them before anything reads them.
        let values = unsafe {
            std::slice::from_raw_parts_mut(mask.data_ptr().cast::<MaybeUninit<f32>>(), mask.numel())
        };
        fill_mask(values, p, scale as f32, key);
    }
    if kind == Kind::Float { mask } else { mask.to_kind(kind) }
}

/// Writes every element of a mask.
fn fill_mask(values: &mut [MaybeUninit<f32>], p: f64, scale: f32, key: u64) {
    let mut stream = Stream::new(key);
    let threshold = (p * 2f64.powi(32)) as u32;
    for chunk in values.chunks_mut(4096) {
        fill_chunk(chunk, threshold, scale, stream.next_u64());
    }
}

simd! {
    /// Writes `scale` for elements whose 32 random bits are not below `threshold`, and 0 for the others.
    fn fill_chunk<; I>(values: &mut [MaybeUninit<f32>], threshold: u32, scale: f32, key: u64) {
        let keys = [key as u32, (key >> 32) as u32];
        for (at, value) in (0..).zip(values) {
            // Without a branch, since its outcome is random and cannot be predicted.
            let keep = u32::from(mix32(at, keys) >= threshold);
            value.write(f32::from_bits(scale.to_bits() & 0u32.wrapping_sub(keep)));
        }
    }
}

/// Mixes 32 bits: the finalizer `lowbias32` of Chris Wellons' "Prospecting for hash functions", 2018, with a key added before
/// each multiplication. (Vector instructions have no 64-bit product, which [`mix`](crate::rng::mix) needs.)
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
    use crate::rng::key;

    #[test]
    fn dropout_mask_keeps_expected_share_with_scale() {
        for p in [0.1, 0.5, 0.9] {
            let mask = dropout_mask(&[1000, 100], p, key(3, &[1, 2]), Kind::Float, Device::Cpu);
            let values = Vec::<f32>::try_from(mask.view(-1)).unwrap();
            let scale = (1.0 / (1.0 - p)) as f32;
            assert!(values.iter().all(|&v| v == 0.0 || v == scale));
            let kept = values.iter().filter(|&&v| v != 0.0).count() as f64 / 1e5;
            // Six stds of a binomial share.
            assert!((kept - (1.0 - p)).abs() < 6.0 * (p * (1.0 - p) / 1e5).sqrt(), "p {p}: kept {kept}");
        }
    }

    /// Single elements, elements at several distances and masks of adjacent keys are kept independently of each other.
    #[test]
    fn dropout_mask_elements_are_independent() {
        let n = 1 << 20;
        for p in [0.1, 0.25, 0.5] {
            let mask = |layer| {
                let mask = dropout_mask(&[n as i64], p, key(5, &[7, layer]), Kind::Float, Device::Cpu);
                Vec::<f32>::try_from(mask).unwrap()
            };
            let (one, other) = (mask(0), mask(1));
            let q = 1.0 - p;
            let expect = |share: f64, both: f64, what: &str| {
                // Six stds of a binomial share.
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
    fn dropout_mask_same_key_gives_same_mask() {
        let mask = |key| dropout_mask(&[7, 33], 0.5, key, Kind::Float, Device::Cpu);
        assert_eq!(mask(key(1, &[2, 3])), mask(key(1, &[2, 3])));
        assert_ne!(mask(key(1, &[2, 3])), mask(key(1, &[3, 2])));
    }

    #[test]
    fn dropout_mask_empty_shape_is_empty() {
        for shape in [&[0i64][..], &[3, 0]] {
            assert_eq!(dropout_mask(shape, 0.5, 1, Kind::Float, Device::Cpu).size(), shape);
        }
    }
}
