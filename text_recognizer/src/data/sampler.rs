//! The order in which the rows of a data set are visited.

use crate::rng;

/// In which order an epoch visits the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shuffle {
    /// The data set's own order.
    No,
    /// A permutation of all rows.
    Full {
        /// The run's seed.
        seed: u64,
    },
    /// As `tf.data.Dataset.shuffle(buffer)`: each row is drawn from a buffer that the next row refills.
    Buffer {
        /// The run's seed.
        seed: u64,
        /// The number of rows in the buffer, at least one.
        size: usize,
        /// Whether each epoch has an order of its own (`reshuffle_each_iteration` of tf.data), not all that of the first.
        reshuffle: bool,
    },
}

impl Shuffle {
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
