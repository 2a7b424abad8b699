//! The order in which the rows of a data set are visited.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::rng;

/// The order in which an epoch visits the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shuffle {
    /// The data set's own order.
    No,
    /// A permutation of all rows.
    Full {
        /// The run's seed.
        seed: u64,
    },
    /// The order of `tf.data.Dataset.shuffle(buffer)`: each row is drawn from a buffer that the next row refills.
    Buffer {
        /// The run's seed.
        seed: u64,
        /// The number of rows in the buffer, at least one.
        size: usize,
        /// Whether each epoch has its own order (`reshuffle_each_iteration` of tf.data), or all have the order of the first.
        reshuffle: bool,
    },
}

impl Shuffle {
    /// Returns the order of `n` rows in epoch `epoch`.
    pub(crate) fn order(self, n: usize, epoch: u64) -> Vec<i64> {
        match self {
            Self::No => (0..n as i64).collect(),
            Self::Full { seed } => rng::permutation(n, seed, epoch),
            Self::Buffer { seed, size, reshuffle } => {
                let epoch = if reshuffle { epoch } else { 0 };
                let mut stream = rng::Stream::new(rng::key(seed, &[epoch]));
                let mut incoming = 0..n as i64;
                let mut buffer: Vec<i64> = incoming.by_ref().take(size).collect();
                let mut order = Vec::with_capacity(n);
                while !buffer.is_empty() {
                    let slot = stream.below(buffer.len() as u64) as usize;
                    order.push(match incoming.next() {
                        Some(next) => std::mem::replace(&mut buffer[slot], next),
                        None => buffer.swap_remove(slot),
                    });
                }
                order
            }
        }
    }
}

/// The share of one process of several (a rank) in every batch.
///
/// Each rank takes consecutive rows of the global batch, as many as the others or one more, so that all ranks together
/// process the batch that one process would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shard {
    rank: usize,
    world_size: usize,
}

impl Shard {
    /// The only process.
    pub const WHOLE: Self = Self { rank: 0, world_size: 1 };

    /// Returns the share of rank `rank` of `world_size`.
    pub fn new(rank: usize, world_size: usize) -> Result<Self> {
        if rank >= world_size {
            return Err(Error::invalid("rank", rank, format!("less than the world size, {world_size}")));
        }
        Ok(Self { rank, world_size })
    }

    /// Returns the rows of a global batch that belong to this rank; fewer rows than ranks leave some ranks without one.
    pub fn of(self, batch: Range<usize>) -> Range<usize> {
        let (rows, extra) = (batch.len() / self.world_size, batch.len() % self.world_size);
        let start = |rank: usize| batch.start + rank * rows + rank.min(extra);
        start(self.rank)..start(self.rank + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_of_all_ranks_is_batch_in_order_and_even() {
        for world_size in 1..=5 {
            for batch in [0..0, 3..4, 7..11, 0..12, 5..18] {
                let shards: Vec<_> = (0..world_size)
                    .map(|rank| Shard::new(rank, world_size).unwrap().of(batch.clone()))
                    .collect();
                assert!(shards.iter().flat_map(Clone::clone).eq(batch.clone()), "{world_size}: {shards:?}");
                let sizes = || shards.iter().map(ExactSizeIterator::len);
                assert!(sizes().max().unwrap() - sizes().min().unwrap() <= 1, "{world_size}: {shards:?}");
            }
        }
    }

    #[test]
    fn shard_rank_outside_of_world_fails() {
        assert_eq!(
            Shard::new(2, 2).unwrap_err().to_string(),
            "rank is 2: expected less than the world size, 2"
        );
        assert!(Shard::new(0, 0).is_err());
    }
}
